"""What only the archive on Milvus has to hold: commits without transactions, leases, addresses."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake.embedder import ColourEmbedder
from fake.network import write_network
from fake.photos import unit_rows, write_photos
from fake.processes import add_scenes_to_milvus, open_milvus, pipe, running
from fake.stores import DIM, MODEL, SCENES, Archive, Place, fill, listed, people_of, scene
from fdps.cli.main import main
from fdps.errors import ArchiveError, MissingDataError, ResourceError, UsageError
from fdps.search import Filters, Index, Store
from fdps.search.milvus import collections as milvus_collections
from fdps.search.milvus import journal as milvus_journal
from fdps.search.milvus import search as milvus_search
from fdps.search.milvus.address import connect, disconnect, milvus_errors, parse_address
from fdps.search.milvus.store import MilvusStore
from fdps.search.open_store import create_store, open_store

QUERY = unit_rows(np.random.default_rng(3), 1)


@pytest.fixture
def archive(milvus_server: str) -> Iterator[Archive]:
    with Archive.filled(Place(milvus_server)) as archive:
        yield archive


@pytest.fixture
def store(archive: Archive) -> MilvusStore:
    store = archive.open()
    assert isinstance(store, MilvusStore)
    return store


def n_rows(store: MilvusStore) -> int:
    """People that Milvus holds, whether they count or not."""
    rows = store._client.query(
        store._address.collection, filter="item >= 0", output_fields=["count(*)"]
    )
    return int(rows[0]["count(*)"])


def contents(store: Store) -> list[tuple[object, ...]]:
    (hits,) = store.search(QUERY, top=1000)
    assert len(hits) == len(store)
    return listed(hits)


@pytest.mark.parametrize(
    ("uri", "client", "collection"),
    [
        ("milvus://host:19530/event", "http://host:19530", "event"),
        ("milvus://host:19530", "http://host:19530", "people"),
        ("milvus://10.0.0.7:1/a_1?tls=1", "https://10.0.0.7:1", "a_1"),
        ("milvus:///data/event.db", "/data/event.db", "people"),
        ("milvus:///my%20data/event.db?collection=x", "/my data/event.db", "x"),
    ],
)
def test_addresses(uri: str, client: str, collection: str) -> None:
    address = parse_address(uri)
    assert (address.uri, address.collection, str(address)) == (client, collection, uri)
    assert address.is_file == client.startswith("/")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("milvus://host/event", "is milvus://HOST:PORT/COLLECTION"),  # no port
        ("milvus://host:port/event", "is milvus://HOST:PORT/COLLECTION"),
        ("milvus:///data/event", "is milvus://HOST:PORT/COLLECTION"),  # neither file nor server
        ("milvus://host:1/my-event", "named by letters, digits and _"),
        ("milvus://host:1/a/b", "named by letters, digits and _"),
        ("milvus://host:1/a?lts=1", "unknown in an address: lts"),
        ("milvus://ann:secret@host:1/a", "must not hold a password"),
    ],
)
def test_addresses_that_are_refused(uri: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        open_store(uri)
    assert "secret" not in f"{caught.value} {caught.value.hint}"


def test_other_schemes_are_refused() -> None:
    with pytest.raises(UsageError, match="archives at http:// are not supported"):
        open_store("http://host/x")


def test_a_server_that_is_away_is_named() -> None:
    with pytest.raises(ArchiveError, match=r"no answer from milvus://127\.0\.0\.1:9/x"):
        open_store("milvus://127.0.0.1:9/x")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(UsageError, match="needs the package pymilvus"):
        open_store("milvus://127.0.0.1:9/x")


def test_what_milvus_refuses_is_said_in_our_words() -> None:
    exceptions = pytest.importorskip("pymilvus.exceptions")
    address = parse_address("milvus://host:1/x")
    for text, kind, message in (
        ("quota exceeded[reason=memory quota exhausted]", ResourceError, "indexed before is safe"),
        ("a reason", ArchiveError, "Milvus refuses, at milvus://host:1/x: a reason"),
    ):
        with pytest.raises(kind, match=message), milvus_errors(address):
            raise exceptions.MilvusException(9, text)


def test_collections_of_others_are_left_alone(milvus_server: str) -> None:
    address = parse_address(f"{milvus_server}/not_ours")
    client = connect(address)
    client.create_collection("not_ours", dimension=3)
    with pytest.raises(ArchiveError, match="exists and is not an archive"):
        create_store(address.given, model_hash=MODEL, dim=DIM)
    assert client.has_collection("not_ours")
    with pytest.raises(MissingDataError, match="no archive at"):
        open_store(address.given)
    disconnect(client, address)


def _interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_an_interrupted_creation_is_begun_again(
    milvus_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = f"{milvus_server}/interrupted"
    write = milvus_journal.Journal.write
    monkeypatch.setattr(milvus_journal.Journal, "write", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        create_store(where, model_hash=MODEL, dim=DIM)
    monkeypatch.setattr(milvus_journal.Journal, "write", write)
    with pytest.raises(MissingDataError, match="no archive at"):
        open_store(where)
    create_store(where, model_hash=MODEL, dim=DIM).close()
    open_store(where).close()


def test_an_archive_that_was_deleted_is_missed(store: MilvusStore) -> None:
    store._client.delete(store._address.records, filter='kind == "state"')
    with pytest.raises(MissingDataError, match="no archive at"):
        store.search(QUERY, top=1)


def test_an_archive_of_a_later_format_is_refused(store: MilvusStore, archive: Archive) -> None:
    records = store._address.records
    (row,) = store._client.query(records, filter='kind == "stamp"', output_fields=["*"])
    later = row["payload"].replace('"format_version": 1', '"format_version": 2')
    store._client.upsert(records, [{**row, "payload": later}])
    with pytest.raises(ArchiveError, match="format version 2, this fdps reads 1"):
        archive.open()


class _Interrupted:
    """A client that stops before one of its writes, and for ever after, as a killed process."""

    def __init__(self, client: Any, n_writes: int) -> None:
        self._client, self._left = client, n_writes

    def __getattr__(self, name: str) -> Any:
        if name in ("insert", "delete"):
            self._left -= 1
            if self._left < 0:
                raise KeyboardInterrupt
        return getattr(self._client, name)


CHANGES: dict[str, Callable[[Store], object]] = {
    "add": lambda store: store.add(scene(SCENES), people_of(7)),
    "replace": lambda store: store.add(replace(scene(7), sha256="f" * 64), people_of(2)),
    "remove scenes": lambda store: store.remove(scenes=[scene(7).name, scene(11).name]),
    "remove people": lambda store: store.remove(items=range(1, 8)),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_stopped_before_any_of_its_writes(
    milvus_server: str, change: Callable[[Store], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_items(store: Store) -> list[tuple[object, ...]]:
        return [row[:-1] for row in contents(store)]

    now, place, numbers = time.time(), Place(milvus_server), range(6, 12)
    monkeypatch.setattr(milvus_journal.time, "time", lambda: now)
    with Archive.filled(place, numbers) as undisturbed:
        store = undisturbed.open()
        change(store)
        after = without_items(store)
    n_stops = 0
    for n_writes in range(20):
        with Archive.filled(place, numbers) as archive:
            store, victim = archive.open(), archive.open()
            assert isinstance(store, MilvusStore)
            assert isinstance(victim, MilvusStore)
            before = without_items(store)
            client = victim._client
            victim._client = victim._journal._client = _Interrupted(client, n_writes)
            try:
                change(victim)
            except KeyboardInterrupt:
                n_stops += 1
            else:
                break
            seen = without_items(store)
            assert seen in (before, after), "half of it is visible"
            now += milvus_journal.LEASE_S + 1  # the claim of the victim expires
            store.add(scene(40), people_of(0))  # the next writer tidies up
            assert without_items(store) == seen
            assert n_rows(store) == len(store)
            if seen == before:
                change(store)
            assert without_items(store) == after
    assert 6 < n_stops < 20


def test_killed_at_any_moment_scenes_are_whole(
    milvus_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, store = Place(milvus_server).create()
    assert isinstance(store, MilvusStore)
    monkeypatch.setattr(milvus_journal, "LEASE_S", 0.5)
    rng, sizes = random.Random(0), []
    for _ in range(4):
        told, tell = pipe()
        with running(add_scenes_to_milvus, where, 100, 30.0, tell) as writer:
            n_awaited = rng.randint(2, 8)
            while n_awaited and writer.is_alive():
                n_awaited -= told.poll(0.01) and bool(told.recv() >= 0)
                (hits,) = store.search(QUERY, top=1000)
                scenes = [hit.scene for hit in hits]
                assert {scenes.count(name) for name in scenes} <= {3}, "half of a scene"
                sizes.append(len(scenes))
            time.sleep(rng.uniform(0, 0.02))
        store._client.delete(store._address.records, filter='kind == "claim"')  # 30 s have passed
        store.add(replace(scene(0), sha256=str(rng.random())), people_of(0))
        assert n_rows(store) == len(store) == len(store.search(QUERY, top=1000)[0])
    assert len(set(sizes)) > 2, "the reader never met the writer at work"
    store.close()


def test_a_writer_that_stood_still_notices(
    archive: Archive, store: MilvusStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = archive.open()
    now = time.time()
    monkeypatch.setattr(milvus_journal.time, "time", lambda: now)
    with store.writing():
        store.add(scene(30), people_of(1))
        now += milvus_journal.LEASE_S + 1
        with other.writing():  # its claim has expired
            other.add(scene(31), people_of(1))
            with pytest.raises(ArchiveError, match="written by process"):
                store.add(scene(32), people_of(1))
        store.add(scene(33), people_of(1))  # the other has finished
        assert [row[0] for row in contents(store)].count(scene(31).name) == 1
    with store.writing():
        state = store._cleaned()
        now += milvus_journal.LEASE_S + 1
        with pytest.raises(ArchiveError, match="stood still for over 30 s"):
            store._commit(state)


def test_the_first_error_of_a_writer_is_the_one_that_is_told(
    store: MilvusStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that went away fails again when the writer lets go of it."""

    def fails(_: object) -> None:
        raise ArchiveError("no answer")

    first = KeyboardInterrupt()
    with monkeypatch.context() as patched:
        patched.setattr(milvus_journal.Journal, "release", fails)
        with pytest.raises(KeyboardInterrupt) as caught, store.writing():
            raise first
        assert caught.value is first
        with pytest.raises(ArchiveError, match="no answer"), store.writing():
            pass  # nothing else went wrong
    with store.writing():
        pass


