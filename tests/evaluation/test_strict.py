"""What the rules are worth: perfect and random systems, and one test per difference of strict."""

from dataclasses import fields, replace
from math import comb

import numpy as np
import pytest

from fake.found import FoundPerson, perfect, predictions, query, scene
from fake.geometry import SMALL_CUHK, SMALL_PRW, draw_scenes
from fdps.evaluation import REFERENCE, STRICT, EvaluationReport, evaluate
from fdps.predictions import Predictions
from fdps.structures import SceneSet

A = (0.0, 0.0, 20.0, 50.0)
B = (30.0, 0.0, 50.0, 50.0)
LIKE, UNLIKE = [1.0, 0.0], [0.0, 1.0]


def perfect_on(scenes: SceneSet) -> Predictions:
    """Every annotated box, embedded by its identity; people without one share another."""
    return perfect(scenes, max(scenes.person_ids) + 2)


def test_every_rule_differs_and_has_a_test() -> None:
    names = [field.name for field in fields(REFERENCE)]
    assert all(getattr(REFERENCE, name) != getattr(STRICT, name) for name in names)
    assert set(names) == {
        "repeated_entries",
        "keep_own_scene",
        "trust_lists",
        "people_per_scene",
        "tied_ranks",
    }


@pytest.mark.parametrize("gallery", ["all", 50, "full"])
def test_a_perfect_system_scores_one_in_strict_alone(gallery: int | str) -> None:
    scenes = draw_scenes(SMALL_CUHK)
    found = perfect_on(scenes)
    strict = evaluate(found, scenes, protocol="strict", gallery=gallery)
    assert (strict.detection.recall, strict.detection.ap) == (1, 1)
    assert (strict.search.mean_ap, strict.search.top(1)) == (1, 1)
    reference = evaluate(found, scenes, gallery=gallery).search
    repeats = [
        len(set(q.gallery)) < len(q.gallery) and len(q.gallery_boxes) > 1 for q in scenes.queries
    ]
    below = reference.average_precisions < 1
    assert any(repeats)
    assert below[repeats].all()
    assert below.mean() < 0.2


def test_a_perfect_system_scores_one_without_lists() -> None:
    scenes = draw_scenes(SMALL_PRW)
    strict = evaluate(perfect_on(scenes), scenes, protocol="strict").search
    assert (strict.mean_ap, strict.top(1)) == (1, 1)
    # People who are twice in a frame cost the reference rules some of it.
    assert 0.9 < evaluate(perfect_on(scenes), scenes).search.mean_ap < 1


def chance(n_wrong: int, n_right: int) -> tuple[float, dict[int, float]]:
    """Expected AP and top-k of a random order, in closed form.

    The k-th place is right with probability m / G, and then (k - 1)(m - 1) / (G - 1) of the places
    before it are expected to be right; the precision there is summed over k and divided by m.
    """
    n, m = n_wrong + n_right, n_right
    share = (m - 1) / (n - 1)
    ap = sum((1 + (k - 1) * share) / k for k in range(1, n + 1)) / n
    return ap, {k: 1 - comb(n_wrong, k) / comb(n, k) for k in (1, 5, 10) if k <= n}


def test_chance_by_counting() -> None:
    # One right of three: first, second or third, with AP 1, 1/2 and 1/3.
    assert chance(2, 1)[0] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    # Two right of three: places 1 2, 1 3 and 2 3.
    assert chance(1, 2)[0] == pytest.approx((1 + (1 + 2 / 3) / 2 + (1 / 2 + 2 / 3) / 2) / 3)


