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

from fake.photos import random_people
from fake.stores import DIM, MODEL, fill, listed, people_of, scene
from fdps.errors import ArchiveError, FdpsError, ResourceError
from fdps.search import Index, SqliteStore
from fdps.search.care.compaction import compact
from fdps.search.care.forget import forget
from fdps.search.care.retention import Retention, apply_retention, set_retention
from fdps.search.care.verify import verify

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
