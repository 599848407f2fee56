"""A full disk or a read-only folder, for every verb that writes: told clearly, nothing changed."""

import os
import resource
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from fake.embedder import ColourEmbedder
from fake.photos import random_people, write_photos
from fake.stores import DIM, MODEL, fill, listed, people_of, scene
from fdps.errors import ArchiveError, FdpsError, ResourceError
from fdps.search import Index, SqliteStore
from fdps.search.care.compaction import compact
from fdps.search.care.forget import forget
from fdps.search.care.retention import Retention, apply_retention, set_retention
from fdps.search.care.verify import verify
from fdps.search.ingest import skipped
from fdps.search.sqlite.schema import writer_lock

VERBS: dict[str, Callable[[SqliteStore], object]] = {
    "index": lambda store: store.add(scene(30), random_people(np.random.default_rng(0), 500)),
    "remove": lambda store: store.remove(scenes=[scene(7).name]),
    "forget": lambda store: forget(store, [1]),
    "compact": compact,
    "keep": lambda store: set_retention(store, Retention("30d")),
    "apply": lambda store: apply_retention(store, Retention("1h"), now=1e11),
}
every_verb = pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS.keys())


def everything(store: SqliteStore) -> tuple[object, ...]:
    (hits,) = store.search(np.eye(1, DIM, dtype=np.float32), top=1000)
    return (listed(hits), store.n_scenes, store.note("retention"))


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """As on a full disk: whoever would write more is refused."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("room", [2000, 8300], ids=["for nothing", "for the lock"])
@every_verb
def test_a_full_disk_is_told_and_nothing_is_lost(
    verb: Callable[[SqliteStore], object], room: int, tmp_path: Path
) -> None:
    folder = tmp_path / "event.fdps"
    with SqliteStore.create(folder, model_hash=MODEL, dim=DIM) as store:
        fill(store)
    with SqliteStore(folder) as store:
        before = everything(store)
        with no_file_above(room), pytest.raises(ResourceError, match="cannot write"):
            verb(store)
        assert everything(store) == before
    with SqliteStore(folder) as store:
        assert everything(store) == before
        verb(store)  # there is room again
    assert verify(folder).faults == ()


@pytest.mark.parametrize("room", [0, 400, 2000, 8300, 20_000, 40_000])
@pytest.mark.parametrize("is_there", [False, True], ids=["a new folder", "an empty folder"])
def test_an_archive_that_cannot_be_begun_leaves_nothing(
    room: int, is_there: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "of/the day/event.fdps"
    if is_there:
        folder.mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    with no_file_above(room), pytest.raises(ResourceError, match="cannot write"):
        SqliteStore.create(folder, model_hash=MODEL, dim=DIM)
    assert sorted(tmp_path.rglob("*")) == before
    with SqliteStore.create(folder, model_hash=MODEL, dim=DIM) as store:  # there is room again
        fill(store)
    assert verify(folder).faults == ()


def test_what_another_process_begins_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "event.fdps"
    folder.mkdir()
    with writer_lock(folder):
        (folder / "index.sqlite.part").write_bytes(b"half")
        with pytest.raises(ArchiveError, match="is being written by process"):
            SqliteStore.create(folder, model_hash=MODEL, dim=DIM)
        assert {path.name for path in folder.iterdir()} >= {"index.sqlite.part", "writer.lock"}


@pytest.mark.long
def test_the_first_error_of_an_ingest_reaches_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills up in the middle, so the list of skipped files cannot be written either."""
    write_photos(tmp_path / "photos", 6)
    (tmp_path / "photos/003.png").write_bytes(b"torn")
    failed: list[str] = []

    def fails(path: Path, *_: object) -> None:
        failed.append(path.name)
        raise OSError(28, "No space left on device")

    def fill_up(done: int, total: int) -> None:
        if done == 4:
            raise ResourceError("the disk is full")

    with Index.create(tmp_path / "event.fdps", ColourEmbedder()) as index:
        with monkeypatch.context() as patched:
            patched.setattr(skipped, "write_file", fails)
            with pytest.raises(ResourceError, match="the disk is full") as caught:
                index.add(tmp_path / "photos", progress=fill_up)
            assert (failed, caught.value.__cause__) == (["skipped.csv"], None)
            with pytest.raises(ResourceError, match=r"cannot write .*skipped\.csv: No space"):
                index.add(tmp_path / "photos")  # nothing else went wrong, so this is told
        assert index.add(tmp_path / "photos").n_known == 5


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ArchiveError("first")])
def test_notes_that_fail_hide_no_interruption(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_photos(tmp_path / "photos", 2)
    (tmp_path / "event.fdps/skipped.csv").parent.mkdir()

    def stop(done: int, total: int) -> None:
        (tmp_path / "event.fdps/skipped.csv").mkdir()
        raise error

    with Index.create(tmp_path / "event.fdps", ColourEmbedder()) as index:
        with pytest.raises(type(error)) as caught:
            index.add(tmp_path / "photos", progress=stop)
        assert caught.value is error


@contextmanager
def without_privileges() -> Iterator[None]:
    """Permissions do not bind the superuser, so be nobody for a while."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.fixture(scope="module")
def read_only() -> Iterator[Path]:
    # Not tmp_path: its parents are closed to others.
    with tempfile.TemporaryDirectory(dir="/tmp") as parent:
        Path(parent).chmod(0o755)
        folder = Path(parent, "event.fdps")
        with SqliteStore.create(folder, model_hash=MODEL, dim=DIM) as store:
            fill(store)
        for path in folder.iterdir():
            path.chmod(0o444)
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)


@every_verb
def test_a_read_only_archive_is_told_and_not_changed(
    verb: Callable[[SqliteStore], object], read_only: Path
) -> None:
    before = {path.name: path.read_bytes() for path in read_only.iterdir()}
    with without_privileges(), SqliteStore(read_only) as store:
        with pytest.raises(ArchiveError, match="cannot use") as caught:
            verb(store)
        assert isinstance(caught.value, FdpsError)
        assert caught.value.hint
        assert everything(store)
    assert {path.name: path.read_bytes() for path in read_only.iterdir()} == before


def test_a_search_of_a_read_only_archive_says_that_it_was_not_noted(read_only: Path) -> None:
    with without_privileges(), Index.open(read_only) as index:
        (hit, *_) = index.search(people_of(7).embeddings[0], 1)
        assert hit.scene == scene(7).name
        assert "cannot use" in index.unrecorded
    assert verify(read_only).faults == ()


def test_a_read_only_archive_can_be_verified(read_only: Path) -> None:
    with without_privileges():
        assert verify(read_only).faults == ()
