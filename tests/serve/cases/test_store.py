"""Cases survive whatever happens to the server, and two editors do not overwrite each other."""

import multiprocessing
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from fake.cases import ARCHIVE, edit_for_ever, person, place
from fdps.errors import ArchiveError, ResourceError, UsageError
from fdps.search.care.retention import Age
from fdps.serve.cases import case as limits
from fdps.serve.cases.case import QueryPerson
from fdps.serve.cases.store import CaseStore, OutdatedError, UnknownCaseError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CaseStore]:
    store = CaseStore(tmp_path / "cases.sqlite")
    yield store
    store.close()


def test_a_case_comes_back_as_it_was(store: CaseStore, tmp_path: Path) -> None:
    query = [person(1), person(2, is_unlike=True, place=place(7, frame=3))]
    made = store.create(
        ARCHIVE, " Lost child ", purpose="search\nof a child", by="ann", query=query
    )
    store.judge(made.line.id, place(1), "confirmed", by="ann", scene="p/1", note="at the gate")
    store.judge(made.line.id, place(2), "rejected", by="bob", scene="p/2")
    store.close()
    again = CaseStore(tmp_path / "cases.sqlite")
    case = again.case(made.line.id)
    assert (case.line.name, case.line.purpose) == ("Lost child", "search\nof a child")
    assert (case.line.by, case.line.changed_by, case.line.version) == ("ann", "bob", 3)
    assert (case.line.n_query, case.line.n_confirmed, case.line.n_rejected) == (2, 1, 1)
    for kept, given in zip(case.query, query, strict=True):
        assert np.array_equal(kept.embedding, given.embedding)
        assert (kept.crop, kept.is_unlike, kept.place) == (
            *(given.crop, given.is_unlike, given.place),
        )
    first, second = case.judged
    assert (first.place, first.opinion, first.note) == (place(1), "confirmed", "at the gate")
    assert (second.scene, second.opinion, second.note) == ("p/2", "rejected", "")
    again.close()


def test_the_case_changed_last_is_listed_first(store: CaseStore) -> None:
    a, b, other = (store.create(key, key, by="ann") for key in (ARCHIVE, ARCHIVE, "other"))
    time.sleep(0.01)
    store.change(a.line.id, by="ann", notes="x")
    assert [line.id for line in store.lines([ARCHIVE])] == [a.line.id, b.line.id]
    assert other.line.id in [line.id for line in store.lines()]
    assert store.lines([]) == []


def test_the_second_of_two_editors_is_told(store: CaseStore) -> None:
    case_id = store.create(ARCHIVE, "a", by="ann").line.id
    results = []

    def edit(name: str) -> None:
        try:
            results.append(store.change(case_id, by=name, version=1, notes=name).line.changed_by)
        except OutdatedError as error:
            results.append(error.version)

    threads = [threading.Thread(target=edit, args=(name,)) for name in ("ann", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winner = store.case(case_id).line
    assert sorted(map(str, results)) == sorted(["2", winner.changed_by])
    assert winner.notes == winner.changed_by
    with pytest.raises(OutdatedError, match="version 2"):
        store.judge(case_id, place(), "confirmed", by="bob", version=1)
    with pytest.raises(OutdatedError):
        store.delete(case_id, version=1)
    assert store.case(case_id).judged == ()


def test_a_verdict_replaces_the_earlier_one_of_the_same_person(store: CaseStore) -> None:
    case_id = store.create(ARCHIVE, "a", by="ann").line.id
    store.judge(case_id, place(left=10), "rejected", by="ann", note="taller")
    moved = store.judge(case_id, place(left=13), "confirmed", by="bob")  # found anew
    assert [(j.opinion, j.note, j.place) for j in moved.judged] == [
        ("confirmed", "taller", place(left=13))
    ]
    apart = store.judge(case_id, place(left=60), "rejected", by="bob")
    assert len(apart.judged) == 2
    assert len(store.judge(case_id, place(left=10, frame=4), "rejected", by="bob").judged) == 3
    assert len(store.judge(case_id, place(left=14), None, by="bob").judged) == 2


def test_a_neighbour_who_overlaps_keeps_the_own_verdict(store: CaseStore) -> None:
    case_id = store.create(ARCHIVE, "a", by="ann").line.id
    store.judge(case_id, place(left=10), "rejected", by="ann")
    beside = np.array([place(left=10).box], dtype=np.float32)
    case = store.judge(case_id, place(left=15), "confirmed", by="ann", beside=beside)
    assert [judged.opinion for judged in case.judged] == ["rejected", "confirmed"]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"name": "  "}, "the name is empty"),
        ({"name": "x" * (limits.MOST_OF_NAME + 1)}, "201 letters, at most 200"),
        ({"name": "a\nb"}, r"control character, U\+000A"),
        ({"purpose": "x" * (limits.MOST_OF_PURPOSE + 1)}, "the purpose has"),
        ({"notes": "x" * (limits.MOST_OF_NOTES + 1)}, "the notes has"),
        ({"notes": "\0"}, r"U\+0000"),
        ({"notes": "\ud800"}, r"U\+D800"),  # no text of Unicode, and JSON can carry it
    ],
)
def test_texts_have_limits(store: CaseStore, texts: dict[str, str], message: str) -> None:
    case_id = store.create(ARCHIVE, "a", by="ann").line.id
    with pytest.raises(UsageError, match=message):
        store.create(ARCHIVE, **{"name": "b", **texts}, by="ann")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=message):
        store.change(case_id, **texts, by="ann")  # type: ignore[arg-type]
    assert [line.version for line in store.lines()] == [1]


