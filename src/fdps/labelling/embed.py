"""Add a teacher's embeddings to a data set that says already who is where."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from fdps.data.readers.folder import write_folder
from fdps.labelling.label import Labelled
from fdps.labelling.shards import Shard, ShardFrame, Shards
from fdps.pictures import read_picture
from fdps.search.ingest.scene_writer import Progress
from fdps.structures import UNLABELLED, Embedder, Scene, SceneSet


def embed_dataset(
    embedder: Embedder,
    sets: Mapping[str, SceneSet],
    out: Path,
    *,
    name: str,
    licence: str = "",
    per_identity: bool = False,
    dtype: Literal["float16", "float32"] = "float16",
    about: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Labelled:
    """Write a folder data set with the same boxes, identities and queries, and embeddings.

    It may be interrupted and called again, like :func:`fdps.labelling.label.label_pictures`.

    Args:
        embedder: The teacher.
        sets: Scene set of each split.
        out: Folder to write.
        name: Name of the data set.
        licence: Licence of the pictures, to be noted.
        per_identity: Give everybody of an identity the mean of its embeddings in the split
            (:func:`mean_of_identities`) instead of their own.
        dtype: How embeddings are stored.
        about: What else is to be noted of the teacher, such as its name and licence.
        progress: Called after every scene with the number done and the number of all.

    Raises:
        PictureError: A picture cannot be decoded.
        MissingDataError: A picture is gone.
        AnnotationError: A name cannot be that of a file in a folder.
    """
    shards = Shards(out, json.dumps(["boxes", embedder.model_hash, embedder.dim, dtype]))
    n_all = sum(map(len, sets.values()))
    n_done = n_known = 0
    taught: dict[str, SceneSet] = {}
    for split, scenes in sets.items():
        rows = []
        for scene in scenes.scenes:
            shard, is_known = _embedded(scene, embedder, shards, dtype)
            rows.append(replace(scene, teacher=shard.embeddings))
            n_done, n_known = n_done + 1, n_known + is_known
            if progress:
                progress(n_done, n_all)
        if per_identity:
            rows = mean_of_identities(rows)
        taught[split] = replace(scenes, scenes=tuple(rows), teacher_hash=embedder.model_hash)
    facts = {
        **(about or {}),
        "model_hash": embedder.model_hash,
        "embeddings": dtype,
        "per_identity": per_identity,
    }
    tables = {"teacher": facts}
    write_folder(out, taught, name=name, licence=licence, tables=tables)
    shards.remove()
    n_people = sum(scenes.n_boxes for scenes in taught.values())
    return Labelled(n_all, n_people, 0, n_known)


def mean_of_identities(scenes: Sequence[Scene]) -> list[Scene]:
    """Replace the teacher's embeddings of labelled people by the mean of their identity.

    A teacher is unsure of who is small, dark or half hidden. Where identities are known, its view
    of all sightings together is a better lesson than its view of the one: a student that sees half
    of a person is to say what the teacher would of the whole.

    Args:
        scenes: Scenes that all have ``teacher``.

    Returns:
        The scenes with the mean of each identity, brought to unit length; people without an
        identity keep their own embedding.
    """
    rows = np.concatenate([scene.teacher for scene in scenes if scene.teacher is not None])
    ids = np.concatenate([scene.person_ids for scene in scenes])
    shared = rows.astype(np.float32)
    for person in np.unique(ids[ids != UNLABELLED]):
        mean = shared[ids == person].mean(axis=0)
        length = np.linalg.norm(mean)
        if length > 0:  # opposite embeddings have no mean direction, and each keeps its own
            shared[ids == person] = mean / length
    ends = np.cumsum([len(scene.boxes) for scene in scenes])[:-1]
    parts = np.split(shared.astype(rows.dtype), ends)
    return [replace(scene, teacher=part) for scene, part in zip(scenes, parts, strict=True)]


def _embedded(scene: Scene, embedder: Embedder, shards: Shards, dtype: str) -> tuple[Shard, bool]:
    """Embed the people of a scene, unless an earlier call has done so."""
    place = shards.place(scene.path, json.dumps([scene.name, scene.boxes.tolist()]))
    known = shards.read(place)
    if known is not None:
        return known, True
    rows = np.zeros((0, embedder.dim), np.float32)
    if len(scene.boxes):
        rows = embedder.embed(read_picture(scene.path), scene.boxes)
    shard = Shard(
        frames=(ShardFrame(scene.name, str(scene.path)),),
        counts=np.array([len(scene.boxes)], dtype=np.int64),
        boxes=scene.boxes,
        scores=np.ones(len(scene.boxes), np.float32),
        embeddings=rows.astype(dtype),
    )
    shards.write(place, shard)
    return shard, False
