from dataclasses import replace

import numpy as np
import pytest

from fake.found import predictions, scene
from fdps.errors import DataError, UsageError
from fdps.search.results.comparisons import (
    N_LEVELS,
    NOBODY,
    Comparisons,
    Sightings,
    compare,
    find_sightings,
)
from fdps.structures import UNLABELLED, SceneSet

LEFT, RIGHT, FAR = (0.0, 0.0, 10.0, 20.0), (30.0, 0.0, 40.0, 20.0), (60.0, 0.0, 70.0, 20.0)


def sightings(rows: list[tuple[int, int, list[float]]], **change: object) -> Sightings:
    """(scene, person, embedding) of each detection; every person is annotated where found."""
    vectors = np.array([row[2] for row in rows], dtype=np.float32)
    people = np.array([row[1] for row in rows])
    scenes = np.array([row[0] for row in rows])
    n_scenes = int(scenes.max()) + 1
    seen = Sightings(
        embeddings=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        people=people,
        scenes=scenes,
        shown=frozenset(zip(scenes.tolist(), people.tolist(), strict=True)),
        cameras=np.zeros(n_scenes, dtype=np.int64),
        frames=np.arange(n_scenes, dtype=np.int64) * 10,
    )
    return replace(seen, **change)  # type: ignore[arg-type]


def n_above(comparisons: Comparisons, similarity: float) -> int:
    """Comparisons with others from a level on that is just below a similarity."""
    level = int(np.searchsorted(comparisons.levels, similarity, side="right")) - 1
    return int(comparisons.above[:, :, level].sum())


def test_detections_are_who_is_annotated_there() -> None:
    scenes = SceneSet(
        "set",
        (scene("a", [(LEFT, 7), (RIGHT, UNLABELLED)], "c1", 5), scene("b", [(LEFT, 9)], "c2", 6)),
    )
    nearly = (0.0, 0.0, 10.0, 15.0)  # three quarters of LEFT
    hardly = (0.0, 0.0, 10.0, 9.0)
    found = predictions(
        scenes,
        [
            [(nearly, 0.9, [1, 0]), (RIGHT, 0.8, [0, 1]), (FAR, 0.7, [1, 1])],
            [(hardly, 0.9, [1, 0]), (LEFT, 0.8, [0, 1])],
        ],
        [],
    )
    # Any order of rows is allowed in a predictions file.
    order = np.array([4, 0, 2, 1, 3])
    mixed = replace(
        found,
        boxes=found.boxes[order],
        scores=found.scores[order],
        embeddings=found.embeddings[order],
        scene=found.scene[order],
    )
    seen = find_sightings(mixed, scenes)
    assert seen.scenes.tolist() == [0, 0, 0, 1, 1]
    assert seen.people.tolist() == [7, NOBODY, UNLABELLED, 9, NOBODY]
    assert seen.embeddings[0].tolist() == [1, 0]
    assert seen.shown == {(0, 7), (0, UNLABELLED), (1, 9)}
    assert (seen.cameras.tolist(), seen.frames.tolist()) == ([0, 1], [5, 6])  # type: ignore[union-attr]


def test_predictions_of_other_scenes_are_refused() -> None:
    scenes = SceneSet("set", (scene("a", [(LEFT, 7)]),))
    other = SceneSet("other", (scene("b", [(LEFT, 7)]),))
    with pytest.raises(DataError, match="not of the scenes of set"):
        find_sightings(predictions(other, [[]], []), scenes)


def test_what_is_compared_with_what() -> None:
    seen = sightings(
        [
            (0, 1, [1, 0]),
            (0, 2, [0, 1]),
            (1, 1, [4, 3]),  # 0.8 to (1, 0), 0.6 to (0, 1)
            (1, 1, [3, 4]),  # a second box of the same person: only the better one counts
            (1, NOBODY, [1, 1]),
            (2, UNLABELLED, [1, 0]),
            (2, NOBODY, [0, 1]),
        ]
    )
    result = compare(seen)
    assert (result.n_people, result.n_queries) == (2, 4)
    # Person 1 from scene 0 and twice from scene 1; nobody else is seen again.
    assert np.sort(result.same) == pytest.approx([0.6, 0.8, 0.8])
    assert np.sort(result.best) == pytest.approx([0.6, 0.8, 0.8])
    # Person 1, from scene 0: nobody in scene 2 (in scene 1 person 1 is shown, so it may be them);
    # from scene 1, twice: person 2 and nobody in scene 2.
    # Person 2: both boxes of person 1 in scene 1, and both detections of nobody.
    assert result.compared.sum() == 1 + 2 * 2 + 4
    assert result.compared[:, -1].sum() == 1 + 2 + 2
    # Similarities: 0 | 0.6 0.6, 0.8 0.8 | 0.6 0.8 0.707 1
    assert [n_above(result, s) for s in (0.59, 0.65, 0.75, 0.9)] == [8, 5, 4, 1]
    assert np.array_equal(result.above[:, :, 0] <= result.compared, np.ones((2, 3), dtype=bool))


def test_near_frames_of_the_same_camera_are_left_out() -> None:
    rows = [(k, person, [1.0, float(person)]) for k in range(4) for person in (1, 2)]
    assert compare(sightings(rows)).compared.sum() == 8 * 3
    # Frames are 10 apart: each loses one or two neighbours.
    assert compare(sightings(rows), min_frame_gap=10).compared.sum() == 2 * (2 + 1 + 1 + 2)
    elsewhere = sightings(rows, cameras=np.arange(4))
    assert compare(elsewhere, min_frame_gap=10).compared.sum() == 8 * 3


def test_queries_are_spread_over_the_people() -> None:
    rows = [(k, 1, [1.0, 0.1]) for k in range(20)] + [(k, 2, [0.1, 1.0]) for k in (0, 1)]
    rows.sort()
    result = compare(sightings(rows), max_queries=4)
    assert result.n_queries == 4
    assert len(result.same) == 2 * 19 + 2 * 1  # two queries of each


def test_many_people_are_counted_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows = [(k, person, rng.normal(size=3).tolist()) for k in range(2) for person in range(7)]
    alone = compare(sightings(rows))
    monkeypatch.setattr("fdps.search.results.comparisons.N_GROUPS", 3)
    grouped = compare(sightings(rows))
    assert alone.compared.shape == (7, 8)
    assert grouped.compared.shape == (3, 4)
    assert grouped.above.shape == (3, 4, N_LEVELS)
    assert np.array_equal(alone.above.sum(axis=(0, 1)), grouped.above.sum(axis=(0, 1)))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(0, 1, [1, 0]), (1, 1, [1, 0])], "at least two people with identity, found 1"),
        ([(0, 1, [1, 0]), (1, 2, [1, 0])], "nobody was found again"),
        ([(0, 1, [1, 0]), (1, 1, [1, 0]), (1, 2, [0, 1])], ""),
    ],
)
def test_too_little_to_compare(rows: list[tuple[int, int, list[float]]], message: str) -> None:
    if not message:
        compare(sightings(rows))
        return
    with pytest.raises(DataError, match=message):
        compare(sightings(rows))


def test_a_frame_gap_needs_frame_numbers() -> None:
    seen = sightings([(0, 1, [1, 0]), (1, 2, [0, 1])], frames=None)
    with pytest.raises(UsageError, match="needs the frame number"):
        compare(seen, min_frame_gap=5)
