import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from fdps.durable import remove_folder, sync_folder, write_file, write_folder, written_whole

CALLS = ("open", "write", "fsync", "close", "replace", "rename", "mkdir")
CLEANING = ("unlink", "rmdir", "scandir", "lstat")
OLD = {"a.bin": b"old", "b.bin": bytes(range(256)) * 40}
NEW = {"a.bin": b"the new one", "c.bin": b""}


class Killed(BaseException):
    """The process is gone: nothing that it would clean up happens."""


class Disk:
    """Count the calls to the operating system and let one fail.

    Args:
        patch: Puts the real calls back.
        at: The call that fails, from 0.
        error: What it raises. After :class:`Killed` every later call fails as well.
    """

    def __init__(self, patch: pytest.MonkeyPatch, at: int, error: BaseException) -> None:
        self.at, self.error, self.is_killed = at, error, isinstance(error, Killed)
        self.n, self.moves = 0, list[tuple[str, str]]()
        self._written = set[object]()
        for name in (*CALLS, *CLEANING) if self.is_killed else CALLS:
            patch.setattr(os, name, self.watched(name, getattr(os, name)))

    def watched(self, name: str, call: Callable[..., object]) -> Callable[..., object]:
        """A call that counts, and that may be the one that fails."""

        def counted(*arguments: object, **options: object) -> object:
            if name == "close" and arguments[0] not in self._written:
                return call(*arguments)  # of a folder, which never fails
            number, self.n = self.n, self.n + 1
            if number == self.at or (self.is_killed and number > self.at):
                if name == "close":
                    call(*arguments)  # the system closes a file even if it reports an error
                    self._written.remove(arguments[0])
                raise self.error
            result = call(*arguments, **options)
            self._note(name, arguments, result)
            return result

        return counted

    def _note(self, name: str, arguments: tuple[object, ...], result: object) -> None:
        if name in ("rename", "replace"):
            source, target = (Path(str(path)).name for path in arguments[:2])
            self.moves.append((source, target))
        elif name == "open" and arguments[1] != os.O_RDONLY:
            self._written.add(result)
        elif name == "close":
            self._written.remove(arguments[0])


def each_failure(
    monkeypatch: pytest.MonkeyPatch,
    error: Callable[[], BaseException],
    prepare: Callable[[], object],
    task: Callable[[], object],
) -> Iterator[tuple[Disk, BaseException | None]]:
    """Do a task again and again with another call that fails, until none is left.

    Yields:
        The disk, and what the task raised.
    """
    for at in count():
        prepare()
        raised: BaseException | None = None
        with monkeypatch.context() as patch:
            disk = Disk(patch, at, error())
            try:
                task()
            except (OSError, Killed) as caught:
                raised = caught
        if disk.n <= at:
            assert at > 0
            assert raised is None
            return
        yield disk, raised


def no_space() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def broken_disk() -> OSError:
    return OSError(errno.EIO, os.strerror(errno.EIO))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("given", [b"", b"x", bytes(range(256)) * 1000])
def test_a_file_comes_back_as_it_was_written(tmp_path: Path, given: bytes) -> None:
    for _ in range(2):
        write_file(tmp_path / "f", given)
        assert content(tmp_path) == {"f": given}


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    write_file(tmp_path / "f", b"a long old content")
    with (tmp_path / "f").open("rb") as reader:
        write_file(tmp_path / "f", b"new")
        assert reader.read() == b"a long old content"  # who reads is not disturbed
    assert content(tmp_path) == {"f": b"new"}


def test_a_folder_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write_folder(tmp_path / "deep" / "er" / "made", OLD)
    assert content(tmp_path / "deep" / "er" / "made") == OLD
    write_folder(tmp_path / "empty", {})
    assert content(tmp_path / "empty") == {}


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    write_folder(tmp_path / "made", OLD)
    write_folder(tmp_path / "made", NEW)
    assert content(tmp_path / "made") == NEW
    assert names(tmp_path) == ["made"]


def test_a_folder_is_removed(tmp_path: Path) -> None:
    write_folder(tmp_path / "made", OLD)
    write_folder(tmp_path / "other", NEW)
    remove_folder(tmp_path / "made")
    assert names(tmp_path) == ["other"]
    with pytest.raises(FileNotFoundError):
        remove_folder(tmp_path / "made")


