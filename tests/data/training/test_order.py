import math
from collections import Counter
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fake.people import write_picture
from fdps.config import TrainConfig
from fdps.data import load_scenes
from fdps.data.training.order import Sampling, SceneFacts, epoch_batches
from fdps.errors import ConfigError, MissingDataError, PictureError
from fdps.structures import Scene, SceneSet

ALL = ("shuffle", "identity", "hard", "pairs")


def batches(facts: SceneFacts, **changes: Any) -> list[tuple[int, ...]]:
    fields: dict[str, Any] = {
        "sampling": "shuffle",
        "group_by_aspect": False,
        "batch_size": 2,
        "seed": 1,
        "epoch": 0,
    }
    return epoch_batches(facts, **fields | changes)


def draws(facts: SceneFacts, **changes: Any) -> list[int]:
    return list(chain.from_iterable(batches(facts, **changes)))


def alone(*counts: int, without: int = 0) -> SceneFacts:
    """Scenes of one identity each, so many for each of them, then scenes without any."""
    shown = [(person_id,) for person_id, n in enumerate(counts) for _ in range(n)]
    return SceneFacts((*shown, *[()] * without))


def turns(facts: SceneFacts, **changes: Any) -> list[int]:
    """Whose turns they were, -1 for nobody's; for scenes of at most one identity."""
    return [(*facts.person_ids[row], -1)[0] for row in draws(facts, **changes)]


def hard(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


People = tuple[tuple[int, ...], ...]
Made = tuple[People, tuple[float, ...], list[float]]


@st.composite
def sets(draw: st.DrawFn, max_people: int = 3) -> Made:
    """People and aspects of scenes, hardness of the identities.

    Plain values, since beartype, which checks what is constructed, draws random numbers itself.
    """
    ids = st.sets(st.integers(0, 6), max_size=max_people).map(lambda ids: tuple(sorted(ids)))
    people = tuple(draw(st.lists(ids, max_size=30)))
    aspect = st.sampled_from([0.5, 0.75, 4 / 3, 1.34, 16 / 9]) | st.floats(0.1, 10)
    aspects = draw(st.lists(aspect, min_size=len(people), max_size=len(people)))
    n = 1 + max((-1, *chain.from_iterable(people)))
    value = st.floats(-1, 2, width=32) | st.just(0.0)
    return people, tuple(aspects), draw(st.lists(value, min_size=n, max_size=n))


# Promises of every sampling


@given(
    made=sets(),
    sampling=st.sampled_from(ALL),
    grouped=st.booleans(),
    batch_size=st.integers(1, 9),
    seed=st.sampled_from([0, 1, 2**32 - 1]),
)
def test_batches_are_full_but_for_the_last(
    made: Made, sampling: str, grouped: bool, batch_size: int, seed: int
) -> None:
    facts, hardness = SceneFacts(*made[:2]), hard(*made[2])
    found = batches(
        facts,
        sampling=sampling,
        group_by_aspect=grouped,
        batch_size=batch_size,
        seed=seed,
        hardness=hardness,
    )
    n_full, n_rest = divmod(len(facts), batch_size)
    assert [len(batch) for batch in found] == [batch_size] * n_full + [n_rest] * (n_rest > 0)
    assert set(chain.from_iterable(found)) <= set(range(len(facts)))
    assert all(type(row) is int for batch in found for row in batch)


@pytest.mark.long
@given(made=sets(), sampling=st.sampled_from(ALL), batch_size=st.integers(1, 9))
def test_grouping_and_batch_size_change_who_comes_together_not_who_comes(
    made: Made, sampling: str, batch_size: int
) -> None:
    facts, hardness = SceneFacts(*made[:2]), hard(*made[2])
    expected = draws(facts, sampling=sampling, hardness=hardness)
    changes = {"sampling": sampling, "hardness": hardness, "batch_size": batch_size}
    assert draws(facts, **changes) == expected
    assert sorted(draws(facts, group_by_aspect=True, **changes)) == sorted(expected)


@pytest.mark.parametrize("sampling", ALL)
@pytest.mark.parametrize("grouped", [False, True])
def test_the_order_follows_from_seed_and_epoch_alone(sampling: str, grouped: bool) -> None:
    facts = SceneFacts(
        tuple((k % 7, 7 + k % 5) if k % 4 else () for k in range(40)), (0.5, 2.0) * 20
    )
    hardness = np.linspace(0, 1, facts.n_persons, dtype=np.float32)
    before = hardness.copy()
    changes = {"sampling": sampling, "group_by_aspect": grouped, "hardness": hardness}
    named = [(seed, epoch) for seed in (1, 2) for epoch in range(5)]
    found = {name: batches(facts, seed=name[0], epoch=name[1], **changes) for name in named}
    assert len({tuple(order) for order in found.values()}) == len(named)

    torch.manual_seed(5)
    state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    for seed, epoch in reversed(named):
        again = SceneFacts(facts.person_ids, facts.aspects)
        assert batches(again, seed=seed, epoch=epoch, **changes) == found[seed, epoch]
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.array_equal(np.random.get_state()[1], state[1])  # noqa: NPY002
    assert np.array_equal(hardness, before)


@pytest.mark.parametrize("sampling", ALL)
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (SceneFacts((), ()), []),  # no scene
        (SceneFacts(((0,),), (1.5,)), [(0,)]),  # one
        (SceneFacts(((),), (1.5,)), [(0,)]),  # one without people
    ],
)
def test_limit_sets_of_at_most_one_scene(
    facts: SceneFacts, expected: list[tuple[int, ...]], grouped: bool, sampling: str
) -> None:
    assert batches(facts, sampling=sampling, group_by_aspect=grouped, batch_size=9) == expected


