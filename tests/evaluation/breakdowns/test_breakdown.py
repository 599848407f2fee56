"""Breakdowns of hand-made results, the pairs of cameras, and the rows of the CSV file."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fake.found import perfect, query, scene
from fdps.evaluation import SearchResult, evaluate
from fdps.evaluation.breakdowns.breakdown import Bin, Breakdown, break_down, wrong_hits
from fdps.evaluation.breakdowns.camera_pairs import camera_pairs
from fdps.evaluation.breakdowns.per_query import COLUMNS, write_csv
from fdps.structures import SceneSet


def box(height: float) -> tuple[float, float, float, float]:
    return (10.0, 0.0, 40.0, height)


def cameras() -> SceneSet:
    """Person 0 in both cameras, person 1 twice in camera a, person 2 once in each."""
    scenes = (
        scene("a0", [(box(40), 0), (box(120), 1)], "a", 0),
        scene("a1", [(box(90), 0)], "a", 100),
        scene("a2", [(box(90), 1)], "a", 6000),
        scene("b0", [(box(90), 0), ((60.0, 0.0, 90.0, 90.0), 2)], "b", 50),
        scene("a3", [(box(500), 2)], "a", 9000),
    )
    queries = (query(scenes[0], 0), query(scenes[0], 1), query(scenes[4], 0))
    return SceneSet("cameras", scenes, queries)


def scored(scenes: SceneSet, **changes: object) -> SearchResult:
    """The queries of the set with average precisions of 0.2, 0.6 and 1.0; the last is right."""
    result = evaluate(perfect(scenes, 3), scenes).search
    return replace(
        result,
        average_precisions=np.array([0.2, 0.6, 1.0]),
        first_matches=np.array([3, 2, 1]),
        **changes,  # type: ignore[arg-type]
    )


def bins(parts: tuple[Breakdown, ...]) -> dict[str, list[tuple[str, int, float, float]]]:
    return {
        part.by: [(b.label, b.n_queries, round(b.mean_ap, 6), b.top1) for b in part.bins]
        for part in parts
    }


def test_every_property_splits_the_queries() -> None:
    scenes = cameras()
    stranger = replace(scenes.queries[0], person_id=7)  # lists may name more people
    occluded = (scenes.queries[2], stranger, scenes.queries[0])
    scenes = replace(scenes, query_lists={"occlusion": lambda: occluded})
    assert bins(break_down(scored(scenes), scenes)) == {
        "person height": [
            ("below 50 px", 1, 0.2, 0.0),
            ("100 px to 150 px", 1, 0.6, 0.0),
            ("from 400 px", 1, 1.0, 1.0),
        ],
        "number of positives": [("1", 2, 0.8, 0.5), ("2", 1, 0.2, 0.0)],
        "occlusion": [("not occluded", 1, 0.6, 0.0), ("occluded", 2, 0.6, 0.5)],
        "cameras that show the person": [
            ("the query's camera alone", 1, 0.6, 0.0),
            ("this and other cameras", 1, 0.2, 0.0),
            ("other cameras alone", 1, 1.0, 1.0),
        ],
        "gap to the nearest positive": [
            ("not in this camera", 1, 1.0, 1.0),
            ("26 to 100", 1, 0.2, 0.0),  # exactly 100: an edge belongs to the lower bin
            ("above 5,000", 1, 0.6, 0.0),
        ],
    }


def test_the_frame_gap_of_the_evaluation_holds_here_too() -> None:
    scenes = cameras()
    parts = bins(break_down(scored(scenes), scenes, min_frame_gap=100))
    assert parts["gap to the nearest positive"] == [
        ("not in this camera", 2, 0.6, 0.5),
        ("above 5,000", 1, 0.6, 0.0),
    ]
    assert [row[0] for row in parts["cameras that show the person"]] == [
        "the query's camera alone",
        "other cameras alone",
    ]


def test_gallery_lists_decide_which_scenes_count() -> None:
    scenes = cameras()
    listed = replace(scenes.queries[0], gallery=("b0", "a2"))
    narrowed = replace(scenes, queries=(listed, *scenes.queries[1:]))
    parts = bins(break_down(scored(scenes), narrowed))
    assert parts["cameras that show the person"][-1] == ("other cameras alone", 2, 0.6, 0.5)


def test_without_cameras_frames_and_queries_less_is_told() -> None:
    scenes = cameras()
    plain = tuple(replace(s, camera=None, frame=None) for s in scenes.scenes)
    parts = break_down(scored(scenes), replace(scenes, scenes=plain))
    assert [part.by for part in parts] == ["person height", "number of positives"]
    nobody = SceneSet("empty", ())
    assert break_down(evaluate(perfect(nobody, 1), nobody).search, nobody) == ()


def test_one_bin_is_no_breakdown() -> None:
    scenes = cameras()
    alone = replace(scenes, queries=scenes.queries[:1])
    assert break_down(evaluate(perfect(scenes, 3), scenes).search, scenes) != ()
    assert break_down(evaluate(perfect(alone, 3), alone).search, alone) == ()


def test_a_breakdown_in_plain_values() -> None:
    part = Breakdown("height", (Bin("below 50 px", 2, 0.5, 1.0),), "a note")
    assert part.json() == {
        "by": "height",
        "bins": ({"label": "below 50 px", "n_queries": 2, "mean_ap": 0.5, "top1": 1.0},),
        "note": "a note",
    }


def test_wrong_hits_are_counted_by_hit() -> None:
    scenes = cameras()
    ranked = np.full((3, 20), -1)
    ranked[0, :6], ranked[1, :1] = range(6), 3
    is_match = np.zeros((3, 20), dtype=np.bool_)
    is_match[0, [0, 5]] = True
    similarity = np.zeros((3, 20), dtype=np.float32)
    similarity[0, 0], similarity[1, 0] = 0.95, 0.5
    rows = wrong_hits(
        scored(scenes, ranked=ranked, ranked_is_match=is_match, ranked_similarity=similarity)
    )
    assert [(row.label, row.n_hits, pytest.approx(row.wrong)) for row in rows] == [
        ("the first hit", 2, 1 / 2),  # the third query found nobody
        ("the first 5 hits", 6, 5 / 6),
        ("the first 10 hits", 7, 5 / 7),
        ("the first hit, similarity 0.5 to 0.6", 1, 1.0),
        ("the first hit, similarity from 0.9", 1, 0.0),
    ]


def test_no_hits_no_shares() -> None:
    nobody = SceneSet("empty", ())
    assert wrong_hits(evaluate(perfect(nobody, 1), nobody).search) == ()


def test_pairs_of_cameras_are_evaluated_apart() -> None:
    scenes = cameras()
    pairs = camera_pairs(perfect(scenes, 3), scenes, gallery=2)
    assert [(p.query, p.gallery, p.n_queries, p.mean_ap) for p in pairs] == [
        ("a", "a", 2, 1.0),  # persons 0 and 1; person 2 has no second scene there
        ("a", "b", 2, 1.0),  # persons 0 and 2
    ]
    assert pairs[0].json()["gallery"] == "a"


def test_pairs_of_cameras_see_who_is_mistaken_for_whom() -> None:
    scenes = cameras()
    mistaken = perfect(scenes, 3)
    mistaken.embeddings[[4, 5]] = mistaken.embeddings[[5, 4]]  # persons 0 and 2, in b0
    same, other = camera_pairs(mistaken, scenes)
    assert (same.mean_ap, same.top1) == (1.0, 1.0)
    assert (other.mean_ap, other.top1) == (0.5, 0.0)


@pytest.mark.parametrize("kind", ["one camera", "unknown", "lists"])
def test_no_pairs_where_there_is_nothing_to_pair(kind: str) -> None:
    scenes = cameras()
    if kind == "lists":
        listed = tuple(replace(q, gallery=("a1", "b0")) for q in scenes.queries)
        scenes = replace(scenes, queries=listed)
    else:
        camera = "a" if kind == "one camera" else None
        scenes = replace(scenes, scenes=tuple(replace(s, camera=camera) for s in scenes.scenes))
    assert camera_pairs(perfect(scenes, 3), scenes) == ()


def test_csv_has_a_row_per_query(tmp_path: Path) -> None:
    scenes = cameras()
    path = tmp_path / "new" / "queries.csv"
    write_csv(path, scored(scenes), scenes)
    with path.open(newline="") as file:
        head, *rows = [*csv.reader(file)]
    assert tuple(head) == COLUMNS
    assert rows[0] == [
        *("0", "a0", "0", "a", "0", "10.0", "0.0", "40.0", "40.0"),
        *("0.2", "3", "2", "1.0", "1"),
    ]
    assert len(rows) == 3
    assert [file.name for file in path.parent.iterdir()] == ["queries.csv"]


def test_csv_of_unknown_cameras_and_no_hits_has_gaps(tmp_path: Path) -> None:
    scenes = cameras()
    plain = tuple(replace(s, camera=None, frame=None) for s in scenes.scenes)
    nothing = scored(scenes, ranked=np.full((3, 20), -1))
    write_csv(tmp_path / "q.csv", nothing, replace(scenes, scenes=plain))
    row = (tmp_path / "q.csv").read_text().splitlines()[1].split(",")
    assert (row[3], row[4], row[12], row[13]) == ("", "", "", "")