def test_what_belongs_to_a_case_has_limits(
    store: CaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    case_id = store.create(ARCHIVE, "a", by="ann").line.id
    with pytest.raises(UsageError, match="at most 50 people, got 51"):
        store.change(case_id, by="ann", query=[person()] * 51)
    wide = QueryPerson("x", (0.0, 0.0, 1.0, 1.0), 1.0, person().embedding, b"x" * 300_000)
    with pytest.raises(UsageError, match="300000 bytes"):
        store.create(ARCHIVE, "b", by="ann", query=[wide])
    with pytest.raises(UsageError, match="the note has 2001"):
        store.judge(case_id, place(), "confirmed", by="ann", note="x" * 2001)
    monkeypatch.setattr("fdps.serve.cases.store.MOST_VERDICTS", 2)
    for number in range(2):
        store.judge(case_id, place(number), "rejected", by="ann")
    store.judge(case_id, place(1), "confirmed", by="ann")  # in place of an earlier one
    with pytest.raises(UsageError, match="at most 2 verdicts"):
        store.judge(case_id, place(2), "confirmed", by="ann")
    monkeypatch.setattr("fdps.serve.cases.store.MOST_CASES", 1)
    with pytest.raises(UsageError, match="the most that are kept"):
        store.create(ARCHIVE, "c", by="ann")


def test_an_unknown_case(store: CaseStore) -> None:
    for act in (store.case, store.delete):
        with pytest.raises(UnknownCaseError, match="no such case"):
            act("nobody")
    with pytest.raises(UnknownCaseError):
        store.judge("nobody", place(), "confirmed", by="ann")
    with pytest.raises(UnknownCaseError):
        store.change("nobody", by="ann", name="x")


def content(folder: Path) -> bytes:
    return b"\0".join(path.read_bytes() for path in folder.iterdir() if path.is_file())


def test_a_deleted_case_leaves_no_byte(store: CaseStore, tmp_path: Path) -> None:
    gone = store.create(ARCHIVE, "secret name", by="ann", query=[person(1, dim=64)])
    kept = store.create(ARCHIVE, "other", by="ann", query=[person(2, dim=64)])
    store.judge(gone.line.id, place(1), "confirmed", by="ann", note="secret note")
    store.judge(kept.line.id, place(1), "rejected", by="ann")
    assert b"secret name" in content(tmp_path)
    store.delete(gone.line.id)
    found = content(tmp_path)
    for trace in (b"secret", person(1, dim=64).crop, person(1, dim=64).embedding.tobytes()[:32]):
        assert trace not in found
    assert person(2, dim=64).embedding.tobytes() in found
    assert [line.n_rejected for line in store.lines()] == [1]


def test_whoever_is_no_longer_looked_for_leaves_no_byte(store: CaseStore, tmp_path: Path) -> None:
    case_id = store.create(ARCHIVE, "a", by="ann", query=[person(1, dim=64)]).line.id
    store.change(case_id, by="ann", query=[person(2, dim=64)])
    found = content(tmp_path)
    assert person(1, dim=64).embedding.tobytes()[:32] not in found
    assert person(2, dim=64).embedding.tobytes() in found


def test_somebody_forgotten_is_erased_from_the_cases(store: CaseStore, tmp_path: Path) -> None:
    uploaded, of_archive, other = person(1, dim=64), person(2, dim=64), person(3, dim=64)
    about = store.create(
        ARCHIVE,
        "about them",
        by="ann",
        query=[uploaded, person(4, dim=64, is_unlike=True)],
    ).line.id
    store.judge(about, place(1, left=12), "confirmed", by="ann", note="the gate")
    taken = QueryPerson(
        *("p/1", (1.0, 1.0, 2.0, 2.0), 0.5, of_archive.embedding, of_archive.crop),
        place=place(1),
    )
    asks = store.create(ARCHIVE, "asks by an item", by="ann", query=[taken, other]).line.id
    merely = store.create(ARCHIVE, "not them", by="ann", query=[other]).line.id
    store.judge(merely, place(1), "rejected", by="ann", note="no")
    store.judge(merely, place(1, left=60), "confirmed", by="ann")
    elsewhere = store.create("archive two", "elsewhere", by="ann").line.id
    store.judge(elsewhere, place(1), "confirmed", by="ann")

    before = store.erase(ARCHIVE, [place(1)], dry_run=True)
    assert store.case(about).line.n_query == 2
    erased = store.erase(ARCHIVE, [place(1)])
    assert erased == before
    assert erased.cases == {about: "about them", asks: "asks by an item", merely: "not them"}
    assert (erased.n_people, erased.n_verdicts) == (2, 2)
    found = content(tmp_path)
    for gone in (uploaded, of_archive):
        assert gone.embedding.tobytes()[:32] not in found
        assert gone.crop not in found
    assert b"the gate" not in found
    assert other.embedding.tobytes() in found
    assert [p.is_unlike for p in store.case(about).query] == [True]
    assert len(store.case(merely).judged) == 1
    assert len(store.case(elsewhere).judged) == 1
    assert store.case(about).line.version == 3  # whoever has it open is told


def test_what_was_taken_from_an_erased_scene_leaves_no_byte(
    store: CaseStore, tmp_path: Path
) -> None:
    uploaded, of_archive = person(1, dim=64), person(2, dim=64, place=place(1), age=Age(50.0, 10.0))
    case = store.create(ARCHIVE, "both", by="ann", query=[uploaded, of_archive]).line.id
    store.judge(case, place(1), "confirmed", by="ann", note="the gate", age=Age(50.0, 10.0))
    store.judge(case, place(2), "confirmed", by="ann", age=Age(60.0, None))
    elsewhere = store.create("archive two", "elsewhere", by="ann").line.id
    store.judge(elsewhere, place(1), "confirmed", by="ann", age=Age(50.0, 10.0))
    one, two = (place(1).sha256, 0), (place(2).sha256, 0)
    assert store.scenes_before(ARCHIVE, "added", 50.0) == []
    assert store.scenes_before(ARCHIVE, "added", 50.1) == [one]
    assert store.scenes_before(ARCHIVE, "added", 60.1) == [one, two]
    assert store.scenes_before(ARCHIVE, "taken", 1e9) == [one]  # the other's time is not known
    assert store.erase_scenes(ARCHIVE, []).cases == {}
    erased = store.erase_scenes(ARCHIVE, [one])
    assert (erased.cases, erased.n_people, erased.n_verdicts) == ({case: "both"}, 1, 1)
    found = content(tmp_path)
    assert of_archive.embedding.tobytes()[:32] not in found
    assert of_archive.crop not in found
    assert b"the gate" not in found
    assert uploaded.embedding.tobytes() in found
    assert [judged.place for judged in store.case(case).judged] == [place(2)]
    assert len(store.case(elsewhere).judged) == 1
    assert store.case(case).line.version == 4  # whoever has it open is told


def test_a_file_of_the_first_version_is_brought_to_the_present_one(tmp_path: Path) -> None:
    path = tmp_path / "cases.sqlite"
    store = CaseStore(path)
    case = store.create(ARCHIVE, "old", by="ann", query=[person(1), person(2, place=place(1))])
    store.judge(case.line.id, place(3), "confirmed", by="ann")
    store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for table in ("people", "verdicts"):
            for column in ("added", "taken"):
                connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        connection.execute("PRAGMA user_version = 1")
    again = CaseStore(path)
    try:
        found = again.case(case.line.id)
        assert [one.age.added is not None for one in found.query] == [False, True]
        assert found.judged[0].age.added == pytest.approx(time.time(), abs=60)
        assert len(again.scenes_before(ARCHIVE, "added", time.time() + 60)) == 2
    finally:
        again.close()


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    text, other, newer = (tmp_path / name for name in ("a.sqlite", "b.sqlite", "c.sqlite"))
    text.write_text("no database, but long enough to look at" * 50)
    with pytest.raises(ArchiveError, match="is damaged"):
        CaseStore(text)
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE x (y)")
    connection.close()
    with pytest.raises(ArchiveError, match="not a file of fdps serve"):
        CaseStore(other)
    CaseStore(newer).close()
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ArchiveError, match="version 99, this fdps reads 2"):
        CaseStore(newer)
    with pytest.raises(ArchiveError, match="cannot use"):
        CaseStore(tmp_path / "no such folder" / "cases.sqlite")


