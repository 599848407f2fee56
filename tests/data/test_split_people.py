from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdps.data.split_people import split_by_person
from fdps.errors import UsageError
from fdps.structures import UNLABELLED, Scene, SceneSet

SHARES = {"train": 0.6, "val": 0.1, "test": 0.3}


def made(people: list[list[int]]) -> SceneSet:
    return SceneSet(
        "mine/all",
        tuple(
            Scene(
                f"{k}.jpg",
                Path(f"{k}.jpg"),
                np.tile(np.array([0, 0, 5, 9], dtype=np.float32), (len(ids), 1)),
                np.array(ids, dtype=np.int64),
            )
            for k, ids in enumerate(people)
        ),
    )


@given(
    people=st.lists(st.lists(st.integers(-1, 20), max_size=4), min_size=1, max_size=30),
    seed=st.integers(0, 5),
)
def test_nobody_is_in_two_parts_and_no_scene_is_lost(people: list[list[int]], seed: int) -> None:
    scenes = made(people)
    if len(scenes.person_ids) < 3:
        return
    division = split_by_person(scenes, SHARES, seed)
    known = [set(part.person_ids) for part in division.parts.values()]
    assert sum(map(len, known)) == len(set().union(*known))
    names = sorted(scene.name for part in division.parts.values() for scene in part.scenes)
    assert names == sorted(scene.name for scene in scenes.scenes)
    n_named = sum(int((s.person_ids >= 0).sum()) for s in scenes.scenes)
    kept = sum(
        int((s.person_ids >= 0).sum()) for part in division.parts.values() for s in part.scenes
    )
    assert kept + division.n_unnamed == n_named


def test_people_who_appear_together_stay_together_while_the_group_is_small() -> None:
    scenes = made([[2 * k, 2 * k + 1] for k in range(50)])
    division = split_by_person(scenes, SHARES, 0)
    assert division.n_unnamed == 0
    assert {name: len(part.person_ids) for name, part in division.parts.items()} == {
        "train": 60,
        "val": 10,
        "test": 30,
    }


def test_a_crowd_is_divided_by_person_and_strangers_lose_their_name() -> None:
    scenes = made([[k, (k + 1) % 40] for k in range(40)] + [[UNLABELLED]])  # a ring
    division = split_by_person(scenes, {"train": 0.5, "test": 0.5}, 0)
    assert division.n_unnamed > 0
    assert min(len(part.person_ids) for part in division.parts.values()) >= 10


def test_equal_seeds_give_equal_parts_and_others_do_not() -> None:
    scenes = made([[k] for k in range(40)])

    def ids(seed: int) -> list[list[int]]:
        parts = split_by_person(scenes, SHARES, seed).parts
        return [part.person_ids for part in parts.values()]

    assert ids(1) == ids(1) != ids(2)


@pytest.mark.parametrize("shares", [{}, {"a": 0.0}, {"a": -1.0}, {"a": 1.0, "b": 1.0, "c": 1.0}])
def test_what_cannot_be_divided(shares: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        split_by_person(made([[0], [1]]), shares, 0)
