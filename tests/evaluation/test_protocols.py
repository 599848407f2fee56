import pytest

from fake.found import perfect, query, scene
from fdps.errors import AnnotationError, UsageError
from fdps.evaluation.grouping import group_by_scene
from fdps.evaluation.protocols import (
    EvaluationOptions,
    Gallery,
    draw_galleries,
    find_sightings,
)
from fdps.structures import Scene, SceneSet

A = (0.0, 0.0, 20.0, 50.0)
B = (30.0, 0.0, 50.0, 50.0)


def galleries(scenes: SceneSet, **options: object) -> list[Gallery]:
    sightings = find_sightings(group_by_scene(perfect(scenes, 9), scenes, min_score=0.0), scenes)
    return list(draw_galleries(scenes, sightings, EvaluationOptions(**options)))


def street(n: int = 8, *, gallery: tuple[str, ...] | None = None) -> SceneSet:
    """Person 0 in the scenes 0, 1 and 2 of camera c0, and in 5 of c1; a scene every ten frames."""
    scenes = [
        scene(f"s{i}", [(A, 0)] if i in (0, 1, 2, 5) else [(A, 1)], f"c{int(i >= 4)}", 10 * i)
        for i in range(n)
    ]
    return SceneSet("street", tuple(scenes), (query(scenes[0], 0, gallery),))


def test_all_scenes_but_the_querys_own() -> None:
    (gallery,) = galleries(street())
    assert gallery.scenes.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert (gallery.n_entries, gallery.n_relevant) == (7, 3)


def test_the_list_of_the_data_set_is_searched_as_it_is() -> None:
    (gallery,) = galleries(street(gallery=("s5", "s3", "s5", "s0")))
    assert gallery.scenes.tolist() == [5, 3, 0]  # a repeated scene is searched once
    assert gallery.n_entries == 4
    assert gallery.n_relevant == 3  # but counts twice, and the query's own scene counts as well


def test_near_frames_of_the_same_camera_are_ignored() -> None:
    (gallery,) = galleries(street(), min_frame_gap=10)
    assert gallery.scenes.tolist() == [2, 3, 4, 5, 6, 7]
    assert (gallery.n_entries, gallery.n_relevant) == (7, 2)


def test_another_camera_is_never_near() -> None:
    (gallery,) = galleries(street(), min_frame_gap=1000)
    assert gallery.scenes.tolist() == [4, 5, 6, 7]
    assert gallery.n_relevant == 1


def test_the_frame_gap_holds_in_lists_too() -> None:
    (gallery,) = galleries(street(gallery=("s0", "s1", "s5")), min_frame_gap=10)
    assert gallery.scenes.tolist() == [5]


@pytest.mark.parametrize("gap", [0, 10])
def test_drawn_galleries_hold_every_scene_with_the_person(gap: int) -> None:
    expected = {0: {1, 2, 5}, 10: {2, 5}}[gap]
    for seed in range(20):
        (gallery,) = galleries(street(), gallery=4, seed=seed, min_frame_gap=gap)
        assert expected <= set(gallery.scenes.tolist())
        assert len(gallery.scenes) == gallery.n_entries == 4
        assert gallery.n_relevant == len(expected)


def test_drawn_galleries_follow_the_seed() -> None:
    drawn = [galleries(street(30), gallery=10, seed=seed)[0].scenes.tolist() for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_a_gallery_larger_than_the_set_is_the_set() -> None:
    (gallery,) = galleries(street(), gallery=100)
    assert gallery.scenes.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert gallery.n_entries == 7


def test_a_gallery_too_small_for_the_sightings_keeps_them_all() -> None:
    (gallery,) = galleries(street(), gallery=1)
    assert gallery.scenes.tolist() == [1, 2, 5]


def test_of_a_person_shown_twice_the_first_box_counts() -> None:
    first = scene("a", [(A, 0)])
    twice = scene("b", [(B, 0), (A, 0)])
    scenes = SceneSet("s", (first, twice), (query(first, 0),))
    found = group_by_scene(perfect(scenes, 1), scenes, min_score=0.0)
    sightings = find_sightings(found, scenes)[0]
    assert sightings.scenes.tolist() == [0, 1]
    assert found.boxes[sightings.detections].tolist() == [list(A), list(B)]


def test_a_frame_gap_needs_frame_numbers() -> None:
    first = scene("a", [(A, 0)], "c", 1)
    untimed: Scene = scene("b", [(A, 0)], "c")
    scenes = SceneSet("s", (first, untimed), (query(first, 0),))
    with pytest.raises(UsageError, match="'b' of s has none"):
        galleries(scenes, min_frame_gap=1)


def test_an_unknown_scene_in_a_list_is_named() -> None:
    with pytest.raises(AnnotationError, match="query 0 names scene 'nowhere'"):
        galleries(street(gallery=("s1", "nowhere")))


def test_a_gallery_size_must_be_that_of_the_lists() -> None:
    listed = street(gallery=("s1", "s3"))
    assert len(galleries(listed, gallery=2)[0].scenes) == 2
    with pytest.raises(UsageError, match="lists 2 scenes for query 0"):
        galleries(listed, gallery=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "strict"}, "unknown protocol 'strict'"),
        ({"gallery": 0}, "at least 1 scene, got 0"),
        ({"min_frame_gap": -1}, "at least 0, got -1"),
        ({"score_threshold": 1.5}, r"in \[0, 1\], got 1.5"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        EvaluationOptions(**options).check()