def test_a_full_disk_keeps_what_was_acknowledged(store: CaseStore, tmp_path: Path) -> None:
    case_id = store.create(ARCHIVE, "a", by="ann", notes="kept").line.id
    connection = store._database._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")  # SQLite then reports a full disk
    with pytest.raises(ResourceError, match="earlier ones are safe"):
        store.create(ARCHIVE, "b", by="ann", query=[person(number) for number in range(50)])
    assert [line.id for line in store.lines()] == [case_id]
    connection.execute(f"PRAGMA max_page_count = {pages + 1000}")
    assert store.change(case_id, by="ann", notes="again").line.notes == "again"


def missing(path: Path, acknowledged: Path) -> list[str]:
    """What was acknowledged and is not there."""
    store = CaseStore(path)
    cases = {line.id: store.case(line.id) for line in store.lines()}
    store.close()
    lost = []
    for line in acknowledged.read_text().splitlines():
        what, case_id, rest = line.split(" ", 2)
        case = cases.get(case_id)
        if case is None:
            lost.append(line)
        elif what == "create":
            is_there = case.line.name == rest and len(case.query) == 1
            lost += [] if is_there else [line]
        elif what == "notes":
            lost += [] if case.line.notes == rest else [line]
        else:
            row, note = rest.split(" ", 1)
            found = [j.note for j in case.judged if j.place == place(int(row))]
            lost += [] if found == [note] else [line]
    return lost


def kill_while_editing(folder: Path, n_kills: int) -> int:
    """Kill an editor again and again; the number of changes that it acknowledged."""
    path, acknowledged = folder / "cases.sqlite", folder / "acknowledged.txt"
    acknowledged.touch()
    moments, context = random.Random(4), multiprocessing.get_context("forkserver")
    for _ in range(n_kills):
        n_before = acknowledged.stat().st_size
        process = context.Process(target=edit_for_ever, args=(path, acknowledged))
        process.start()
        while acknowledged.stat().st_size == n_before:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.15))
        process.kill()
        process.join()
        assert missing(path, acknowledged) == []
    return len(acknowledged.read_text().splitlines())


@pytest.mark.slow
def test_no_acknowledged_change_is_lost_when_the_editor_is_killed(tmp_path: Path) -> None:
    assert kill_while_editing(tmp_path, 20) > 40


def test_two_processes_share_a_file(store: CaseStore, tmp_path: Path) -> None:
    other = CaseStore(tmp_path / "cases.sqlite")
    case_id = store.create(ARCHIVE, "a", by="ann").line.id
    assert other.change(case_id, by="bob", version=1, notes="x").line.version == 2
    assert store.case(case_id).line.notes == "x"
    other.close()
