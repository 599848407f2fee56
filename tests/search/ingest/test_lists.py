"""Every line of a list is a file that is looked at, or is named."""

import csv
import os
import sys
from pathlib import Path

import pytest

from fdps.errors import DataError, MissingDataError
from fdps.search import Found, find_pictures
from fdps.search.ingest.frames import Skipped
from fdps.search.ingest.skipped import note_skipped


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("#1 gate.jpg", "a.jpg", "b.jpg", " c.jpg", 'd "x".jpg', "sub/e.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def names(found: Found) -> list[str]:
    return [frame.path.name for frame in found.frames]


def missing(found: Found) -> dict[str, str]:
    return {file.path.name: file.reason for file in found.skipped}


@pytest.mark.parametrize("name", ["list.txt", "@list", "list.csv"])
def test_a_name_that_begins_like_a_comment_is_a_file(folder: Path, name: str) -> None:
    head = "file\n" if name.endswith("csv") else ""
    (folder / name.removeprefix("@")).write_text(f"{head}#1 gate.jpg\nb.jpg\n")
    source = f"@{folder}/list" if name == "@list" else folder / name
    found = find_pictures(source)
    assert (names(found), found.skipped) == (["#1 gate.jpg", "b.jpg"], ())


def test_other_lines_that_begin_so_are_comments_in_text_and_names_in_csv(folder: Path) -> None:
    (folder / "list.txt").write_text("# of Monday\na.jpg\n  # indented\n")
    found = find_pictures(folder / "list.txt")
    assert (names(found), found.skipped) == (["a.jpg"], ())
    (folder / "list.csv").write_text("file\n#2 gate.jpg\na.jpg\n")
    assert missing(find_pictures(folder / "list.csv")) == {"#2 gate.jpg": "no such file or folder"}


TEXT = "a.jpg\r\n\r\nsub\r\nnone.jpg\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-be"])
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize("name", ["list.txt", "list.csv"])
def test_however_it_was_saved_it_is_the_same_list(
    folder: Path, encoding: str, end: str, name: str
) -> None:
    if name.endswith("csv") and end == "\r":
        pytest.skip("CSV has no such lines")
    text = ("file\r\n" if name.endswith("csv") else "") + TEXT
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (folder / name).write_bytes((mark + text.replace("\r\n", end)).encode(encoding))
    found = find_pictures(folder / name)
    assert names(found) == ["a.jpg", "e.jpg"]
    assert missing(found) == {"none.jpg": "no such file or folder"}


def test_spaces_and_quotes_are_taken_off_only_where_they_name_nothing(folder: Path) -> None:
    (folder / "list.txt").write_text(' a.jpg \n"b.jpg"\n c.jpg\nd "x".jpg\n\'sub/e.jpg\'\n')
    found = find_pictures(folder / "list.txt")
    assert (names(found), found.skipped) == (
        ["a.jpg", "b.jpg", " c.jpg", 'd "x".jpg', "e.jpg"],
        (),
    )


def test_unusual_letters_do_not_end_a_line(tmp_path: Path) -> None:
    name = "a\u2028b\x85c\x0cd.jpg"
    (tmp_path / name).touch()
    (tmp_path / "list.txt").write_text(f"{name}\n", encoding="utf-8")
    assert names(find_pictures(tmp_path / "list.txt")) == [name]


def test_a_list_may_name_folders_patterns_and_lists(folder: Path) -> None:
    (folder / "list.txt").write_text("sub\n[ab].jpg\n@sub/inner.txt\nnothing*.jpg\n@none.txt\n")
    (folder / "sub/inner.txt").write_text("../#1 gate.jpg\n@../list.txt\n")
    found = find_pictures(folder / "list.txt")
    assert names(found) == ["e.jpg", "a.jpg", "b.jpg", "#1 gate.jpg"]
    assert missing(found) == {
        "inner.txt": "not a picture by its name (.txt)",  # in its folder it is a file like others
        "list.txt": "a list that names itself",
        "nothing*.jpg": "no such file or folder",
        "none.txt": "no list: No such file or directory",
    }


def test_a_list_without_its_mark_is_named(folder: Path) -> None:
    (folder / "inner.txt").write_text("b.jpg\n")
    (folder / "list.csv").write_text("file\na.jpg\ninner.txt\n")
    assert missing(find_pictures(folder / "list.csv")) == {
        "inner.txt": "a list within a list is read where it is written @inner.txt"
    }


def test_a_list_of_nothing_is_refused(folder: Path) -> None:
    (folder / "list.txt").write_text("\n\n# nothing\n")
    with pytest.raises(DataError, match="no pictures found"):
        find_pictures(folder / "list.txt")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.csv", b"name,x\na.jpg,1\n", "has no column of files, it has name, x"),
        ("l.csv", b"", "has no column of files, it has no columns at all"),
        ("l.csv", b'file\n"' + b"x" * 200_000 + b'"\n', "is not CSV: field larger"),
        ("l.txt", b"a\0.\0j\0p\0g\0", "is not text: it holds zero bytes"),
        ("l.txt", b"\xff\xfea", "is not utf-16: truncated data"),
    ],
)
def test_what_is_no_list_is_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        find_pictures(tmp_path / name)


def test_a_list_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for source in (f"@{tmp_path}/none", f"@{tmp_path}"):
        with pytest.raises(MissingDataError, match="no list at"):
            find_pictures(source)


@pytest.mark.skipif(sys.platform == "darwin", reason="APFS takes UTF-8 only")
def test_the_list_of_skipped_files_is_utf8_and_reads_back(tmp_path: Path) -> None:
    latin = os.fsdecode(b"caf\xe9.jpg")
    odd = [tmp_path / name for name in (latin, "a\nb.jpg", "\x1b[31m.jpg", r"caf\xe9.jpg")]
    for path in odd:
        path.touch()
    skipped = [Skipped(path, "bad\n\x1b]0;news") for path in odd]
    note_skipped(tmp_path, skipped, odd)
    rows = list(csv.reader((tmp_path / "skipped.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 5
    assert {reason for _, reason in rows[1:]} == {r"bad\n\x1b]0;news"}
    found = find_pictures(tmp_path / "skipped.csv")
    assert {frame.path for frame in found.frames} == set(odd)
    note_skipped(tmp_path, [], odd[:3])
    assert {frame.path for frame in find_pictures(tmp_path / "skipped.csv").frames} == {odd[3]}


def test_a_list_of_skipped_files_of_an_earlier_version_is_kept(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.jpg")
    (tmp_path / "skipped.csv").write_bytes(b"file,reason\n" + os.fsencode(path) + b",torn\n")
    note_skipped(tmp_path, [], [])
    assert (tmp_path / "skipped.csv").read_text() == f"file,reason\n{tmp_path}/caf\\xe9.jpg,torn\n"
    note_skipped(tmp_path, [], [path])
    assert (tmp_path / "skipped.csv").read_text() == "file,reason\n"
