"""What only the archive on PostgreSQL has to hold: addresses, commits of a second, scans, files.

What every store promises is in ``test_store.py`` above.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from fake.embedder import ColourEmbedder
from fake.photos import random_people, unit_rows
from fake.postgres import PostgresServer, postgres_server
from fake.processes import add_scenes_of_three_to, pipe, running
from fake.stores import DIM, MODEL, SCENES, Archive, Place, fill, listed, people_of, scene
from fdps.errors import ArchiveError, MissingDataError, ResourceError, UsageError
from fdps.search import Filters, Index, SceneRecord
from fdps.search.audit import Note, entries, faults
from fdps.search.care.compaction import compact
from fdps.search.care.forget import forget
from fdps.search.care.verify import verify
from fdps.search.open_store import create_store, discard, open_store
from fdps.search.postgres import store as postgres_store
from fdps.search.postgres.address import connect, parse_address, postgres_errors
from fdps.search.postgres.store import PostgresStore

QUERIES = unit_rows(np.random.default_rng(3), 4)


@pytest.fixture
def place(postgres: PostgresServer) -> Place:
    return Place(postgres.url())


@pytest.fixture
def archive(place: Place) -> Iterator[Archive]:
    with Archive.filled(place) as archive:
        yield archive


@pytest.fixture
def store(archive: Archive) -> PostgresStore:
    return opened(archive)


def opened(archive: Archive) -> PostgresStore:
    store = archive.open()
    assert isinstance(store, PostgresStore)
    return store


@pytest.mark.parametrize(
    ("uri", "for_libpq", "archive"),
    [
        ("postgresql://host/people", "postgresql://host/people?", "fdps"),
        ("postgres://ann@host:5433/p?archive=event_1", "postgresql://ann@host:5433/p?", "event_1"),
        ("postgresql:///p?host=/run/pg", "postgresql:///p?host=%2Frun%2Fpg", "fdps"),
        (
            "postgresql://a,b:2/p?sslmode=verify-full",
            "postgresql://a,b:2/p?sslmode=verify-full",
            "fdps",
        ),
    ],
)
def test_addresses(uri: str, for_libpq: str, archive: str) -> None:
    address = parse_address(uri)
    assert (address.uri, address.archive, str(address)) == (for_libpq, archive, uri)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("postgresql://host", "is postgresql://HOST/DATABASE"),
        ("postgresql://host/", "is postgresql://HOST/DATABASE"),
        ("postgresql:///people", "is postgresql://HOST/DATABASE"),  # neither host nor socket
        ("postgresql://host/a/b", "is postgresql://HOST/DATABASE"),
        ("postgresql://host/p?archive=My-Event", "named by small letters, digits and _"),
        ("postgresql://host/p?archive=pg_x", "named by small letters, digits and _"),
        ("postgresql://host/p?archiv=x", "unknown in an address: archiv"),
        ("postgresql://host/p?options=-c%20x", "unknown in an address: options"),
        ("postgresql://ann:secret@host/p", "must not hold a password"),
        ("postgresql://ann:secret@a:1,b:2/p", "must not hold a password"),
        ("postgresql://host/p?password=secret", "must not hold a password"),
    ],
)
def test_addresses_that_are_refused(uri: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        open_store(uri)
    assert "secret" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    "place", [Path("postgresql://ann:secret@host/p"), "postgres:/wrong", "postgresql:people"]
)
def test_an_address_without_its_slashes_is_no_folder(place: str | Path) -> None:
    with pytest.raises(UsageError, match="has two slashes") as caught:
        open_store(place)
    assert "secret" not in f"{caught.value} {caught.value.hint}"


def test_other_schemes_are_refused() -> None:
    with pytest.raises(UsageError, match="archives at http:// are not supported"):
        open_store("http://host/x")


def test_a_server_that_is_away_is_named() -> None:
    with pytest.raises(ArchiveError, match=r"no answer from postgresql://127\.0\.0\.1:9/x"):
        open_store("postgresql://127.0.0.1:9/x")


def test_a_database_that_is_not_there_is_named(postgres: PostgresServer) -> None:
    with pytest.raises(ArchiveError, match='"nowhere" does not exist'):
        open_store(postgres.url("nowhere"))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UsageError, match="needs the package psycopg"):
        open_store("postgresql://127.0.0.1:9/x")


def test_what_the_server_refuses_is_said_in_our_words(postgres: PostgresServer) -> None:
    address = parse_address(postgres.url())
    with closing(connect(address)) as database:
        for code, kind, message in (
            ("53100", ResourceError, "indexed before is safe"),
            ("25006", ArchiveError, "cannot use"),
            ("XX001", ArchiveError, "is damaged: oh"),
            ("22012", ArchiveError, "PostgreSQL refuses, at .*: oh"),
        ):
            statement = f"DO $$ BEGIN RAISE SQLSTATE '{code}' USING MESSAGE = 'oh'; END $$"
            with pytest.raises(kind, match=message), postgres_errors(address):
                database.execute(statement)


def test_schemas_of_others_are_left_alone(postgres: PostgresServer) -> None:
    address = f"{postgres.url()}?archive=not_ours"
    with closing(connect(parse_address(address))) as database:
        database.execute("CREATE SCHEMA not_ours")
        database.execute("CREATE TABLE not_ours.things (id int)")
        with pytest.raises(ArchiveError, match="another schema of this name"):
            create_store(address, model_hash=MODEL, dim=DIM)
        with pytest.raises(MissingDataError, match="no archive at"):
            open_store(address)
        assert database.execute("SELECT count(*) FROM not_ours.things").fetchone() == (0,)


def test_an_archive_of_a_later_format_is_refused(store: PostgresStore) -> None:
    with store.changing(Note("test")) as database:
        database.execute("UPDATE meta SET value = '2' WHERE key = 'format'")
    with pytest.raises(ArchiveError, match="format version 2, this fdps reads 1"):
        open_store(store.where)


def test_others_see_scenes_when_a_second_is_over_and_at_the_end(
    archive: Archive, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = archive.open()
    with store.writing():
        store.add(scene(30), people_of(7))
        assert store.find(name=scene(30).name)  # the writer sees its own
        assert not reader.find(name=scene(30).name)
        monkeypatch.setattr(postgres_store, "COMMIT_AFTER_S", 0.0)
        store.add(scene(31), people_of(7))
        assert reader.n_scenes == SCENES + 2
        monkeypatch.undo()
        store.add(scene(32), people_of(7))
        assert reader.n_scenes == SCENES + 2
        reader.record(Note("search"))  # the audit is not locked meanwhile
        store.remove(scenes=[scene(31).name])
        assert reader.n_scenes == SCENES + 2  # one more and one less
        store.add(scene(33), people_of(7))
        with pytest.raises(ArchiveError, match="another scene"):
            store.add(SceneRecord(scene(3).name, "/x", "x", 9, 9), people_of(1))
    assert reader.n_scenes == SCENES + 3  # what failed took nothing else with it
    assert verify(store.where).faults == ()


def test_what_was_added_before_an_interruption_stays(
    archive: Archive, store: PostgresStore
) -> None:
    def interrupted() -> None:
        with store.writing():
            store.add(scene(30), people_of(7))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert archive.open().find(name=scene(30).name) == scene(30)


def test_a_killed_writer_leaves_whole_scenes_and_no_lock(archive: Archive) -> None:
    one_done, telling = pipe()
    with running(add_scenes_of_three_to, archive.where, 20, telling) as writer:
        while one_done.recv() < 19:
            pass
        with pytest.raises(ArchiveError, match=f"written by process {writer.pid} since"):
            archive.open().add(scene(31), people_of(1))
    store, begin = archive.open(), time.monotonic()
    while True:  # the server has to notice that the connection has ended
        try:
            store.add(scene(31), people_of(1))
        except ArchiveError:
            assert time.monotonic() - begin < 30
        else:
            break
    (hits,) = store.search(QUERIES[:1], top=1000, filters=Filters(scenes="new/*"))
    counts = [[hit.scene for hit in hits].count(f"new/{number}") for number in range(20)]
    assert counts == sorted(counts, reverse=True)  # the last ones are missing, if any
    assert set(counts) <= {0, 3}
    assert verify(store.where).faults == ()


@pytest.mark.long
def test_a_killed_server_loses_nothing_that_was_committed() -> None:
    with postgres_server() as server:
        where, store = Place(server.url()).create()
        fill(store)
        (before,) = store.search(QUERIES[:1], top=1000)
        store.add(scene(29), people_of(0))
        server.kill()
        for _ in range(2):
            with pytest.raises(ArchiveError, match="no answer from"):
                store.add(scene(30), people_of(7))
        server.start()
        (after,) = store.search(QUERIES[:1], top=1000)  # over a new connection
        assert listed(after) == listed(before)
        store.add(scene(30), people_of(7))
        assert verify(where).faults == ()
        store.close()


def test_another_archive_of_the_same_name_is_read_anew(place: Place) -> None:
    where, store = place.create()
    fill(store)
    for _ in range(3):
        store.search(QUERIES, top=5)
    discard(where)
    _, other = place.create(where)
    fill(other, range(20, 40))
    (hits,) = store.search(QUERIES[:1], top=1000)
    assert listed(hits) == listed(other.search(QUERIES[:1], top=1000)[0])
    other.close()
    store.close()


@contextmanager
def asking(store: PostgresStore, n_scans: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(postgres_store, "SCANS", n_scans)
        yield
    assert bool(store._search.matrix.n_bytes) == (n_scans == 0)


@pytest.mark.parametrize(
    "filters", [Filters(), Filters(("hall",)), Filters(scenes="*[13].png"), Filters(("nobody",))]
)
def test_the_server_and_the_process_give_the_same(
    archive: Archive, filters: Filters, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, holding = opened(archive), opened(archive)
    for top in (1, 7, 1000):
        with asking(asked, 10**9, monkeypatch):
            by_server = asked.search(QUERIES, top=top, filters=filters)
            spread = asked.spread(QUERIES, n_bins=20, filters=filters)
            both = asked.search_and_spread(QUERIES, top=top, n_bins=20, filters=filters)
            assert [*map(listed, both[0])] == [*map(listed, by_server)]
            assert (both[1] == spread).all()
        with asking(holding, 0, monkeypatch):
            assert [*map(listed, by_server)] == [
                *map(listed, holding.search(QUERIES, top=top, filters=filters))
            ]
            assert (holding.spread(QUERIES, n_bins=20, filters=filters) == spread).all()
            both = holding.search_and_spread(QUERIES, top=top, n_bins=20, filters=filters)
            assert [*map(listed, both[0])] == [*map(listed, by_server)]
            assert (both[1] == spread).all()


def test_ties_beyond_the_margin_are_broken_as_everywhere(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, store = place.create()
    assert isinstance(store, PostgresStore)
    twins = random_people(np.random.default_rng(0), 200)
    twins.embeddings[:] = QUERIES[0]
    store.add(scene(0), twins)
    with asking(store, 10**9, monkeypatch):
        (hits,) = store.search(QUERIES[:1], top=5)
    assert [hit.item for hit in hits] == [1, 2, 3, 4, 5]
    store.close()


def test_a_process_holds_no_more_than_it_may(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FDPS_SEARCH_MEMORY", "0")
    for _ in range(3):
        (hits,) = store.search(QUERIES[:1], top=3)
        assert len(hits) == 3
    assert not store._search.matrix.n_bytes
    with pytest.raises(UsageError, match="are searched in memory") as caught:
        store.search_appearances(QUERIES[:1], top=3)
    assert "FDPS_SEARCH_MEMORY=MEGABYTES" in str(caught.value.hint)
    monkeypatch.setenv("FDPS_SEARCH_MEMORY", "much")
    with pytest.raises(UsageError, match="is a number of megabytes, got 'much'"):
        store.search_appearances(QUERIES[:1], top=3)
    monkeypatch.setenv("FDPS_SEARCH_MEMORY", "1")
    assert len(store.search_appearances(QUERIES[:1], top=3)[0]) == 3


@pytest.mark.long
def test_searches_see_one_state_while_another_writes(archive: Archive) -> None:
    store, stop = archive.open(), threading.Event()

    def write() -> None:
        with open_store(archive.where) as writer:
            for number in range(30, 200):
                writer.add(scene(number), people_of(7))
                if stop.is_set():
                    break

    thread = threading.Thread(target=write)
    thread.start()
    sizes = []
    while thread.is_alive() and len(sizes) < 200:
        (hits,) = store.search(QUERIES[:1], top=10_000)
        sizes.append(len(hits))
    stop.set()
    thread.join()
    assert sizes == sorted(sizes)
    assert {(size - sizes[0]) % 3 for size in sizes} == {0}
    assert len(set(sizes)) > 2, "the reader never met the writer at work"


@pytest.mark.long
@pytest.mark.parametrize("dim", [DIM, 256])  # short vectors would stand in the statistics as well
def test_no_byte_of_the_forgotten_is_in_any_file_of_the_server(
    postgres: PostgresServer, dim: int
) -> None:
    address = f"{postgres.url()}?archive=erasing_{dim}"
    with create_store(address, model_hash=MODEL, dim=dim) as store:
        people = [
            random_people(np.random.default_rng([dim, number]), 3, dim) for number in range(40)
        ]
        with store.writing():
            for number, of_scene in enumerate(people):
                store.add(scene(number), of_scene)
        gone, stays = people[7].embeddings[1].tobytes(), people[7].embeddings[2].tobytes()
        assert postgres.files_with(gone)
        (item,) = (hit.item for hit in store.search(people[7].embeddings[1:2], top=1)[0])
        assert forget(store, [item], reason="art. 17") == 1
        assert store.still_kept == ""
        assert postgres.files_with(gone) == []
        assert postgres.files_with(stays)
        store.add(scene(7), people[7])  # as indexing again does
        assert item not in [hit.item for hit in store.search(people[7].embeddings, top=999)[0]]
        assert len(store) < 3 * 40  # who stands at that very place is passed over as well
        assert postgres.files_with(gone) == []


@pytest.mark.long
def test_what_the_server_still_keeps_is_told(
    store: PostgresStore, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fdps.search.postgres.erasing.WAIT_S", 1)
    with open_store(store.where) as reader, reader.reading() as database:
        database.execute("SELECT count(*) FROM people")
        store.remove(items=[1])
        assert "fdps archive compact" in store.still_kept
    assert compact(store).after > 0
    with postgres_server(wal_recycle="on") as server:
        with closing(Place(server.url()).create()[1]) as other:
            fill(other)
            other.remove(items=[1])
            assert "wal_recycle = off" in other.still_kept
            with closing(connect(parse_address(server.url()))) as database:
                database.execute("CREATE ROLE ann LOGIN")
                database.execute("GRANT CREATE ON DATABASE archives TO ann")
        address = server.url().replace("postgres@", "ann@") + "?archive=of_ann"
        with create_store(address, model_hash=MODEL, dim=DIM) as of_ann:
            fill(of_ann)
            of_ann.remove(items=[1])
            assert "grants pg_checkpoint" in of_ann.still_kept


def test_changes_behind_our_back_are_found(store: PostgresStore) -> None:
    assert verify(store.where).faults == ()
    with store.writing():
        store._database.execute("UPDATE people SET x1 = x1 + 1 WHERE id = 3")
        store._database.execute("UPDATE audit SET purpose = 'none' WHERE seq = 1")
        store._database.execute("ALTER TABLE scenes DROP CONSTRAINT scenes_name_key")
    found = verify(store.where).faults
    assert [fault.partition(":")[0] for fault in found] == ["stamp", "scenes", "audit"]
    with pytest.raises(ArchiveError, match="is damaged"):
        store.people([3])


def test_entries_of_many_are_one_chain(archive: Archive) -> None:
    def note() -> None:
        with open_store(archive.where) as store:
            for _ in range(20):
                store.record(Note("search"))

    threads = [threading.Thread(target=note) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with archive.open().reading() as database:
        assert len(entries(database)) == 1 + 4 * 20
        assert faults(database) == []


def test_two_archives_of_one_database_have_two_writers(place: Place, store: PostgresStore) -> None:
    _, other = place.create()
    with store.writing(), other.writing():
        other.add(scene(0), people_of(3))
        store.add(scene(40), people_of(3))
    other.close()


def test_an_index_is_created_and_opened_by_its_address(place: Place) -> None:
    where = place.new()
    with Index.create(where, ColourEmbedder()) as index:
        assert (index.folder, len(index)) == (None, 0)
    with Index.open(where, ColourEmbedder()) as index:
        assert index.info.format_version == 1
    with pytest.raises(ArchiveError, match="was built with"):
        Index.open(where, ColourEmbedder("another"))
