"""Copies of files that another machine sends; here the other machines are functions."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fdps.errors import PictureError
from fdps.search.ingest.plan import content_hash
from fdps.search.ray import copies
from fdps.search.ray.copies import Copies, hashes_elsewhere

Machines = Callable[..., None]


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> Machines:
    """Other machines, each of which sees a folder of this one as ``/files``."""

    def have(*folders: Path | None) -> None:
        def asking(folder: Path | None) -> Callable[..., Any]:
            def there(path: bytes) -> bytes:
                assert folder
                return os.fsencode(folder / Path(os.fsdecode(path)).name)

            def ask(function: Callable[..., Any], what: Any, *rest: Any) -> Any:
                if folder is None:
                    return None  # it has left the cluster
                where = there(what) if isinstance(what, bytes) else [*map(there, what)]
                return function(where, *rest)

            return ask

        def others() -> Iterator[Callable[..., Any]]:
            yield from map(asking, folders)

        monkeypatch.setattr(copies, "_other_machines", others)

    return have


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name, letter in (("one", b"1"), ("two", b"2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "both.jpg").write_bytes(letter * 100)
    (tmp_path / "two" / "caf\udce9.jpg").write_bytes(b"2 alone")
    return tmp_path / "one", tmp_path / "two"


def test_a_file_that_is_here_is_not_copied(folders: tuple[Path, Path], machines: Machines) -> None:
    machines(None)
    file = folders[0] / "both.jpg"
    assert Copies().at_hand(file, content_hash(file)) == file


@pytest.mark.parametrize("part_bytes", [7, 50, 1000])
def test_a_copy_is_the_content_that_was_asked_for(
    folders: tuple[Path, Path],
    machines: Machines,
    monkeypatch: pytest.MonkeyPatch,
    part_bytes: int,
) -> None:
    """Another machine has another file at the same path."""
    monkeypatch.setattr(copies, "PART_BYTES", part_bytes)
    machines(None, *folders)
    held, path = Copies(), Path("/files/both.jpg")
    copy = held.at_hand(path, content_hash(folders[1] / "both.jpg"))
    assert (copy.name, copy.read_bytes()) == ("both.jpg", b"2" * 100)
    assert copy.parent.stat().st_mode & 0o077 == 0  # nobody else may look at it
    held.drop(copy)
    held.drop(path)
    assert not copy.parent.exists()


def test_a_file_that_nobody_has_is_named(folders: tuple[Path, Path], machines: Machines) -> None:
    machines(None, *folders)
    with pytest.raises(PictureError, match="no machine has this content"):
        Copies().at_hand(Path("/files/both.jpg"), "0" * 64)
    os.mkfifo(folders[0] / "pipe.jpg")
    with pytest.raises(PictureError, match="no machine has this content"):
        Copies().at_hand(Path("/files/pipe.jpg"), "0" * 64)


def test_no_room_for_a_copy_is_named(
    folders: tuple[Path, Path], machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: bytes, offset: int) -> bytes:
        raise OSError(28, "No space left on device")

    machines(folders[1])
    monkeypatch.setattr(copies, "_part", full)
    with pytest.raises(PictureError, match="cannot be copied to this machine: No space left"):
        Copies().at_hand(Path("/files/both.jpg"), "0" * 64)


def test_every_machine_is_asked_for_what_is_missing(
    folders: tuple[Path, Path], machines: Machines
) -> None:
    paths = [b"/files/both.jpg", b"/files/caf\xe9.jpg", b"/files/none.jpg"]
    one, two = folders
    found = [content_hash(one / "both.jpg"), content_hash(two / "caf\udce9.jpg"), ""]
    machines(None, one, two)
    assert hashes_elsewhere(paths) == found
    machines()
    assert hashes_elsewhere(paths) == ["", "", ""]