def test_what_a_killed_session_left_is_no_hindrance(tmp_path: Path) -> None:
    for left in (".made.part", ".made.old"):
        write_folder(tmp_path / left, {"a.bin": b"half", "z.bin": b"of another time"})
    (tmp_path / "f.part").write_bytes(b"longer than what will be written")
    for given in (OLD, NEW):
        write_folder(tmp_path / "made", given)
        assert content(tmp_path / "made") == given
    write_file(tmp_path / "f", b"short")
    assert (tmp_path / "f").read_bytes() == b"short"
    assert names(tmp_path) == ["f", "made"]


@pytest.mark.parametrize("error", [no_space, broken_disk])
def test_a_file_is_old_or_new_whichever_call_fails(
    error: Callable[[], OSError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    for disk, raised in each_failure(
        monkeypatch,
        error,
        lambda: path.write_bytes(b"old"),
        lambda: write_file(path, b"the new one"),
    ):
        assert raised is disk.error
        assert isinstance(raised, OSError)
        assert raised.filename == str(path)
        assert path.read_bytes() == (b"the new one" if disk.moves else b"old")
        assert names(tmp_path) == ["f"]
    assert content(tmp_path) == {"f": b"the new one"}


def test_a_file_that_others_write_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "f"
    for given in (b"first", b"second"):
        with written_whole(path) as aside:
            aside.write_bytes(given)
            assert not path.exists() or path.read_bytes() == b"first"
        assert content(tmp_path) == {"f": given}


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyboardInterrupt(), no_space()])
def test_a_body_that_fails_leaves_the_old_file_and_no_other(
    error: BaseException, tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(b"old")

    def write_half() -> None:
        with written_whole(tmp_path / "f") as aside:
            aside.write_bytes(b"half")
            raise error

    with pytest.raises(type(error)) as raised:
        write_half()
    assert raised.value is error
    assert content(tmp_path) == {"f": b"old"}
    assert getattr(error, "filename", str(tmp_path / "f")) == str(tmp_path / "f")


@pytest.mark.parametrize("write", [write_file, lambda path, content: write_folder(path, {})])
@pytest.mark.parametrize("place", ["file/made", "absent/file/made", "file/made/deeper"])
def test_a_file_where_a_folder_should_be_is_named(
    write: Callable[[Path, bytes], None], place: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / "file").write_bytes(b"mine")
    with pytest.raises(OSError, match=r"Not a directory|exists") as raised:
        write(tmp_path / place, b"content")
    assert raised.value.filename == str(tmp_path / place)
    assert names(tmp_path) == ["absent", "file"]
    assert names(tmp_path / "absent") == ["file"]


def test_a_folder_where_a_file_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    with pytest.raises(IsADirectoryError) as raised:
        write_file(tmp_path / "f", b"content")
    assert (raised.value.filename, raised.value.filename2) == (str(tmp_path / "f"), None)
    assert names(tmp_path) == ["f"]


@pytest.mark.parametrize("error", [no_space, broken_disk])
@pytest.mark.parametrize("is_there", [True, False], ids=["replaced", "new"])
def test_a_folder_is_old_or_new_whichever_call_fails(
    error: Callable[[], OSError], is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ckpt" / "made"

    def prepare() -> None:
        if path.exists():
            remove_folder(path)
        if is_there:
            write_folder(path, OLD)

    for disk, raised in each_failure(monkeypatch, error, prepare, lambda: write_folder(path, NEW)):
        is_made = (".made.part", "made") in disk.moves
        assert raised is disk.error or (raised is None and is_made)
        if is_made or is_there:
            assert content(path) == (NEW if is_made else OLD)
        else:
            assert not path.exists()
        assert not list(tmp_path.rglob("*.part"))
    assert content(path) == NEW


def test_a_leftover_that_cannot_be_removed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "made", OLD)
    write_folder(tmp_path / ".made.part", {"a.bin": b"half", "z.bin": b"of another time"})

    def refuse(*arguments: object, **options: object) -> None:
        raise broken_disk()

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        with pytest.raises(FileExistsError):
            write_folder(tmp_path / "made", NEW)
    assert content(tmp_path / "made") == OLD


def test_a_folder_stays_whole_whichever_call_fails_while_it_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "made"
    n_whole = 0
    for disk, raised in each_failure(
        monkeypatch, broken_disk, lambda: write_folder(path, OLD), lambda: remove_folder(path)
    ):
        assert (raised is disk.error) == path.exists()
        assert not path.exists() or content(path) == OLD
        n_whole += path.exists()
    assert n_whole == 1  # it was the renaming that failed
    assert names(tmp_path) == []


def test_a_killed_process_leaves_a_file_old_or_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    for disk, raised in each_failure(
        monkeypatch, Killed, lambda: path.write_bytes(b"old"), lambda: write_file(path, b"new")
    ):
        assert isinstance(raised, Killed)
        assert path.read_bytes() == (b"new" if disk.moves else b"old")


def test_a_killed_process_leaves_a_folder_old_or_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "made"
    n_between = 0
    for disk, raised in each_failure(
        monkeypatch, Killed, lambda: write_folder(path, OLD), lambda: write_folder(path, NEW)
    ):
        assert isinstance(raised, Killed)
        if disk.moves == [("made", ".made.old")]:  # the one moment in which neither is there
            n_between += 1
            assert not path.exists()
            assert content(tmp_path / ".made.old") == OLD
            assert content(tmp_path / ".made.part") == NEW
        else:
            assert content(path) == (NEW if disk.moves else OLD)
    assert n_between == 1
    assert names(tmp_path) == ["made"]  # the next one cleaned up


def test_a_disk_that_takes_one_byte_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, sizes = os.write, []

    def write_little(handle: int, data: memoryview) -> int:
        sizes.append(len(data))
        return write(handle, data[:1])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_little)
        write_file(tmp_path / "f", b"content")
        write_folder(tmp_path / "made", {"g": b"more"})
    assert (tmp_path / "f").read_bytes() == b"content"
    assert content(tmp_path / "made") == {"g": b"more"}
    assert sizes == [7, 6, 5, 4, 3, 2, 1, 4, 3, 2, 1]


