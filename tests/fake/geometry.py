"""Scene sets and predictions at the true size of CUHK-SYSU and PRW, drawn from a seed.

Numbers of scenes, people, queries, cameras and galleries are those of the data sets; places,
identities and embeddings are drawn. The detector misses some people, finds others twice and finds
some who are not there; embeddings of one person are near each other.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fdps.predictions import Predictions, data_hash
from fdps.structures import UNLABELLED, Query, Scene, SceneSet

CUHK_SIZES = (50, 100, 500, 1000, 2000, 4000)


@dataclass(frozen=True)
class Size:
    """How large a drawn set is."""

    scenes: int
    people: int  # boxes
    labelled: int  # of those with an identity that is looked for
    identities: int
    queries: int
    cameras: int  # 0: unknown
    listed: bool  # every query has gallery lists of its own


CUHK = Size(6978, 40871, 8347, 2900, 2900, 0, True)  # 2,900 queries and 5,447 positives
PRW = Size(6112, 25062, 16344, 450, 2057, 6, False)
SMALL_CUHK = Size(240, 1400, 290, 100, 100, 0, True)
SMALL_PRW = Size(210, 860, 560, 16, 70, 6, False)


def draw_scenes(size: Size, seed: int = 0) -> SceneSet:
    """Scenes, annotations, queries and, where the size has lists, galleries of every size."""
    rng = np.random.default_rng(seed)
    scene_of = _places(size, rng)
    ids = np.full(size.people, UNLABELLED, dtype=np.int64)
    ids[: size.labelled] = np.arange(size.labelled) % size.identities  # everybody at least twice
    low = rng.uniform(0, 1000, (size.people, 2))
    extent = rng.uniform(12, 120, (size.people, 1)) * [1, 2.5]
    boxes = np.concatenate([low, low + extent], axis=1).round().astype(np.float32)
    order = np.argsort(scene_of, kind="stable")
    starts = np.searchsorted(scene_of[order], np.arange(size.scenes + 1))
    scenes = []
    for row in range(size.scenes):
        here = order[starts[row] : starts[row + 1]]
        camera = f"c{row % size.cameras}" if size.cameras else None
        frame = row if size.cameras else None
        scenes.append(Scene(f"s{row}", Path("x.jpg"), boxes[here], ids[here], camera, frame))
    # The first box of every identity is a query, then a second one of some.
    asked = np.arange(size.queries) % size.identities
    asked += size.identities * (np.arange(size.queries) // size.identities)
    queries = tuple(Query(f"s{scene_of[row]}", boxes[row], int(ids[row])) for row in asked)
    if not size.listed:
        return SceneSet(f"drawn {seed}", tuple(scenes), queries)
    return _with_lists(SceneSet(f"drawn {seed}", tuple(scenes), queries), scene_of, ids, boxes)


def _places(size: Size, rng: np.random.Generator) -> np.ndarray:
    """Scene of every box; few scenes show a person twice, as in the data sets."""
    scene_of = rng.integers(0, size.scenes, size.people)
    labelled = np.arange(size.labelled)
    # Sightings of one person lie in scenes of their own: steps over the scenes from a drawn start.
    first = rng.integers(0, size.scenes, size.identities)
    step = max(1, size.scenes // (-(-size.labelled // size.identities) + 1))
    turn = labelled // size.identities
    scene_of[: size.labelled] = (first[labelled % size.identities] + turn * step) % size.scenes
    twice = rng.choice(size.identities, 4, replace=False) + size.identities
    scene_of[twice] = (scene_of[twice - size.identities] + 1) % size.scenes
    third = twice + size.identities
    again = third[third < size.labelled]
    scene_of[again] = scene_of[again - size.identities]
    return scene_of


def _with_lists(
    scenes: SceneSet, scene_of: np.ndarray, ids: np.ndarray, boxes: np.ndarray
) -> SceneSet:
    """Lists as those of CUHK-SYSU: positives first, with their boxes; some scenes twice."""
    names = [scene.name for scene in scenes.scenes]
    rows_of: dict[int, list[int]] = {}
    for row in np.flatnonzero(ids != UNLABELLED).tolist():
        rows_of.setdefault(int(ids[row]), []).append(row)
    sizes = [n for n in CUHK_SIZES if n < len(names)]

    def lists(size: int) -> tuple[Query, ...]:
        queries = []
        for index, query in enumerate(scenes.queries):
            rng = np.random.default_rng([index, 17])
            own = int(query.scene[1:])
            # Two of the queries find their own scene in the list.
            shown = [row for row in rows_of[query.person_id] if scene_of[row] != own or index < 2]
            others = rng.permutation(len(names))[: size + len(shown) + 1]
            others = others[~np.isin(others, [*scene_of[shown], own])][: size - len(shown)]
            listed = [*(names[scene_of[row]] for row in shown), *(names[i] for i in others)]
            found = {position: boxes[row] for position, row in enumerate(shown)}
            queries.append(Query(query.scene, query.box, query.person_id, tuple(listed), found))
        return tuple(queries)

    return SceneSet(
        scenes.name,
        scenes.scenes,
        lists(sizes[min(1, len(sizes) - 1)]),
        {str(n): (lambda n=n: lists(n)) for n in sizes},
    )


def draw_predictions(
    scenes: SceneSet, seed: int = 0, *, dim: int = 256, noise: float = 1.0
) -> Predictions:
    """What a middling detector and a middling network would find in drawn scenes.

    Args:
        scenes: Drawn scenes.
        seed: Of the errors.
        dim: Length of an embedding.
        noise: Length of what is added to the unit row of a person.
    """
    rng = np.random.default_rng([seed, 5])
    boxes = np.concatenate([scene.boxes for scene in scenes.scenes]).astype(np.float64)
    ids = np.concatenate([scene.person_ids for scene in scenes.scenes])
    rows = np.repeat(np.arange(len(scenes)), [len(scene.boxes) for scene in scenes.scenes])
    identities = rng.normal(size=(ids.max() + 2, dim)) / np.sqrt(dim)  # the last: nobody
    times = rng.choice(3, len(boxes), p=[0.05, 0.9, 0.05])  # missed, found, found twice
    source = np.repeat(np.arange(len(boxes)), times)
    extent = np.tile(boxes[source, 2:] - boxes[source, :2], 2)
    found = boxes[source] + rng.normal(size=extent.shape) * 0.05 * extent
    n_false = len(boxes) // 20
    low = rng.uniform(0, 1000, (n_false, 2))
    found = np.concatenate([found, np.hstack([low, low + np.array([40, 90])])])
    people = np.concatenate([ids[source], np.full(n_false, UNLABELLED)])
    strangers = rng.normal(size=(len(people), dim)) / np.sqrt(dim)
    embeddings = np.where(people[:, None] >= 0, identities[people], strangers)
    wanted = identities[[query.person_id for query in scenes.queries]]
    where = np.concatenate([rows[source], rng.integers(0, len(scenes), n_false)])
    order = rng.permutation(len(found))
    return Predictions(
        scenes=tuple(scene.name for scene in scenes.scenes),
        boxes=found[order].astype(np.float32),
        scores=rng.beta(8, 1, len(found)).astype(np.float32),
        embeddings=_unit(_noisy(embeddings, noise, rng))[order],
        scene=where[order].astype(np.int64),
        queries=scenes.queries,
        query_embeddings=_unit(_noisy(wanted, noise, rng)),
        data_hash=data_hash(scenes),
    )


def _noisy(rows: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    return rows + noise * rng.normal(size=rows.shape) / np.sqrt(rows.shape[1])


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
