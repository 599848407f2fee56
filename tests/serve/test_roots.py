"""Folders that may be indexed: named by identifiers, and never outside of the roots."""

import os
from pathlib import Path

import pytest

from fdps.serve.jobs import roots as limits
from fdps.serve.jobs.roots import Roots, UnknownFolderError
from fdps.serve.jobs.skipped import skipped_files, written_list


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("photos/gate/night", "photos/hall", "photos/.hidden", "photos/a.fdps", "secret"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "photos" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "photos" / "1.png").touch()
    return tmp_path


def test_folders_are_listed_by_name_and_found_by_identifier(tree: Path) -> None:
    roots = Roots({"event": tree / "photos"})
    (root,) = roots.listed()
    assert (root.name, root.is_there) == ("event", True)
    assert [folder.name for folder in root.folders] == ["gate", "hall", "gate/night"]
    assert roots.folder(root.id).path == tree / "photos"
    for folder in root.folders:
        found = roots.folder(root.id, folder.id)
        assert (found.path, found.name) == (tree / "photos" / folder.name, f"event/{folder.name}")
        assert str(tree) not in folder.id + folder.name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../secret",
        "gate/../../secret",
        "/etc",
        "photos",
        "\0",
        "é" * 50,
        "%2e%2e",
        "link",
    ],
)
def test_a_path_is_no_identifier(tree: Path, name: str) -> None:
    roots = Roots({"event": tree / "photos"})
    (root,) = roots.listed()
    with pytest.raises(UnknownFolderError, match="no folder that may be indexed"):
        roots.folder(name)
    if name:
        with pytest.raises(UnknownFolderError):
            roots.folder(root.id, name)


def test_a_folder_that_became_a_link_is_refused(tree: Path) -> None:
    roots = Roots({"event": tree / "photos"})
    (root,) = roots.listed()
    hall = next(folder for folder in root.folders if folder.name == "hall")
    (tree / "photos" / "hall").rmdir()
    (tree / "photos" / "hall").symlink_to(tree / "secret")
    with pytest.raises(UnknownFolderError):
        roots.folder(root.id, hall.id)


def test_equal_names_below_two_roots_are_two_folders(tree: Path) -> None:
    (tree / "secret" / "hall").mkdir()
    one, other = Roots({"a": tree / "photos", "b": tree / "secret"}).listed()
    ids = [folder.id for root in (one, other) for folder in root.folders if folder.name == "hall"]
    assert len(set(ids)) == 2
    with pytest.raises(UnknownFolderError):
        Roots({"a": tree / "photos", "b": tree / "secret"}).folder(one.id, ids[1])


def test_a_root_that_is_away(tree: Path) -> None:
    roots = Roots({"disk": tree / "not mounted"})
    (root,) = roots.listed()
    assert (root.is_there, root.folders) == (False, ())
    with pytest.raises(UnknownFolderError):
        roots.folder(root.id)


def test_only_so_many_folders_are_listed(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_FOLDERS", 2)
    assert len(Roots({"event": tree / "photos"}).listed()[0].folders) == 2
    monkeypatch.setattr(limits, "MOST_LEVELS", 1)
    monkeypatch.setattr(limits, "MOST_FOLDERS", 9)
    names = [folder.name for folder in Roots({"event": tree / "photos"}).listed()[0].folders]
    assert names == ["gate", "hall"]


def test_names_that_are_no_text(tree: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tree / "photos") + b"/caf\xe9"))).mkdir()
    roots = Roots({"event": tree / "photos"})
    (root,) = roots.listed()
    folder = next(folder for folder in root.folders if folder.name.startswith("caf"))
    assert folder.name == r"caf\xe9"
    assert roots.folder(root.id, folder.id).path.is_dir()


def test_skipped_files_are_shown_without_the_folders_of_the_server(tree: Path) -> None:
    roots, archive = Roots({"event": tree / "photos"}), tree / "photos" / "a.fdps"
    assert skipped_files(archive, roots) == []
    assert written_list(archive, roots) is None
    inside, outside = tree / "photos" / "gate" / "=x.jpg", tree / "secret" / "y.jpg"
    (archive / "skipped.csv").write_text(
        f"file,reason\n{inside},{inside} is truncated\n{outside},empty\n"
    )
    first, second = skipped_files(archive, roots)
    assert (first.file, first.may_retry) == ("event/gate/=x.jpg", True)
    assert first.reason == "event/gate/=x.jpg is truncated"
    assert (second.file, second.reason, second.may_retry) == ("y.jpg", "empty", False)
    path = written_list(archive, roots)
    assert path is not None
    assert str(inside) in path.read_text()
    assert str(outside) not in path.read_text()
