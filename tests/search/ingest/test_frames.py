from pathlib import Path

import pytest

from fdps.errors import DataError, MissingDataError
from fdps.search import Found, find_pictures


def make(root: Path, *files: str) -> None:
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(found: Found) -> list[str]:
    return [frame.name for frame in found.frames]


def test_a_folder_is_listed_with_its_subfolders_in_order(tmp_path: Path) -> None:
    make(tmp_path, "photos/b.jpg", "photos/a.PNG", "photos/hall/2.webp", "photos/hall/10.tiff")
    found = find_pictures(tmp_path / "photos")
    assert names(found) == [
        "photos/a.PNG",
        "photos/b.jpg",
        "photos/hall/10.tiff",
        "photos/hall/2.webp",
    ]
    assert [frame.path for frame in found.frames] == [tmp_path / name for name in names(found)]
    assert not found.skipped


@pytest.mark.parametrize(
    "source", ["photos", "./photos/", "other/../photos", "photos/*.jpg", "photos/a.jpg"]
)
def test_however_it_is_named_a_picture_has_one_name(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "photos/a.jpg", "other/x.jpg")
    monkeypatch.chdir(tmp_path)
    for given in (source, tmp_path / source):
        found = find_pictures(given)
        assert names(found) == ["photos/a.jpg"]
        assert found.frames[0].path == tmp_path / "photos/a.jpg"


def test_patterns_reach_into_subfolders(tmp_path: Path) -> None:
    make(tmp_path, "p/x/1.jpg", "p/y/2.jpg", "p/y/2.txt", "p/y/.hidden.jpg")
    assert names(find_pictures(f"{tmp_path}/p/**/*.jpg")) == ["p/x/1.jpg", "p/y/2.jpg"]


def test_the_folder_above_a_pattern_names_its_pictures(tmp_path: Path) -> None:
    make(tmp_path, "p/x/1.jpg", "p/y/1.jpg")
    assert names(find_pictures(f"{tmp_path}/p/?/1.jpg")) == ["p/x/1.jpg", "p/y/1.jpg"]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path: Path) -> None:
    make(tmp_path, "p/[1].jpg")
    assert names(find_pictures(tmp_path / "p/[1].jpg")) == ["p/[1].jpg"]


def test_what_is_not_a_picture_is_named_with_the_reason(tmp_path: Path) -> None:
    make(tmp_path, "p/a.jpg", "p/clip.MP4", "p/list.txt", "p/README")
    reasons = {file.path.name: file.reason for file in find_pictures(tmp_path / "p").skipped}
    assert reasons == {
        "clip.MP4": "a video; this command reads pictures only",
        "list.txt": "not a picture by its name (.txt)",
        "README": "not a picture by its name (no suffix)",
    }


def test_a_named_file_is_tried_whatever_its_suffix(tmp_path: Path) -> None:
    make(tmp_path, "p/scan.001")
    assert names(find_pictures(tmp_path / "p/scan.001")) == ["p/scan.001"]


def test_hidden_files_and_archives_are_passed_over(tmp_path: Path) -> None:
    make(tmp_path, "p/a.jpg", "p/.a.jpg", "p/.cache/b.jpg", "p/event.fdps/c.jpg")
    found = find_pictures(tmp_path / "p")
    assert (names(found), found.skipped) == (["p/a.jpg"], ())


def test_sources_keep_their_order_and_no_file_comes_twice(tmp_path: Path) -> None:
    make(tmp_path, "p/a.jpg", "p/b.jpg", "o/a.jpg")
    found = find_pictures([tmp_path / "p/b.jpg", tmp_path / "p", tmp_path / "o"])
    assert names(found) == ["p/b.jpg", "p/a.jpg", "o/a.jpg"]


@pytest.mark.parametrize("source", ["none.jpg", "none/*.jpg"])
def test_a_source_that_is_not_there_is_named(source: str, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"none"):
        find_pictures(tmp_path / source)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no pictures found in .* \(0 of 0 files\)") as caught:
        find_pictures(tmp_path)
    assert "the folder is empty" in caught.value.hint


def test_a_folder_without_pictures_says_what_is_there(tmp_path: Path) -> None:
    make(tmp_path, "p/a.heics", "p/b.heics", "p/c.mp4")
    with pytest.raises(DataError, match=r"\(0 of 3 files\)") as caught:
        find_pictures(tmp_path / "p")
    assert ".heics ×2, .mp4 ×1" in caught.value.hint