@pytest.mark.parametrize(
    ("sampling", "grouped", "expected"),
    [
        ("shuffle", False, [4, 0, 2, 1, 5, 3]),
        ("identity", False, [1, 5, 0, 4, 2, 3]),
        ("hard", False, [1, 0, 2, 5, 1, 0]),
        ("shuffle", True, [4, 1, 0, 2, 5, 3]),
        ("identity", True, [5, 0, 1, 4, 2, 3]),
        ("hard", True, [0, 2, 1, 1, 5, 0]),
    ],
)
def test_orders_stay_what_they_were(sampling: str, grouped: bool, expected: list[int]) -> None:
    # As numpy 2.0.2 and 2.4.6 draw them: a run goes on in the same order after an update.
    facts = SceneFacts(((0, 1), (0,), (1,), (), (2,), (2,)), (0.5, 2.0, 0.5, 2.0, 2.0, 0.5))
    changes = {"sampling": sampling, "group_by_aspect": grouped, "hardness": hard(1, 0, 0)}
    assert draws(facts, **changes) == expected


# Shuffle


@pytest.mark.parametrize("seed", [0, 3])
def test_shuffling_is_the_permutation_that_runs_have_had_from_the_beginning(seed: int) -> None:
    facts = alone(3, 4, without=2)
    for epoch in range(3):
        expected = np.random.default_rng((seed, 0, epoch)).permutation(9).tolist()
        assert draws(facts, seed=seed, epoch=epoch) == expected
        ignored = hard(np.nan, 1, 1)  # even one that hard sampling would refuse
        assert draws(facts, seed=seed, epoch=epoch, hardness=ignored) == expected


@pytest.mark.parametrize("sampling", ["identity", "hard", "pairs"])
def test_a_set_without_labelled_people_is_shuffled(sampling: str) -> None:
    facts = alone(without=9)
    assert draws(facts, sampling=sampling) == draws(facts)
    assert draws(facts, sampling=sampling, hardness=hard()) == draws(facts)


# Identity


