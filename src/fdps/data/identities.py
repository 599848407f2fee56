"""Renumber the people of scene sets, alone and when several sets become one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from fdps.errors import AnnotationError
from fdps.structures import UNLABELLED, Query, Scene, SceneSet


def contiguous(scenes: SceneSet) -> SceneSet:
    """Number the identities 0..L-1, in ascending order of the old numbers.

    A table of identities (OIM's lookup table) has one row for each; unlabelled people stay so.

    Returns:
        The same scenes and queries, otherwise unchanged.
    """
    old = sorted({*scenes.person_ids, *(query.person_id for query in scenes.queries)})
    return _renumber(scenes, {person_id: new for new, person_id in enumerate(old)})


def concatenate(sets: Sequence[SceneSet], name: str) -> SceneSet:
    """Make one set of several sets whose people are different people.

    The identities of each set follow those of the set before it, contiguously. Where two sets
    share a scene name, every scene name gets the position of its set in front (``0/frame7``);
    the same goes for cameras. A query without a gallery of its own then searches all sets.

    Args:
        sets: Scene sets, at least one.
        name: Name of the result, for example ``prw+coco/train``.

    Raises:
        ValueError: ``sets`` is empty.
        AnnotationError: Two sets have embeddings of different teachers.
    """
    if not sets:
        raise ValueError("concatenate needs at least one scene set")
    teachers = {part.teacher_hash: part.name for part in sets if part.teacher_hash}
    if len(teachers) > 1:
        named = ", ".join(f"{name} by {model}" for model, name in teachers.items())
        raise AnnotationError(
            f"the sets were labelled by different teachers: {named}",
            hint="their embeddings cannot be compared: label all sets by one (fdps data label)",
        )
    joined: list[SceneSet] = []
    first = 0
    for scenes in sets:
        part = contiguous(scenes)
        old = {*part.person_ids, *(query.person_id for query in part.queries)}
        joined.append(_renumber(part, {person_id: first + person_id for person_id in old}))
        first += len(old)
    joined = _with_own_cameras(_with_own_names(joined))
    return SceneSet(
        name=name,
        scenes=tuple(scene for part in joined for scene in part.scenes),
        queries=tuple(query for part in joined for query in part.queries),
        teacher_hash=next(iter(teachers), ""),
    )


def _renumber(scenes: SceneSet, new: Mapping[int, int]) -> SceneSet:
    def scene(old: Scene) -> Scene:
        ids = [new.get(person_id, UNLABELLED) for person_id in old.person_ids.tolist()]
        return replace(old, person_ids=np.array(ids, dtype=np.int64))

    queries = tuple(replace(query, person_id=new[query.person_id]) for query in scenes.queries)
    # Further query lists carry the old identities.
    return replace(scenes, scenes=tuple(map(scene, scenes.scenes)), queries=queries, query_lists={})


def _with_own_names(sets: list[SceneSet]) -> list[SceneSet]:
    if not _overlap([{scene.name for scene in part.scenes} for part in sets]):
        return sets

    def query(old: Query, k: int) -> Query:
        gallery = None if old.gallery is None else tuple(f"{k}/{name}" for name in old.gallery)
        return replace(old, scene=f"{k}/{old.scene}", gallery=gallery)

    return [
        replace(
            part,
            scenes=tuple(replace(scene, name=f"{k}/{scene.name}") for scene in part.scenes),
            queries=tuple(query(old, k) for old in part.queries),
        )
        for k, part in enumerate(sets)
    ]


def _with_own_cameras(sets: list[SceneSet]) -> list[SceneSet]:
    if not _overlap([{scene.camera for scene in part.scenes if scene.camera} for part in sets]):
        return sets

    def scene(old: Scene, k: int) -> Scene:
        return replace(old, camera=f"{k}/{old.camera}") if old.camera else old

    return [
        replace(part, scenes=tuple(scene(old, k) for old in part.scenes))
        for k, part in enumerate(sets)
    ]


def _overlap(groups: list[set[str]]) -> bool:
    return len(set().union(*groups)) < sum(map(len, groups))