def test_a_search_begins_anew_when_somebody_was_removed(
    archive: Archive, store: MilvusStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = archive.open()
    names = iter([scene(7).name, scene(11).name])
    search_everybody = milvus_search.search_everybody

    def slow_search(*arguments: Any) -> Any:
        hits = search_everybody(*arguments)
        for name in names:
            other.remove(scenes=[name])
            break
        return hits

    monkeypatch.setattr("fdps.search.milvus.store.search_everybody", slow_search)
    found = {hit.scene for hit in store.search(QUERY, top=1000)[0]}
    assert not found & {scene(7).name, scene(11).name}
    names = iter([scene(number).name for number in (13, 14, 15)])
    monkeypatch.setattr("fdps.search.milvus.store.MAX_SEARCHES", 2)
    with pytest.raises(ArchiveError, match=r"removed from .* during each of 2 searches"):
        store.search(QUERY, top=1000)


@pytest.mark.parametrize("deepest", [4, 16])
@pytest.mark.parametrize("top", [1, 3, 10, 1000])
def test_however_deep_the_search_has_to_go(
    store: MilvusStore, monkeypatch: pytest.MonkeyPatch, deepest: int, top: int
) -> None:
    queries = unit_rows(np.random.default_rng(2), 3)
    everywhere, filtered = Filters(), Filters(scenes="photos/0[01][3-7]*")
    expected = [store.search(queries, top=top, filters=f) for f in (everywhere, filtered)]
    monkeypatch.setattr(milvus_search, "DEEPEST", deepest)
    monkeypatch.setattr(milvus_search, "MARGIN", 0)
    monkeypatch.setattr(milvus_search, "PAGE", 5)
    monkeypatch.setattr(milvus_search, "ANSWER_BYTES", 3000)
    for filters, hits in zip((everywhere, filtered), expected, strict=True):
        found = store.search(queries, top=top, filters=filters)
        assert [listed(part) for part in found] == [listed(part) for part in hits]


def test_many_people_in_one_scene(store: MilvusStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fdps.search.milvus.store.MESSAGE_BYTES", 2500)  # two people an insertion
    monkeypatch.setattr("fdps.search.milvus.store.PAGE", 2)  # names or items a removal
    n_before = len(store)
    people = people_of(3)
    crowd = replace(
        people,
        boxes=people.boxes.repeat(5, 0),
        scores=people.scores.repeat(5),
        embeddings=people.embeddings.repeat(5, 0),
    )
    store.add(scene(50), crowd)
    assert len(contents(store)) == n_before + 15
    items = [hit.item for hit in store.search(QUERY, top=1000)[0] if hit.scene == scene(50).name]
    assert store.remove(items=items[:7], scenes=[scene(n).name for n in (3, 7, 11)]) == 7 + 9
    assert len(contents(store)) == n_before + 15 - 16


def test_a_note_that_was_not_finished_leaves_the_old_one(
    store: MilvusStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus_collections, "PART", 3)
    store.write_note("key", "an old text")
    client = store._client
    store._client = _Interrupted(client, 2)
    with pytest.raises(KeyboardInterrupt):
        store.write_note("key", "a new text")
    store._client = client
    assert store.note("key") == "an old text"
    store.write_note("key", "a newer text")
    assert store.note("key") == "a newer text"


def test_it_knows_no_appearances(store: MilvusStore) -> None:
    with pytest.raises(UsageError, match="cannot search appearances"):
        Index(store).search_appearances(QUERY[0])
    (hits,) = store.search(QUERY, top=1)
    assert [person.item for person in Index(store).track(hits[0].item)] == [hits[0].item]


def test_an_embedded_archive_is_a_file_of_one_process(tmp_path: Path) -> None:
    pytest.importorskip("milvus_lite")
    where = f"milvus://{tmp_path}/event.db?collection=party"
    with pytest.raises(MissingDataError, match="no archive at"):
        open_store(where)
    store = create_store(where, model_hash=MODEL, dim=DIM)
    fill(store)
    before = contents(store)
    second = open_store(where)
    assert contents(second) == before
    second.close()
    told, tell = pipe()
    with running(open_milvus, where, tell):
        assert told.recv().startswith("ArchiveError: cannot open milvus:///")
    store.close()  # the last of this process
    with running(open_milvus, where, tell):
        assert told.recv() == "opened"
    again = open_store(where)
    assert contents(again) == before
    again.close()


def test_removed_embeddings_are_in_no_embedded_file(tmp_path: Path) -> None:
    pytest.importorskip("milvus_lite")
    erased = [row.tobytes() for row in people_of(7).embeddings]

    def files_with_them() -> list[Path]:
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        return [path for path in files if any(row in path.read_bytes() for row in erased)]

    store = create_store(f"milvus://{tmp_path}/event.db", model_hash=MODEL, dim=DIM)
    fill(store)
    assert files_with_them()
    store.remove(scenes=[scene(7).name])
    assert not files_with_them()
    store.close()


def test_pictures_are_indexed_and_found(milvus_server: str, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 6)
    where, folder = f"{milvus_server}/photos", tmp_path / "event.fdps"
    embedder = ColourEmbedder()
    with Index.create(where, embedder) as index, Index.create(folder, embedder) as local:
        assert index.add(tmp_path / "photos") == local.add(tmp_path / "photos")
        assert index.add(tmp_path / "photos").n_known == 6
        for query in unit_rows(np.random.default_rng(0), 3):
            assert [(h.scene, h.similarity) for h in index.search(query)] == [
                (h.scene, h.similarity) for h in local.search(query)
            ]
    with pytest.raises(ArchiveError, match="similarities between two models mean nothing"):
        Index.open(where, ColourEmbedder("other"))


def test_the_command_line_takes_an_address(
    milvus_server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = write_network(tmp_path / "weights.safetensors", n_people=2)
    write_photos(tmp_path / "photos", 2)
    where = f"{milvus_server}/command_line"
    command = ["index", str(tmp_path / "photos"), "-o", where, "--quiet"]
    assert main([*command, "--model", str(network)]) == 0
    assert f"Archive {where}: 4 people in 2 pictures" in capsys.readouterr().out
    picture = str(tmp_path / "photos/000.png")
    assert main(["search", where, "--query", picture, "--person", "1", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["n_people"], len(figures["hits"])) == (4, 4)
    assert main(["search", "milvus://127.0.0.1:9/x", "--query", picture]) == 6
    assert "no answer from milvus://127.0.0.1:9/x" in capsys.readouterr().err


def test_a_search_needs_neither_torch_nor_pymilvus() -> None:
    code = "import sys, fdps.search; sys.exit(bool({'torch', 'pymilvus'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