@given(made=sets(max_people=1), epoch=st.integers(0, 3))
def test_identities_have_equally_many_turns_up_to_one(made: Made, epoch: int) -> None:
    facts = SceneFacts(*made[:2])
    owners = {(*shown, -1)[0] for shown in facts.person_ids}
    found = Counter(turns(facts, sampling="identity", epoch=epoch))
    assert found.keys() <= owners
    assert {found[owner] - len(facts) // max(len(owners), 1) for owner in owners} <= {0, 1}


def test_identities_take_turns_in_an_order_that_changes() -> None:
    rounds = []
    for epoch in range(5):
        found = turns(alone(1, 1, 9, without=9), sampling="identity", epoch=epoch)
        rounds += [tuple(found[k : k + 4]) for k in range(0, 20, 4)]
    assert {tuple(sorted(turn)) for turn in rounds} == {(-1, 0, 1, 2)}
    assert len(set(rounds)) > 10


def test_all_scenes_of_an_identity_come_before_any_comes_again() -> None:
    facts = alone(1, 3, 20)  # 8 turns each
    orders = set()
    for epoch in range(5):
        found = draws(facts, sampling="identity", epoch=epoch)
        of_second = [row for row in found if row in (1, 2, 3)]
        assert len(of_second) == 8
        assert {*of_second[:3]} == {*of_second[3:6]} == {1, 2, 3}
        assert len({row for row in found if row > 3}) == 8
        assert found.count(0) == 8
        orders.add(tuple(of_second[:3]))
    assert len(orders) > 1


@pytest.mark.long
@given(made=sets(), epoch=st.integers(0, 3))
def test_every_turn_takes_a_scene_that_somebody_has_seen_least(made: Made, epoch: int) -> None:
    facts = SceneFacts(*made[:2])
    n_drawn = [0] * len(facts)
    scenes_of: dict[int, list[int]] = {}
    for row, shown in enumerate(facts.person_ids):
        for owner in shown or (-1,):
            scenes_of.setdefault(owner, []).append(row)
    for row in draws(facts, sampling="identity", epoch=epoch):
        owners = facts.person_ids[row] or (-1,)
        assert any(n_drawn[row] == min(n_drawn[k] for k in scenes_of[owner]) for owner in owners)
        n_drawn[row] += 1
    for rows in scenes_of.values():  # shown in the own turns, and perhaps in those of others
        assert sum(n_drawn[row] for row in rows) >= len(facts) // len(scenes_of)


def test_value_a_scene_drawn_for_one_person_counts_as_drawn_for_all_it_shows() -> None:
    # Person 1 has scene 0 alone, person 0 has both. If 1 comes first, 0 gets scene 1; if 0 comes
    # first, it gets either: (0, 1) in a half of the epochs, (0, 0) and (1, 0) in a quarter each.
    facts = SceneFacts(((0, 1), (0,)))
    found = Counter(tuple(draws(facts, sampling="identity", epoch=epoch)) for epoch in range(400))
    assert {order: n / 400 for order, n in found.items()} == {
        (0, 1): pytest.approx(0.5, abs=0.06),
        (0, 0): pytest.approx(0.25, abs=0.06),
        (1, 0): pytest.approx(0.25, abs=0.06),
    }


@pytest.mark.parametrize("n_scenes", [1, 2, 7])
def test_limit_one_identity_everywhere_sees_each_scene_once(n_scenes: int) -> None:
    found = [
        draws(alone(n_scenes), sampling="identity", epoch=epoch, batch_size=5)
        for epoch in range(10)
    ]
    assert all(sorted(order) == list(range(n_scenes)) for order in found)
    assert len(set(map(tuple, found))) > 1 or n_scenes == 1


def test_with_more_identities_than_scenes_everybody_is_met_in_some_epoch() -> None:
    facts = SceneFacts(((0, 1, 2), (3, 4, 5)))
    found = [draws(facts, sampling="identity", epoch=epoch) for epoch in range(50)]
    # Two of six identities have a turn. That they are of one scene has probability 2/5, and then
    # the scene is drawn twice.
    n_twice = sum(len(set(order)) == 1 for order in found)
    assert 10 <= n_twice <= 30
    assert {order[0] for order in found} == {0, 1}


@pytest.mark.long
def test_on_real_frames_an_epoch_draws_three_quarters_of_the_scenes(shared_data: Path) -> None:
    facts = SceneFacts.of(load_scenes("prw", shared_data / "prw_c6", "train"), with_aspects=False)
    shown = Counter(chain.from_iterable(facts.person_ids))
    assert (len(facts), np.median([*shown.values()]), max(shown.values())) == (747, 6, 100)
    found = [draws(facts, sampling="identity", epoch=epoch) for epoch in range(6)]
    shares = [len(set(order)) / len(facts) for order in found]
    assert round(np.mean(shares), 2) == 0.74  # as docs/concepts/data_order.md says


# Hard


@pytest.mark.parametrize(
    ("facts", "hardness", "expected"),
    [
        # 8 turns: 4 in equal parts 2 + 2, 4 to the only hard one
        (alone(4, 4), hard(1, 0), {0: 6, 1: 2}),
        # out of range means the end of the range
        (alone(4, 4), hard(7, -3), {0: 6, 1: 2}),
        # 12 turns: 6 as 2 + 2 + 2, 6 as 4 + 2 + 0; nobody has no hardness
        (alone(2, 2, without=8), hard(0.5, 0.25), {0: 6, 1: 4, -1: 2}),
        # the proportion counts, not the size: as above
        (alone(2, 2, without=8), hard(0.02, 0.01), {0: 6, 1: 4, -1: 2}),
        # equally hard ones share alike
        (alone(1, 5, 6), hard(0.7, 0.7, 0.7), {0: 4, 1: 4, 2: 4}),
        # hard people whom no scene shows have no turns and change nothing
        (SceneFacts(((0,),) * 4 + ((2,),) * 4), hard(1, 1, 0), {0: 6, 2: 2}),
    ],
)
def test_value_half_of_the_turns_follow_hardness(
    facts: SceneFacts, hardness: np.ndarray, expected: dict[int, int]
) -> None:
    for epoch in range(3):
        found = Counter(turns(facts, sampling="hard", epoch=epoch, hardness=hardness))
        assert found == expected


def shares(facts: SceneFacts, hardness: np.ndarray) -> dict[int, Fraction]:
    """Turns that each is due, computed from the definition."""
    owners = {(*shown, -1)[0] for shown in facts.person_ids}
    exact = {k: Fraction(float(hardness[k])) if k >= 0 else Fraction(0) for k in owners}
    cut = {k: min(max(value, Fraction(0)), Fraction(1)) for k, value in exact.items()}
    total, n = sum(cut.values()), Fraction(len(facts))
    if not total:
        return dict.fromkeys(owners, n / max(len(owners), 1))
    return {k: n / 2 / len(owners) + n / 2 * cut[k] / total for k in owners}


@given(made=sets(max_people=1), epoch=st.integers(0, 3))
def test_turns_are_the_share_rounded_down_or_up(made: Made, epoch: int) -> None:
    facts, hardness = SceneFacts(*made[:2]), hard(*made[2])
    hardness = (hardness * 16).round() / 16  # which the steps of hardness hold exactly
    found = Counter(turns(facts, sampling="hard", epoch=epoch, hardness=hardness))
    for owner, share in shares(facts, hardness).items():
        assert found[owner] in (math.floor(share), math.ceil(share))


def test_the_expected_number_of_turns_is_the_share() -> None:
    facts, hardness = alone(5, 3, 1, without=2), hard(0.9, 0.3, 0.15)
    n_epochs = 600
    found: Counter[int] = Counter()
    for epoch in range(n_epochs):
        found.update(turns(facts, sampling="hard", epoch=epoch, hardness=hardness))
    for owner, share in shares(facts, hardness).items():
        # One of two neighbouring numbers has a deviation of at most 1/2, the mean 1/2 / √600.
        assert found[owner] / n_epochs == pytest.approx(float(share), abs=0.08)


def test_turns_of_a_hard_identity_are_spread_over_the_epoch() -> None:
    found = turns(alone(30, 30, 30), sampling="hard", hardness=hard(1, 0, 0))
    thirds = [Counter(found[k : k + 30]) for k in (0, 30, 60)]
    for third in thirds:  # 60, 15 and 15 turns in all; the borders fall between two turns
        assert third[0] in range(18, 23)
        assert {third[1], third[2]} <= {4, 5, 6}


@pytest.mark.long
@given(made=sets(), epoch=st.integers(0, 3), grouped=st.booleans())
def test_limit_without_hardness_hard_is_identity(made: Made, epoch: int, grouped: bool) -> None:
    facts = SceneFacts(*made[:2])
    changes = {"epoch": epoch, "group_by_aspect": grouped}
    expected = batches(facts, sampling="identity", **changes)
    zeros = np.zeros(facts.n_persons, dtype=np.float32)
    for hardness in (None, zeros, zeros - 1):
        assert batches(facts, sampling="hard", hardness=hardness, **changes) == expected


# Aspect ratios


def test_value_batches_of_one_kind_first_and_the_rest_together() -> None:
    # 5 wide and 4 tall pictures: two batches of wide ones, two of tall ones, one is left.
    facts = SceneFacts(((),) * 9, (2.0,) * 5 + (0.5,) * 4)
    orders = set()
    for epoch in range(12):
        found = batches(facts, group_by_aspect=True, epoch=epoch)
        kinds = ["".join("WT"[row >= 5] for row in batch) for batch in found]
        assert sorted(kinds[:4]) == ["TT", "TT", "WW", "WW"]
        assert kinds[4] == "W"
        orders.add(tuple(kinds))
    assert len(orders) == 6  # 4! / (2! 2!)


def test_value_what_is_left_is_joined_from_narrow_to_wide() -> None:
    facts = SceneFacts(((),) * 5, (4.0, 1.0, 0.25, 2.0, 0.5))
    for epoch in range(5):
        found = batches(facts, group_by_aspect=True, epoch=epoch)
        assert {*found[:2]} == {(2, 4), (1, 3)}
        assert found[2] == (0,)


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        (640 / 480, 640 / 478, True),  # nearly equal
        (640 / 640, 640 / 638, True),  # square, a little wide or tall
        (638 / 640, 640 / 638, True),
        (5 / 4, 4 / 3, False),  # neighbours among the common ones
        (3 / 2, 16 / 10, False),
        (16 / 10, 16 / 9, False),
        (4 / 3, 3 / 4, False),  # lying and standing
    ],
)
def test_which_ratios_are_alike(one: float, other: float, together: bool) -> None:
    facts = SceneFacts(((),) * 20, (one, other) * 10)  # rows of one ratio are all even, or all odd
    found = [batches(facts, group_by_aspect=True, epoch=epoch) for epoch in range(5)]
    assert any((a + b) % 2 for order in found for a, b in order) == together


