import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from fake.found import query, scene
from fdps.errors import AnnotationError, UsageError
from fdps.evaluation.annotated import flatten
from fdps.evaluation.galleries import GalleryMaker
from fdps.evaluation.protocols import REFERENCE, STRICT, EvaluationOptions, RerankOptions, Rules
from fdps.evaluation.query_lists import choose_queries
from fdps.structures import Query, Scene, SceneSet

A = (0.0, 0.0, 20.0, 50.0)
B = (30.0, 0.0, 50.0, 50.0)


@dataclass
class Gallery:
    scenes: np.ndarray
    targets: list[tuple[int, tuple[float, ...]]]  # scene and box
    n_entries: int
    n_relevant: int


def galleries(scenes: SceneSet, **options: object) -> list[Gallery]:
    made = EvaluationOptions(**options)
    queries = choose_queries(scenes, made).queries
    maker = GalleryMaker(scenes, queries, flatten(scenes), made)
    block = maker.block(0, len(queries))
    shown = block.queries[block.target_entries]
    return [
        Gallery(
            block.scenes[block.queries == row],
            [
                (int(block.scenes[entry]), tuple(box))
                for entry, box in zip(
                    block.target_entries[shown == row].tolist(),
                    block.target_boxes[shown == row].tolist(),
                    strict=True,
                )
            ],
            int(block.n_entries[row]),
            int(block.n_relevant[row]),
        )
        for row in range(len(queries))
    ]


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


def test_a_small_gallery_is_part_of_a_large_one() -> None:
    small, large = (set(galleries(street(40), gallery=n)[0].scenes.tolist()) for n in (9, 20))
    assert small < large


def test_draws_do_not_depend_on_the_block() -> None:
    first = street(30)
    two = SceneSet("two", first.scenes, (query(first.scenes[4], 0), first.queries[0]))
    options = EvaluationOptions(gallery=10)
    maker = GalleryMaker(two, two.queries, flatten(two), options)
    assert maker.block(1, 2).scenes.tolist() == galleries(two, gallery=10)[1].scenes.tolist()


@pytest.mark.long
def test_every_scene_is_drawn_equally_often() -> None:
    drawn = np.zeros(31)
    for seed in range(400):
        drawn[galleries(street(31), gallery=12, seed=seed)[0].scenes] += 1
    others = np.delete(drawn, [0, 1, 2, 5])  # the query's own, and those that show the person
    expected = 400 * 9 / 27
    assert ((others - expected) ** 2).sum() / expected < 56  # chi-squared, 26 degrees, p = 0.0005


def rules(**changed: object) -> Rules:
    return replace(REFERENCE, **changed)


def test_of_a_person_shown_twice_the_first_box_counts() -> None:
    first = scene("a", [(A, 0)])
    twice = scene("b", [(B, 0), (A, 0)])
    scenes = SceneSet("s", (first, twice), (query(first, 0),))
    (gallery,) = galleries(scenes)
    assert (gallery.targets, gallery.n_relevant) == ([(1, B)], 1)
    (gallery,) = galleries(scenes, rules=rules(people_per_scene="each"))
    assert (gallery.targets, gallery.n_relevant) == ([(1, B), (1, A)], 2)


@pytest.mark.parametrize(
    ("repeated", "searched", "n_relevant"),
    [("counted", [5, 3], 2), ("searched", [5, 3, 5], 2), ("once", [5, 3], 1)],
)
def test_repeated_entries(repeated: str, searched: list[int], n_relevant: int) -> None:
    listed = street(gallery=("s5", "s3", "s5"))
    (gallery,) = galleries(listed, rules=rules(repeated_entries=repeated))
    assert gallery.scenes.tolist() == searched
    assert [row for row, _ in gallery.targets] == [row for row in searched if row == 5]
    assert (gallery.n_entries, gallery.n_relevant) == (3, n_relevant)


