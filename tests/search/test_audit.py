"""The list of who did what: complete, chained, and every change of it noticed."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fake.processes import add_scenes_of_three, hold_the_lock, pipe, running
from fake.stores import DIM, MODEL, fill, people_of, scene
from fdps.search import Filters, Index, SqliteStore
from fdps.search.audit import AuditEntry, Note, append, entries, faults, kept_head


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    folder = tmp_path / "event.fdps"
    with SqliteStore.create(folder, model_hash=MODEL, dim=DIM, model="runs/x") as store:
        fill(store)
        yield store


def listed(store: SqliteStore) -> list[AuditEntry]:
    with store.reading() as connection:
        return entries(connection)


def faults_of(store: SqliteStore, expect: str = "") -> list[str]:
    with store.reading() as connection:
        return faults(connection, expect=expect)


def test_a_search_is_one_entry_that_says_who_was_shown(store: SqliteStore) -> None:
    index = Index(store, purpose="lost child")
    index.asked = ["child.jpg"]
    hits = index.search(people_of(7).embeddings[0], 3, cameras=["hall"], min_height=5.0)
    index.search(people_of(7).embeddings[1], 1, filters=Filters(before="2026-05-02"))
    first, second = listed(store)[-2:]
    assert index.unrecorded == ""
    assert (first.action, first.purpose) == ("search", "lost child")
    assert json.loads(first.details) == {
        "asked": ["child.jpg"],
        "filters": {"cameras": ["hall"], "min_height": 5.0},
        "items": [hit.item for hit in hits],
        "top": 3,
    }
    assert json.loads(second.details)["filters"] == {"before": "2026-05-02"}
    assert faults_of(store) == []


def test_entries_hold_nothing_biometric(store: SqliteStore) -> None:
    embedding = people_of(7).embeddings[0]
    Index(store).search(embedding, 3)
    text = "".join(entry.details for entry in listed(store))
    assert embedding.tobytes().hex() not in text
    assert not any(f"{value:.4f}" in text for value in embedding)


def test_an_erasure_and_its_entry_are_one_transaction(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_people, n_entries = len(store), len(listed(store))

    def fails(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("no room for the entry")

    monkeypatch.setattr("fdps.search.sql.store.append", fails)
    with pytest.raises(Exception, match="no room for the entry"):
        store.remove(items=[1])
    monkeypatch.undo()
    assert (len(store), len(listed(store))) == (n_people, n_entries)
    store.remove(items=[1], note=Note("forget", "a wish"))
    last = listed(store)[-1]
    assert (last.action, last.purpose, json.loads(last.details)["items"]) == (
        "forget",
        "a wish",
        [1],
    )


def test_a_search_is_noted_while_another_process_writes(store: SqliteStore) -> None:
    assert store.folder
    index, n_entries = Index(store), len(listed(store))
    held, hold = pipe()
    with running(hold_the_lock, store.folder, hold):
        assert held.recv()
        index.search(people_of(7).embeddings[0])
    with running(add_scenes_of_three, store.folder, 10) as writer:
        n_searches = 1
        while writer.is_alive():
            index.search(people_of(7).embeddings[0])
            n_searches += 1
        assert writer.exitcode == 0
    assert index.unrecorded == ""
    assert len(listed(store)) == n_entries + n_searches
    assert faults_of(store) == []


def test_noting_a_search_does_not_read_the_embeddings_again(store: SqliteStore) -> None:
    query = people_of(7).embeddings
    store.search(query, top=1)
    store.record(Note("search"))
    with store.reading() as connection:
        others = connection.execute("PRAGMA data_version").fetchone()[0]
        assert not store._search.matrix.refresh(connection, (others, store._own_changes))


def test_the_searches_of_others_leave_the_filter_as_it_is(store: SqliteStore) -> None:
    assert store.folder
    filters = Filters(cameras=("hall",))
    before = store.search(people_of(7).embeddings, top=5, filters=filters)
    remembered = store._search._allowed_by[filters]
    with SqliteStore(store.folder) as other:
        Index(other).search(people_of(7).embeddings[0])
        store.search(people_of(7).embeddings, top=5, filters=filters)
        assert store._search._allowed_by[filters] is remembered
        other.add(scene(25), people_of(7))  # at the hall, too
    (after, *_) = store.search(people_of(7).embeddings, top=1000, filters=filters)
    assert scene(25).name in {hit.scene for hit in after}
    assert before


def rewrite(store: SqliteStore, *statements: str) -> None:
    assert store.folder
    with closing(sqlite3.connect(store.folder / "index.sqlite", isolation_level=None)) as other:
        for statement in statements:
            other.execute(statement)


CHANGES = {
    "who": "UPDATE audit SET who = 'nobody' WHERE seq = 3",
    "time": "UPDATE audit SET time = '2020' || substr(time, 5) WHERE seq = 3",
    "purpose": "UPDATE audit SET purpose = 'other' WHERE seq = 3",
    "details": "UPDATE audit SET details = '{}' WHERE seq = 3",
    "hash": "UPDATE audit SET hash = replace(hash, substr(hash, 1, 1), 'x') WHERE seq = 3",
    "type": "UPDATE audit SET details = x'00' WHERE seq = 3",
}


@pytest.mark.parametrize("statement", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_entry_is_named(store: SqliteStore, statement: str) -> None:
    for number in range(4):
        store.record(Note("search", details={"number": number}))
    assert faults_of(store) == []
    rewrite(store, statement)
    assert faults_of(store) == ["audit: entry 3 was changed"]


def test_missing_and_moved_entries_are_named(store: SqliteStore) -> None:
    for number in range(4):
        store.record(Note("search", details={"number": number}))
    rewrite(store, "DELETE FROM audit WHERE seq = 3")
    assert faults_of(store) == ["audit: entry 3 is missing"]
    rewrite(store, "UPDATE audit SET seq = seq - 1 WHERE seq > 3")
    assert faults_of(store) == ["audit: entry 3 does not follow the one before it"]


def test_a_removed_last_entry_is_noticed(store: SqliteStore) -> None:
    store.record(Note("search"))
    with store.reading() as connection:
        (count, _), last = kept_head(connection), entries(connection)[-1]
    rewrite(store, f"DELETE FROM audit WHERE seq = {last.seq}")
    (fault,) = faults_of(store)
    assert fault == f"audit: {count - 1} entries, noted are {count} (1 of the last are missing)"


def rebuild(store: SqliteStore, change: Callable[[list[AuditEntry]], list[AuditEntry]]) -> None:
    """What an attacker does who can write the file and knows how the chain is made."""
    old = change(listed(store))
    rewrite(store, "DELETE FROM audit", "DELETE FROM meta WHERE key GLOB 'audit_*'")
    assert store.folder
    with SqliteStore(store.folder) as other:
        for entry in old:
            other.record(Note(entry.action, entry.purpose, json.loads(entry.details)))


def test_only_a_head_kept_elsewhere_shows_a_new_chain(store: SqliteStore) -> None:
    for number in range(4):
        store.record(Note("search", details={"number": number}))
    with store.reading() as connection:
        _, head = kept_head(connection)
    store.record(Note("search"))
    assert faults_of(store, head) == []
    assert faults_of(store, head[:12]) == []
    rebuild(store, lambda old: [entry for entry in old if entry.seq != 3])
    assert faults_of(store) == []
    (fault,) = faults_of(store, head)
    assert fault.startswith(f"audit: no entry has the expected head {head}")


@pytest.mark.slow
def test_a_change_of_any_of_a_thousand_entries_is_found(store: SqliteStore) -> None:
    assert store.folder
    with store.changing(Note("search")) as connection:
        for number in range(998):
            append(connection, "search", details={"number": number})
    with closing(sqlite3.connect(store.folder / "index.sqlite", isolation_level=None)) as other:
        assert faults(other) == []
        for seq in range(1, 1001):
            other.execute("BEGIN")
            other.execute("UPDATE audit SET details = details || ' ' WHERE seq = ?", (seq,))
            assert faults(other) == [f"audit: entry {seq} was changed"]
            other.execute("ROLLBACK")
        assert faults(other) == []
