"""Scenes are kept as long as the archive may, and not longer."""

import time
from dataclasses import replace

import pytest

from fake.stores import SCENES, Archive, people_of, scene
from fdps.errors import ArchiveError, UsageError
from fdps.search.audit import Note, entries, kept_head
from fdps.search.care.retention import (
    Retention,
    apply_retention,
    due,
    overdue,
    parse_keep,
    retention_of,
    set_retention,
)
from fdps.search.care.verify import verify
from fdps.search.sql.store import SqlStore
from fdps.search.times import instant

DAY = 86400.0


@pytest.fixture
def store(archive: Archive) -> SqlStore:
    return archive.open()


@pytest.mark.parametrize(
    ("text", "seconds"), [("12h", 43_200), ("30d", 2_592_000), ("2w", 1_209_600), ("0.5d", 43_200)]
)
def test_times_are_hours_days_or_weeks(text: str, seconds: float) -> None:
    assert Retention(text).keep_s == seconds


@pytest.mark.parametrize("text", ["30", "d", "-1d", "1m", "", "30d ", "0d"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="keep "):
        parse_keep(text)


def test_the_policy_is_kept_until_it_is_taken_away(store: SqlStore) -> None:
    assert retention_of(store) is None
    for policy in (Retention("30d"), Retention("2w", "taken"), None):
        set_retention(store, policy)
        assert retention_of(store) == policy
    assert parse_keep("forever") is None
    assert verify(store.where).faults == ()


def test_what_was_added_long_ago_is_due(store: SqlStore) -> None:
    policy = Retention("2d")
    now = time.time()
    assert due(store, policy, now=now + 2 * DAY - 60) == []
    assert len(due(store, policy, now=now + 2 * DAY + 60)) == SCENES
    with store.changing(Note("test")) as connection:
        connection.execute("UPDATE scenes SET added = added - ? WHERE id <= 3", (3 * DAY,))
    assert due(store, policy) == [scene(number).name for number in range(3)]


def test_by_the_time_of_the_scene_those_of_unknown_time_stay(store: SqlStore) -> None:
    moment = instant("2026-05-02T09:00:00+02:00")
    names = due(store, Retention("1h", "taken"), now=moment)
    assert names == [scene(number).name for number in range(8) if scene(number).time]
    everything = due(store, Retention("1h", "taken"), now=moment + 1e9)
    assert len(everything) == len([n for n in range(SCENES) if scene(n).time])


def test_applying_erases_and_notes_it(store: SqlStore) -> None:
    policy, moment = Retention("1h", "taken"), instant("2026-05-02T09:00:00+02:00")
    n_before = len(store)
    gone = due(store, policy, now=moment)
    n_people = sum(len(people_of(number)) for number in range(8) if scene(number).time)
    assert apply_retention(store, policy, now=moment) == n_people
    assert len(store) == n_before - n_people
    assert store.n_scenes == SCENES - len(gone)
    assert due(store, policy, now=moment) == []
    with store.reading() as connection:
        last = entries(connection)[-1]
    assert last.action == "retention"
    assert '"older_than": "2026-05-02T06:00:00+00:00"' in last.details
    assert verify(store.where).faults == ()


def test_adding_again_counts_anew(store: SqlStore) -> None:
    with store.changing(Note("test")) as connection:
        connection.execute("UPDATE scenes SET added = 0")
    store.add(replace(scene(4), camera="new"), people_of(4))
    assert len(due(store, Retention("2d"))) == SCENES - 1


def test_one_line_says_what_is_overdue(store: SqlStore) -> None:
    assert overdue(store, "a.fdps", now=time.time() + 9 * DAY) == ""
    set_retention(store, Retention("2d"))
    assert overdue(store, "a.fdps") == ""
    assert (
        overdue(store, "a.fdps", now=time.time() + 9 * DAY)
        == "20 scenes are older than 2d: fdps archive retention a.fdps --apply"
    )


def test_a_policy_that_is_none_is_damage(store: SqlStore) -> None:
    store.write_note("retention", '{"keep": "soon"}')
    with pytest.raises(ArchiveError, match="its retention is"):
        retention_of(store)


def test_a_count_that_is_none_is_damage(store: SqlStore) -> None:
    with store.changing(Note("test")) as database:
        database.execute("UPDATE meta SET value = 'x' WHERE key = 'audit_count'")
        with pytest.raises(ArchiveError, match="it counts 'x' entries"):
            kept_head(database)
        database.execute("UPDATE meta SET value = '1' WHERE key = 'audit_count'")