@contextmanager
def files_limited(n_bytes: int) -> Iterator[None]:
    """The system itself takes so much of a file and then refuses more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_system_that_takes_no_more_leaves_the_old(tmp_path: Path) -> None:
    write_file(tmp_path / "f", b"old")
    write_folder(tmp_path / "made", OLD)
    large = bytes(3_000_000)
    with files_limited(2_000_000):
        with pytest.raises(OSError, match="File too large") as raised:
            write_file(tmp_path / "f", large)
        assert raised.value.filename == str(tmp_path / "f")
        assert names(tmp_path) == ["f", "made"]
        with pytest.raises(OSError, match="File too large"):
            write_folder(tmp_path / "made", {"a.bin": large})
    assert (tmp_path / "f").read_bytes() == b"old"
    assert content(tmp_path / "made") == OLD
    assert not (tmp_path / ".made.part").exists()


def test_every_file_and_both_folders_are_synced_before_and_after_the_renaming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = []
    opened, fsync, rename = os.open, os.fsync, os.rename
    paths: dict[int, str] = {}

    def open_noted(path: Path, *arguments: int, **options: int | None) -> int:
        handle = opened(path, *arguments, **options)
        paths[handle] = Path(path).name
        return handle

    def sync_noted(handle: int) -> None:
        fsync(handle)
        order.append(f"sync {paths[handle]}")

    def rename_noted(source: Path, target: Path) -> None:
        rename(source, target)
        order.append(f"rename to {Path(target).name}")

    (tmp_path / "ckpt").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", open_noted)
        patch.setattr(os, "fsync", sync_noted)
        patch.setattr(os, "rename", rename_noted)
        patch.setattr(os, "replace", rename_noted)
        write_folder(tmp_path / "ckpt" / "made", NEW)
        write_file(tmp_path / "ckpt" / "latest", b"made")
    assert order == [
        *("sync a.bin", "sync c.bin", "sync .made.part", "rename to made", "sync ckpt"),
        *("sync latest.part", "rename to latest", "sync ckpt"),
    ]


def test_a_folder_that_is_not_there_cannot_be_synced(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "absent")
    with pytest.raises(FileNotFoundError):
        write_file(tmp_path / "absent" / "f", b"content")