def test_the_own_scene_can_be_left_out_of_lists() -> None:
    listed = street(gallery=("s5", "s0", "s1"))
    assert galleries(listed)[0].scenes.tolist() == [5, 0, 1]
    (gallery,) = galleries(listed, rules=rules(keep_own_scene=False))
    assert (gallery.scenes.tolist(), gallery.n_relevant) == ([5, 1], 2)


def test_listed_boxes_hold_unless_annotations_do() -> None:
    shown = street(gallery=("s5", "s3", "s1"))
    person = replace(shown.queries[0], gallery_boxes={0: np.array(B, np.float32)})
    listed = SceneSet("listed", shown.scenes, (person,))
    (gallery,) = galleries(listed)
    assert (gallery.targets, gallery.n_relevant) == ([(5, B)], 1)
    (gallery,) = galleries(listed, rules=rules(trust_lists=False))
    assert (gallery.targets, gallery.n_relevant) == ([(5, A), (1, A)], 2)


def test_a_box_beyond_the_list_is_refused() -> None:
    shown = street(gallery=("s5", "s3"))
    person = replace(shown.queries[0], gallery_boxes={2: np.array(A, np.float32)})
    with pytest.raises(AnnotationError, match="at position 2 of its gallery, which has 2 entries"):
        galleries(SceneSet("listed", shown.scenes, (person,)))


def test_boxes_without_a_list_mean_nothing() -> None:
    shown = street()
    person = replace(shown.queries[0], gallery_boxes={0: np.array(B, np.float32)})
    (gallery,) = galleries(SceneSet("unlisted", shown.scenes, (person,)))
    assert (len(gallery.scenes), gallery.n_relevant) == (7, 3)


def test_a_scene_listed_with_two_boxes() -> None:
    first = scene("a", [(A, 0)])
    twice = scene("b", [(B, 0), (A, 0)])
    boxes = {0: np.array(A, np.float32), 1: np.array(B, np.float32)}
    person = replace(query(first, 0, ("b", "b")), gallery_boxes=boxes)
    scenes = SceneSet("s", (first, twice), (person,))
    (gallery,) = galleries(scenes)
    assert (gallery.scenes.tolist(), gallery.targets) == ([1], [(1, A)])  # the first of the list
    assert gallery.n_relevant == 2
    (gallery,) = galleries(scenes, rules=rules(repeated_entries="searched"))
    assert (gallery.scenes.tolist(), gallery.targets) == ([1, 1], [(1, A), (1, B)])
    (gallery,) = galleries(scenes, rules=STRICT)
    assert (gallery.scenes.tolist(), gallery.targets) == ([1], [(1, B), (1, A)])
    assert gallery.n_relevant == 2


def test_the_full_gallery_is_the_list_and_then_every_other_scene() -> None:
    shown = street(gallery=("s5", "s3"))
    person = replace(shown.queries[0], gallery_boxes={0: np.array(A, np.float32)})
    listed = SceneSet("listed", shown.scenes, (person,))
    (gallery,) = galleries(listed, gallery="full")
    assert gallery.scenes.tolist() == [5, 3, 1, 2, 4, 6, 7]
    assert gallery.n_relevant == 1  # by the list nobody else is the person
    (gallery,) = galleries(listed, gallery="full", rules=rules(trust_lists=False))
    assert gallery.n_relevant == 3
    (gallery,) = galleries(street(), gallery="full")
    assert gallery.scenes.tolist() == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(("cameras", "searched"), [("cross", [4, 5, 6, 7]), ("same", [1, 2, 3])])
def test_cameras(cameras: str, searched: list[int]) -> None:
    (gallery,) = galleries(street(), cameras=cameras)
    assert gallery.scenes.tolist() == searched
    assert gallery.n_entries == len(searched)
    names = tuple(f"s{i}" for i in range(1, 8))
    assert galleries(street(gallery=names), cameras=cameras)[0].scenes.tolist() == searched