@pytest.mark.parametrize("protocol", ["reference", "strict"])
def test_a_random_system_scores_chance(protocol: str) -> None:
    places = [(x, 0.0, x + 20, 50.0) for x in (0.0, 30.0, 60.0)]
    shown = [[(box, (row + 7 * i) % 20) for i, box in enumerate(places)] for row in range(40)]
    drawn = [scene(f"s{row}", people) for row, people in enumerate(shown)]
    scenes = SceneSet("drawn", tuple(drawn), tuple(query(s, 0) for s in drawn[:20]))
    found = perfect(scenes, 20)
    aps, hits = [], {1: [], 5: [], 10: []}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        rows = [rng.normal(size=(n, 16)) for n in (len(found.boxes), len(scenes.queries))]
        rows = [(x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in rows]
        guessed = replace(found, embeddings=rows[0], query_embeddings=rows[1])
        result = evaluate(guessed, scenes, protocol=protocol).search
        assert set(result.n_relevant.tolist()) == {5}  # each person is in six scenes
        aps += result.average_precisions.tolist()
        for k in hits:
            hits[k].append(result.top(k))
    ap, top = chance(39 * 3 - 5, 5)
    assert np.mean(aps) == pytest.approx(ap, abs=4 * np.std(aps) / len(aps) ** 0.5)
    for k, values in hits.items():
        deviation = (top[k] * (1 - top[k]) / (len(values) * 20)) ** 0.5
        assert np.mean(values) == pytest.approx(top[k], abs=4 * deviation)


def both(scenes: SceneSet, file: Predictions, **changed: object) -> list[EvaluationReport]:
    """By the reference rules, and with one of them changed."""
    return [evaluate(file, scenes, rules=r) for r in (REFERENCE, replace(REFERENCE, **changed))]


def test_repeated_entries_count_once() -> None:
    scenes = [scene("q", [(A, 0)]), scene("a", [(A, 0)]), scene("b", [(A, 0)])]
    listed = SceneSet("s", tuple(scenes), (query(scenes[0], 0, ("a", "b", "a")),))
    reference, strict = both(listed, perfect(listed, 1), repeated_entries="once")
    assert reference.search.mean_ap == pytest.approx(2 / 3)
    assert strict.search.mean_ap == 1


def test_repeated_entries_searched_again_find_each_box() -> None:
    scenes = [scene("q", [(A, 0)]), scene("a", [(A, 0), (B, 0)])]
    boxes = {0: scenes[1].boxes[0], 1: scenes[1].boxes[1]}
    person = replace(query(scenes[0], 0, ("a", "a")), gallery_boxes=boxes)
    listed = SceneSet("s", tuple(scenes), (person,))
    file = predictions(listed, [[], [(A, 1.0, LIKE), (B, 1.0, [0.6, 0.8])]], [LIKE])
    reference, again = both(listed, file, repeated_entries="searched")
    assert reference.search.mean_ap == 0.5
    # A (right), A again (wrong, tied), B (right, tied with the other B).
    assert again.search.mean_ap == pytest.approx((1 / 2 + 2 / 4) / 2)


def test_the_own_scene_is_no_free_hit() -> None:
    scenes = [scene("q", [(A, 0)]), scene("a", [(A, 0)])]
    listed = SceneSet("s", tuple(scenes), (query(scenes[0], 0, ("q", "a")),))
    file = predictions(listed, [[(A, 1.0, LIKE)], []], [LIKE])
    reference, strict = both(listed, file, keep_own_scene=False)
    assert (reference.search.mean_ap, reference.search.top(1)) == (0.5, 1)
    assert (strict.search.mean_ap, strict.search.top(1)) == (0, 0)


def test_a_list_does_not_make_a_right_hit_wrong() -> None:
    scenes = [scene("q", [(A, 0)]), scene("a", [(A, 0)]), scene("b", [(A, 0)])]
    person = replace(query(scenes[0], 0, ("a", "b")), gallery_boxes={1: scenes[2].boxes[0]})
    listed = SceneSet("s", tuple(scenes), (person,))
    close: list[list[FoundPerson]] = [[], [(A, 1.0, LIKE)], [(A, 1.0, [0.8, 0.6])]]
    file = predictions(listed, close, [LIKE])
    reference, strict = both(listed, file, trust_lists=False)
    assert (reference.search.mean_ap, strict.search.mean_ap) == (0.5, 1)


def test_a_person_shown_twice_may_be_found_twice() -> None:
    scenes = [scene("q", [(A, 0)]), scene("a", [(A, 0), (B, 0)]), scene("b", [(A, 0)])]
    whole = SceneSet("s", tuple(scenes), (query(scenes[0], 0),))
    people: list[list[FoundPerson]] = [
        [],
        [(A, 1.0, [0.8, 0.6]), (B, 1.0, LIKE)],
        [(A, 1.0, [0.6, 0.8])],
    ]
    reference, strict = both(whole, predictions(whole, people, [LIKE]), people_per_scene="each")
    assert reference.search.mean_ap == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert (strict.search.mean_ap, strict.search.n_relevant.tolist()) == (1, [3])


def test_one_detection_does_not_find_two_boxes() -> None:
    shifted = (2.0, 0.0, 22.0, 50.0)
    scenes = [scene("q", [(A, 0)]), scene("a", [(A, 0), (shifted, 0)])]
    whole = SceneSet("s", tuple(scenes), (query(scenes[0], 0),))
    file = predictions(whole, [[], [(A, 1.0, LIKE)]], [LIKE])
    assert evaluate(file, whole, protocol="strict").search.mean_ap == 0.5


def test_equal_embeddings_gain_nothing() -> None:
    scenes = [scene("q", [(A, 0)]), scene("b", []), scene("a", [(A, 0)])]
    whole = SceneSet("s", tuple(scenes), (query(scenes[0], 0),))
    file = predictions(whole, [[], [(A, 1.0, LIKE)] * 3, [(A, 1.0, LIKE)]], [LIKE])
    reference, strict = both(whole, file, tied_ranks="wrong first")
    assert (reference.search.first_matches.tolist(), strict.search.first_matches.tolist()) == (
        [1],
        [4],
    )
    assert reference.search.mean_ap == strict.search.mean_ap == 0.25
