"""Walk through an archive, compared with a plain sort of what went in."""

import numpy as np
import pytest

from fake.stores import SCENES, people_of, scene
from fdps.errors import UsageError
from fdps.search import Filters
from fdps.search.care.browse import list_cameras, list_scenes, scenes_beside, spread_scenes
from fdps.search.sql.store import SqlStore
from fdps.search.times import instant


@pytest.fixture
def store(unchanging: SqlStore) -> SqlStore:
    return unchanging


def number_of(name: str) -> int:
    return next(n for n in range(SCENES) if scene(n).name == name)


def in_order(numbers: list[int]) -> list[str]:
    """Names by time; those without one last, as they were added."""
    times = {n: scene(n).time for n in numbers}
    key = {n: (time is None, instant(time) if time else 0, n) for n, time in times.items()}
    return [scene(n).name for n in sorted(numbers, key=key.__getitem__)]


def test_scenes_come_in_order_of_time_page_by_page(store: SqlStore) -> None:
    pages = [list_scenes(store, offset=offset, limit=7) for offset in range(0, SCENES + 7, 7)]
    assert {page.total for page in pages} == {SCENES}
    names = [one.name for page in pages for one in page.scenes]
    assert names == in_order(list(range(SCENES)))
    counts = {
        one.name: n for page in pages for one, n in zip(page.scenes, page.n_people, strict=True)
    }
    assert counts == {scene(n).name: len(people_of(n)) for n in range(SCENES)}


def test_filters_leave_scenes_out(store: SqlStore) -> None:
    page = list_scenes(store, Filters(cameras=("hall",), after="2026-05-02T06:00+02:00"))
    assert {one.camera for one in page.scenes} == {"hall"}
    expected = [n for n in range(1, SCENES, 2) if n % 5 and n % 24 >= 6]
    assert [one.name for one in page.scenes] == in_order(expected)


@pytest.mark.parametrize("words", [{"offset": -1}, {"limit": -1}, {"offset": 2**63}])
def test_numbers_that_make_no_sense_are_refused(store: SqlStore, words: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="listed from 0 on"):
        list_scenes(store, **words)


@pytest.mark.parametrize("n", [1, 2, 7, SCENES, 10_000])
def test_scenes_are_chosen_evenly_among_those_with_somebody(store: SqlStore, n: int) -> None:
    with_people = in_order([number for number in range(SCENES) if len(people_of(number))])
    page = spread_scenes(store, n=n)
    assert page.total == len(with_people)
    places = [with_people.index(one.name) for one in page.scenes]
    assert len(places) == min(n, len(with_people))
    assert places[0] == 0
    gaps = np.diff([*places, len(with_people)])
    assert gaps.min() >= 1
    assert gaps.max() - gaps.min() <= 1
    assert page.n_people == tuple(len(people_of(number_of(one.name))) for one in page.scenes)


def test_scenes_are_chosen_of_one_camera(store: SqlStore) -> None:
    page = spread_scenes(store, Filters(cameras=("hall",)), n=3)
    assert [one.camera for one in page.scenes] == ["hall"] * 3
    nothing = spread_scenes(store, Filters(cameras=("nowhere",)), n=3)
    assert (nothing.total, nothing.scenes) == (0, ())
    with pytest.raises(UsageError, match="between 1 and"):
        spread_scenes(store, n=0)


def test_the_scenes_beside_one_are_of_its_camera(store: SqlStore) -> None:
    for number in (3, 7, 11):
        order = in_order([n for n in range(1, SCENES, 2) if n % 5])
        place = order.index(scene(number).name)
        before, after = scenes_beside(store, scene(number), most=2)
        assert [one.name for one in before] == order[max(0, place - 2) : place]
        assert [one.name for one in after] == order[place + 1 : place + 3]


def test_a_scene_without_a_time_has_neighbours_without_one(store: SqlStore) -> None:
    before, after = scenes_beside(store, scene(10))
    assert [one.name for one in before] == [scene(0).name]
    assert after == []


def test_cameras_are_counted(store: SqlStore) -> None:
    gate, hall = list_cameras(store)
    assert (gate.name, gate.n_scenes, hall.name, hall.n_scenes) == ("gate", 10, "hall", 10)
    assert gate.n_people == sum(len(people_of(n)) for n in range(0, SCENES, 2))
    assert (gate.first, gate.last) == (scene(2).time, scene(18).time)
