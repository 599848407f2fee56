"""Files that survive a power cut: written aside, synced, then renamed.

A reader sees the old content or the new, never a part.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_ASIDE = ".part"


def write_file(path: Path, content: bytes) -> None:
    """Replace a file whole or not at all.

    Raises:
        OSError: The disk is full, read-only or failing; it names the file. An older file is as it
            was; if nothing but the sync of the folder failed, the new one is there and a power cut
            may take it back.
    """
    with written_whole(path) as aside:
        _write(aside, content)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Replace a file by one that the body writes, whole or not at all.

    Yields:
        Where to write: a file beside it, which is synced and renamed at the end, and removed if the
        body fails.

    Raises:
        OSError: The same as for :func:`write_file`.
    """
    aside = path.with_name(path.name + _ASIDE)
    with named(path):
        try:
            yield aside
            _sync(aside)
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Make a folder with its files; it is complete as soon as it is there.

    A folder of that name makes room; only in that moment is neither there.

    Raises:
        OSError: The disk is full, read-only or failing; as for :func:`write_file`.
    """
    aside = path.with_name("." + path.name + _ASIDE)
    shutil.rmtree(aside, ignore_errors=True)
    with named(path), _removed_on_failure(aside):
        aside.mkdir(parents=True)
        for name, content in files.items():
            _write(aside / name, content)
            _sync(aside / name)
        sync_folder(aside)
        old = _set_aside(path) if path.exists() else None
        try:
            aside.rename(path)
        except OSError:
            if old is not None:
                old.rename(path)
            raise
    sync_folder(path.parent)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Let an error name the file or folder that was asked for: a full disk names none itself."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def remove_folder(path: Path) -> None:
    """Remove a folder such that it is never seen in part."""
    shutil.rmtree(_set_aside(path), ignore_errors=True)


def sync_folder(path: Path) -> None:
    """Make sure that the names in a folder are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _set_aside(path: Path) -> Path:
    """Take a folder away under another name."""
    aside = path.with_name("." + path.name + ".old")
    shutil.rmtree(aside, ignore_errors=True)
    return path.rename(aside)


def _write(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(handle, rest) :]  # a disk may take less than it is given
    finally:
        os.close(handle)


def _sync(path: Path) -> None:
    """Make sure that the content of a file is on the disk."""
    handle = os.open(path, os.O_WRONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _removed_on_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