def test_pictures_of_one_ratio_keep_their_random_order() -> None:
    facts = SceneFacts(((),) * 8, (1.5,) * 8)
    for epoch in range(5):
        shuffled = batches(facts, epoch=epoch)
        assert sorted(batches(facts, epoch=epoch, group_by_aspect=True)) == sorted(shuffled)


def padded_share(facts: SceneFacts, found: list[tuple[int, ...]]) -> float:
    """Share of padding when pictures are resized to 900×1500 and batches to multiples of 32."""
    assert facts.aspects is not None
    seen = filled = 0
    for batch in found:
        sizes = []
        for row in batch:
            width, height = facts.aspects[row], 1.0
            scale = min(900 / min(width, height), 1500 / max(width, height))
            sizes.append((round(width * scale), round(height * scale)))
        width, height = (math.ceil(max(sides) / 32) * 32 for sides in zip(*sizes, strict=True))
        filled += len(batch) * width * height
        seen += sum(w * h for w, h in sizes)
    return 1 - seen / filled


@pytest.mark.parametrize("sampling", ALL)
@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        # Few ratios: what stays is the multiples of 32. docs/concepts/data_order.md has both.
        ("cameras", 0.42, 0.04),
        # Every picture has its own.
        ("photographs", 0.36, 0.07),
    ],
)
def test_grouping_saves_most_of_the_padding(
    kind: str, before: float, after: float, sampling: str
) -> None:
    rng = np.random.default_rng(0)
    n = 700
    ratios = {
        "cameras": rng.choice([16 / 9, 5 / 4, 4 / 3, 9 / 16, 3 / 4], size=n),
        "photographs": np.exp(rng.normal(0.2, 0.35, size=n)),
    }
    people = tuple((int(k),) for k in rng.integers(0, 50, size=n))
    facts = SceneFacts(people, tuple(ratios[kind].tolist()))
    plain = batches(facts, sampling=sampling, batch_size=5)
    grouped = batches(facts, sampling=sampling, batch_size=5, group_by_aspect=True)
    assert padded_share(facts, plain) == pytest.approx(before, abs=0.02)
    assert padded_share(facts, grouped) == pytest.approx(after, abs=0.01)


