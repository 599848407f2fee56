"""An archive that moves house takes everything along, and comes back as it was."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fake.photos import unit_rows
from fake.postgres import PostgresServer
from fake.stores import DIM, MODEL, SCENES, Archive, Place, fill, listed, people_of, scene
from fdps.errors import ArchiveError, MissingDataError
from fdps.search.audit import Note
from fdps.search.care import copying
from fdps.search.care.copying import copy_archive
from fdps.search.care.forget import forget
from fdps.search.care.verify import verify
from fdps.search.open_store import create_store, open_store, unfinished
from fdps.search.sql.store import SqlStore

QUERY = unit_rows(np.random.default_rng(3), 1)
TABLES = {
    "scenes": "name, path, sha256, camera, time, frame, offset_s, instant, added, seal",
    "people": "id, scene_id, x1, y1, x2, y2, score, embedding",
    "videos": "sha256, sampling",
    "tracks": "item, track",
    "forgotten": "id, sha256, frame, x1, y1, x2, y2, seal",
    "audit": "seq, time, who, action, purpose, details, previous, hash",
}


@pytest.fixture
def server(postgres: PostgresServer) -> Place:
    return Place(postgres.url())


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """A folder with all that an archive can hold, and numbers that are given no more."""
    folder = tmp_path / "event.fdps"
    with create_store(folder, model_hash=MODEL, dim=DIM, model="runs/x") as store:
        fill(store)
        clip = replace(scene(30), path="/clip", sha256="c" * 64)
        with store.writing():
            for frame in range(6):
                name, moment = f"clip@{frame}", frame / 4
                store.add(replace(clip, name=name, frame=frame, offset_s=moment), people_of(7))
            store.link(clip.sha256)
            store.finish(clip.sha256, "0.25s")
        store.write_note("retention", '{"keep": "9w", "by": "added"}')
        forget(store, [3], reason="art. 17")
        store.add(scene(40), people_of(7))
        store.remove(scenes=[scene(40).name])  # the highest numbers are not given again
    return folder


def contents(store: SqlStore) -> dict[str, object]:
    with store.reading() as database:
        rows: dict[str, object] = {
            table: database.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2").fetchall()
            for table, columns in TABLES.items()
        }
        return rows | {"highest": database.highest_item()}


def without_audit(found: dict[str, object]) -> dict[str, object]:
    return {table: rows for table, rows in found.items() if table != "audit"}


def test_to_the_server_and_back(original: Path, server: Place, tmp_path: Path) -> None:
    there, back = server.new(), tmp_path / "back.fdps"
    seen: list[tuple[int, int]] = []
    copied = copy_archive(original, there, progress=lambda done, total: seen.append((done, total)))
    assert (copied.n_scenes, copied.n_before) == (SCENES + 6, 0)
    assert seen[-1] == (SCENES + 6, SCENES + 6)
    copy_archive(there, back)
    with open_store(original) as one, open_store(there) as two, open_store(back) as three:
        first, second, third = map(contents, (one, two, three))
        assert without_audit(first) == without_audit(second) == without_audit(third)
        n_entries = len(first["audit"])  # type: ignore[arg-type]
        assert second["audit"][:n_entries] == first["audit"]  # type: ignore[index]
        assert [*first["tracks"]]  # type: ignore[misc]
        answers = [listed(store.search(QUERY, top=1000)[0]) for store in (one, two, three)]
        assert answers[0] == answers[1] == answers[2]
        for store in (two, three):
            assert store.info.created == one.info.created
            assert store.note("retention") == one.note("retention")
            store.add(scene(41), people_of(1))
            assert max(p.item for p in store.people_in(scene(41).name)) == first["highest"] + 1
            assert verify(store.where).faults == ()
            store.add(replace(scene(2), camera="new"), people_of(2))  # looks at the forgotten
            assert len(store.people_in(scene(2).name)) == len(one.people_in(scene(2).name))


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "SCENES_AT_ONCE", 4)


def interrupted(n_steps: int) -> Callable[[int, int], None]:
    steps: Iterator[int] = iter(range(n_steps))

    def tell(done: int, total: int) -> None:
        if next(steps, None) is None:
            raise KeyboardInterrupt

    return tell


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("to_a_server", [True, False])
def test_it_goes_on_after_interruptions(
    original: Path, server: Place, tmp_path: Path, to_a_server: bool
) -> None:
    there = server.new() if to_a_server else tmp_path / "copy.fdps"
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            copy_archive(original, there, progress=interrupted(2))
        with pytest.raises(MissingDataError):
            open_store(there)
    copied = copy_archive(original, there)
    assert copied.n_before > 8
    with open_store(original) as one, open_store(there) as two:
        assert without_audit(contents(one)) == without_audit(contents(two))


@pytest.mark.usefixtures("small_steps")
def test_it_begins_anew_when_somebody_was_removed_meanwhile(original: Path, server: Place) -> None:
    there = server.new()
    with pytest.raises(KeyboardInterrupt):
        copy_archive(original, there, progress=interrupted(2))
    with open_store(original) as store:
        store.remove(scenes=[scene(1).name])
    assert copy_archive(original, there).n_before == 0
    with open_store(there) as store:
        assert store.find(name=scene(1).name) is None


def test_a_place_that_is_taken_is_refused(original: Path, server: Place) -> None:
    with Archive.filled(server) as archive, pytest.raises(ArchiveError, match="an archive at"):
        copy_archive(original, archive.where)


def test_no_archive_no_copy(server: Place, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError):
        copy_archive(tmp_path / "none.fdps", server.new())


def test_nobody_writes_meanwhile(original: Path, server: Place) -> None:
    with (
        open_store(original) as store,
        store.writing(),
        pytest.raises(ArchiveError, match="is being written by"),
    ):
        copy_archive(original, server.new())


@pytest.mark.parametrize("table", ["people", "audit"])
def test_damage_does_not_travel(original: Path, server: Place, table: str) -> None:
    with open_store(original) as store, store.changing(Note("test")) as database:
        column = {"people": "score", "audit": "purpose"}[table]
        database.execute(f"UPDATE {table} SET {column} = '0.5' WHERE {column} <> '0.5'")
    there = server.new()
    with pytest.raises(ArchiveError, match="not what"):
        copy_archive(original, there)
    with pytest.raises(MissingDataError):
        open_store(there)
    assert isinstance(unfinished(there), str)