def test_near_moments_of_the_same_camera_are_ignored() -> None:
    scenes = street()
    timed = tuple(replace(s, seconds=row / 2) for row, s in enumerate(scenes.scenes))
    (gallery,) = galleries(SceneSet("timed", timed, scenes.queries), min_seconds_gap=1.0)
    assert gallery.scenes.tolist() == [3, 4, 5, 6, 7]
    assert gallery.n_entries == 7
    with pytest.raises(UsageError, match="min_seconds_gap needs the time of every scene; 's0'"):
        galleries(scenes, min_seconds_gap=1.0)


def test_cameras_must_be_known() -> None:
    scenes = SceneSet("s", (scene("a", [(A, 0)]),), ())
    with pytest.raises(UsageError, match="cameras='cross' needs the camera of every scene"):
        galleries(scenes, cameras="cross")


def with_lists() -> SceneSet:
    """Two people; lists of two and of three scenes, and a subset with the second person alone."""
    scenes = [scene(f"s{i}", [(A, 0), (B, 1)]) for i in range(6)]

    def queries(names: tuple[str, ...] | None) -> tuple[Query, ...]:
        return query(scenes[0], 0, names), query(scenes[0], 1, names)

    lists = {
        "2": lambda: queries(("s1", "s2")),
        "3": lambda: queries(("s1", "s2", "s3")),
        "mini": lambda: queries(None)[1:],
        "strangers": lambda: (Query("s0", np.array(B, np.float32) + 9, 1),),
        "4": lambda: queries(None)[::-1],
        "5": lambda: queries(None)[:1],
    }
    return SceneSet("lists", tuple(scenes), queries(("s1", "s2")), lists)


def test_the_list_of_a_size_is_read() -> None:
    assert [g.scenes.tolist() for g in galleries(with_lists(), gallery=3)] == [[1, 2, 3]] * 2
    assert galleries(with_lists())[0].scenes.tolist() == [1, 2]


def test_the_full_gallery_starts_from_the_shortest_list() -> None:
    assert galleries(with_lists(), gallery="full")[0].scenes.tolist() == [1, 2, 3, 4, 5]
    lists = {"3": with_lists().query_lists["3"]}
    only = replace(with_lists(), query_lists=lists, queries=with_lists().query_lists["2"]())
    assert choose_queries(only, EvaluationOptions(gallery="full")).queries[0].gallery == (
        "s1",
        "s2",
        "s3",
    )


def test_a_subset_takes_the_galleries_of_the_set() -> None:
    chosen = choose_queries(with_lists(), EvaluationOptions(subset="mini", gallery=3))
    assert chosen.rows.tolist() == [1]
    assert chosen.queries[0].gallery == ("s1", "s2", "s3")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"subset": "maxi"}, UsageError, "no subset of queries 'maxi'"),
        ({"subset": "3"}, UsageError, "no subset of queries '3'"),
        ({"gallery": 7}, UsageError, "lists 2 scenes for query 0"),
        ({"subset": "strangers"}, AnnotationError, "not among its queries"),
        ({"gallery": 4}, AnnotationError, "looks for person 1 in 's0' at row 0"),
        ({"gallery": 5}, AnnotationError, "has 1 queries, the set has 2"),
    ],
)
def test_lists_that_do_not_fit(
    options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        galleries(with_lists(), **options)


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
        ({"protocol": "lenient"}, "unknown protocol 'lenient'"),
        ({"cameras": "both"}, "unknown cameras 'both'"),
        ({"rerank": "magic"}, "unknown rerank 'magic'"),
        ({"gallery": 0}, "at least 1 scene, got 0"),
        ({"min_seconds_gap": math.nan}, "at least 0, got nan"),
        ({"query_expansion": -2}, "query_expansion must be at least 0, got -2"),
        ({"rerank_options": RerankOptions(hits=0)}, "hits of the re-ranking must be at least 1"),
        ({"rerank_options": RerankOptions(weight=2.0)}, r"weight .* in \[0, 1\], got 2.0"),
        ({"min_frame_gap": -1}, "at least 0, got -1"),
        ({"score_threshold": 1.5}, r"in \[0, 1\], got 1.5"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        EvaluationOptions(**options).check()