# Facts


def scene_of(path: Path, person_ids: list[int]) -> Scene:
    boxes = np.tile(np.array([0, 0, 5, 9], dtype=np.float32), (len(person_ids), 1))
    return Scene(path.name, path, boxes, np.array(person_ids, dtype=np.int64))


def test_facts_of_a_set(tmp_path: Path) -> None:
    for name, size in {"wide.png": (15, 30), "tall.png": (20, 10), "empty.png": (8, 8)}.items():
        write_picture(tmp_path / name, np.zeros((*size, 3), np.uint8))
    scenes = SceneSet(
        "s",
        (
            scene_of(tmp_path / "wide.png", [3, -1, 0, 3]),
            scene_of(tmp_path / "tall.png", [-1]),
            scene_of(tmp_path / "empty.png", []),
        ),
    )
    facts = SceneFacts.of(scenes, with_aspects=True)
    assert facts == SceneFacts(((0, 3), (), ()), (2.0, 0.5, 1.0))
    assert (len(facts), facts.n_persons) == (3, 4)


def test_pictures_are_opened_only_where_aspects_are_asked_for(tmp_path: Path) -> None:
    scenes = SceneSet("s", (scene_of(tmp_path / "gone.png", [0]),))
    assert SceneFacts.of(scenes, with_aspects=False) == SceneFacts(((0,),))
    with pytest.raises(MissingDataError, match=r"gone\.png"):
        SceneFacts.of(scenes, with_aspects=True)
    (tmp_path / "gone.png").write_text("a letter")
    with pytest.raises(PictureError, match=r"gone\.png"):
        SceneFacts.of(scenes, with_aspects=True)


def test_limit_nobody_is_labelled() -> None:
    assert SceneFacts(()).n_persons == SceneFacts(((), ())).n_persons == 0


def test_the_recipe_knows_the_same_samplings() -> None:
    assert get_type_hints(TrainConfig)["sampling"] == Sampling


# Errors


def test_aspects_of_another_number_of_scenes_are_refused() -> None:
    with pytest.raises(ValueError, match="2 scenes need as many aspects, got 1"):
        SceneFacts(((0,), ()), (1.0,))


@pytest.mark.parametrize("aspect", [0.0, -1.0, math.inf, math.nan])
def test_impossible_aspects_are_refused(aspect: float) -> None:
    with pytest.raises(ValueError, match=f"positive and finite, got {aspect}"):
        SceneFacts(((0,), ()), (1.0, aspect))


@pytest.mark.parametrize("batch_size", [0, -3])
def test_empty_batches_are_refused(batch_size: int) -> None:
    with pytest.raises(ValueError, match=f"batch_size must be at least 1, got {batch_size}"):
        batches(alone(3), batch_size=batch_size)


@pytest.mark.parametrize(
    ("hardness", "message"),
    [
        (hard(1), "each of 2 identities, got 1"),
        (hard(1, 0, 0), "each of 2 identities, got 3"),
        (hard(1, np.nan), "finite, got nan of identity 1"),
        (hard(-np.inf, 0), "finite, got -inf of identity 0"),
    ],
)
def test_hardness_of_other_people_or_without_meaning_is_refused(
    hardness: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        batches(alone(3, 3), sampling="hard", hardness=hardness)


def test_grouping_without_aspects_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the aspects"):
        batches(alone(3), group_by_aspect=True)


# Pairs


@given(made=sets(), epoch=st.integers(0, 3))
def test_two_different_scenes_of_one_person_come_one_after_the_other(
    made: Made, epoch: int
) -> None:
    facts = SceneFacts(*made[:2])
    n_scenes = Counter(chain.from_iterable(facts.person_ids))
    shared = [{p for p in shown if n_scenes[p] > 1} for shown in facts.person_ids]
    if not facts.n_persons:
        return
    found = draws(facts, sampling="pairs", epoch=epoch)
    n_without = sum(not shown for shown in shared)
    for first, second in zip(found[::2], found[1::2], strict=False):
        if shared[first] or shared[second]:
            assert first != second
            assert shared[first] & shared[second]
        else:
            assert first != second or n_without == 1


def test_people_have_equally_many_turns_of_two() -> None:
    facts = alone(2, 5, 9, 1, without=1)  # the person seen once counts as nobody
    found = turns(facts, sampling="pairs")
    of_two = Counter(-1 if who == 3 else who for who in found[::2])
    assert sorted(of_two.values()) == [2, 2, 2, 3]
    assert of_two.keys() == {-1, 0, 1, 2}


@pytest.mark.parametrize("change", [{"batch_size": 5}, {"batch_size": 4, "group_by_aspect": True}])
def test_a_recipe_must_not_part_pairs(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="'pairs', which needs an even"):
        TrainConfig(sampling="pairs", **change)
