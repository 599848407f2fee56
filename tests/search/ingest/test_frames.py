import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fdps.errors import DataError, MissingDataError
from fdps.names import from_stored
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


def reasons(found: Found) -> dict[str, str]:
    return {file.path.name: file.reason for file in found.skipped}


LATIN = os.fsdecode(b"caf\xe9")
takes_bytes = pytest.mark.skipif(sys.platform == "darwin", reason="APFS takes UTF-8 only")


@takes_bytes
def test_names_that_are_not_utf8_are_found_and_written_so_that_they_can_be_stored(
    tmp_path: Path,
) -> None:
    make(tmp_path, f"p/{LATIN}.jpg", f"p/{LATIN}/b.jpg", f"p/{LATIN}.txt", "p/z.jpg", "p/a\nb.jpg")
    found = find_pictures(tmp_path / "p")
    expected = [r"p/a\x0ab.jpg", r"p/caf\xe9.jpg", r"p/caf\xe9/b.jpg", "p/z.jpg"]
    assert sorted(names(found)) == expected
    assert all(frame.path.exists() for frame in found.frames)
    assert [from_stored(frame.name) for frame in found.frames] == [
        frame.path.relative_to(tmp_path) for frame in found.frames
    ]
    assert names(find_pictures(tmp_path / f"p/{LATIN}.jpg")) == [r"p/caf\xe9.jpg"]
    assert names(find_pictures(f"{tmp_path}/p/caf*.jpg")) == [r"p/caf\xe9.jpg"]


def as_ordinary_user(code: str) -> str:
    """What Python prints without root's right to read everything."""
    command = [sys.executable, "-c", code]
    if os.getuid() == 0:
        drop = "-dac_override,-dac_read_search"
        command = ["setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}", *command]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("setpriv"), reason="needs setpriv of Linux"
)
@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["p"], ["ok/a.jpg"]),
        (["p/locked", "p/ok"], ["ok/a.jpg"]),
        (["p/locked/b.jpg", "p/ok"], ["ok/a.jpg"]),
        (["p/*/*.jpg"], ["ok/a.jpg"]),
        (["p/**/*.jpg"], ["ok/a.jpg"]),
        (["@in.txt"], ["ok/a.jpg"]),
        (["@locked.txt", "p/ok"], ["ok/a.jpg"]),
    ],
)
def test_what_may_not_be_read_is_named(
    tmp_path: Path, sources: list[str], expected: list[str]
) -> None:
    make(tmp_path, "p/ok/a.jpg", "p/locked/b.jpg", "locked.txt")
    (tmp_path / "in.txt").write_text("p/ok\np/locked\n")
    locked = [tmp_path / "p/locked", tmp_path / "locked.txt"]
    for path in locked:
        path.chmod(0)
    given = [f"@{tmp_path}/{s[1:]}" if s[0] == "@" else f"{tmp_path}/{s}" for s in sources]
    code = (
        "import json; from fdps.search import find_pictures\n"
        f"found = find_pictures({given!r})\n"
        "print(json.dumps([[str(f.path) for f in found.frames],"
        " [[str(s.path), s.reason] for s in found.skipped]]))"
    )
    try:
        frames, skipped = json.loads(as_ordinary_user(code))
    finally:
        for path in locked:
            path.chmod(0o755)
    assert frames == [str(tmp_path / "p" / name) for name in expected]
    ((path, reason),) = skipped
    assert "locked" in path
    assert reason == "cannot be read: Permission denied"


def test_links_and_pipes_are_named(tmp_path: Path) -> None:
    make(tmp_path, "p/a.jpg", "other/b.jpg")
    (tmp_path / "p/folder").symlink_to(tmp_path / "other")
    (tmp_path / "p/circle").symlink_to(tmp_path / "p")
    (tmp_path / "p/good.jpg").symlink_to(tmp_path / "other/b.jpg")
    (tmp_path / "p/dangling.jpg").symlink_to("nowhere")
    (tmp_path / "p/loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(tmp_path / "p/pipe.jpg")
    found = find_pictures(tmp_path / "p")
    assert names(found) == ["p/a.jpg", "p/good.jpg"]
    assert reasons(found) == {
        "folder": "a link to a folder, which is not followed; name the folder itself",
        "circle": "a link to a folder, which is not followed; name the folder itself",
        "dangling.jpg": "cannot be read: No such file or directory",
        "loop.jpg": "cannot be read: Too many levels of symbolic links",
        "pipe.jpg": "cannot be read: not a regular file",
    }
    assert names(find_pictures(tmp_path / "p/folder")) == ["folder/b.jpg"]


def test_a_folder_that_vanishes_meanwhile_is_named(tmp_path: Path) -> None:
    make(tmp_path, "p/a.jpg", "p/gone/b.jpg")
    real = os.scandir

    def scandir(folder: Path) -> object:
        if folder == tmp_path / "p/gone":
            shutil.rmtree(folder)
        return real(folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        found = find_pictures(tmp_path / "p")
    assert names(found) == ["p/a.jpg"]
    assert reasons(found) == {"gone": "cannot be read: No such file or directory"}


COMPOSED, SPLIT = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(("given", "there"), [(COMPOSED, SPLIT), (SPLIT, COMPOSED)])
def test_a_name_finds_its_other_unicode_form(tmp_path: Path, given: str, there: str) -> None:
    make(tmp_path, f"{there}/{there} 1.jpg", f"{there}/2.jpg")
    (tmp_path / "list.txt").write_text(f"{given}/{given} 1.jpg\n", encoding="utf-8")
    one = [f"{there}/{there} 1.jpg"]
    assert names(find_pictures(tmp_path / given / f"{given} 1.jpg")) == one
    assert names(find_pictures(tmp_path / given)) == [f"{there}/2.jpg", *one]
    assert names(find_pictures(f"{tmp_path}/{given}/{given}*.jpg")) == one
    (frame,) = find_pictures(f"{tmp_path}/*/{given}*.jpg").frames
    assert frame.path == tmp_path / one[0]
    assert names(find_pictures(tmp_path / "list.txt")) == one


def test_both_unicode_forms_are_two_files(tmp_path: Path) -> None:
    make(tmp_path, f"p/{COMPOSED}.jpg", f"p/{SPLIT}.jpg")
    assert len(names(find_pictures(tmp_path / "p"))) == 2
    assert len(names(find_pictures(f"{tmp_path}/p/{SPLIT}*"))) == 2
    assert names(find_pictures(tmp_path / f"p/{SPLIT}.jpg")) == [f"p/{SPLIT}.jpg"]


def test_a_pattern_means_what_a_shell_makes_of_it(tmp_path: Path) -> None:
    make(tmp_path, "p/a.jpg", "p/x/b.jpg", "p/x/deep/c.jpg", "p/.h/d.jpg", "p/e.fdps/f.jpg")
    everything = ["p/a.jpg", "p/x/b.jpg", "p/x/deep/c.jpg"]
    for pattern in ("p/*", "p/**", "p/**/*", "p/**/*.jpg"):
        assert names(find_pictures(f"{tmp_path}/{pattern}")) == everything, pattern
    assert names(find_pictures(f"{tmp_path}/p/*/*.jpg")) == ["p/x/b.jpg"]
    assert names(find_pictures(f"{tmp_path}/p/.h*")) == ["p/.h/d.jpg"]
    assert names(find_pictures(f"{tmp_path}/p/[!b].jp?")) == ["p/a.jpg"]


def test_a_step_that_exists_is_no_pattern(tmp_path: Path) -> None:
    make(tmp_path, "p[1]/a.jpg", "p1/b.jpg")
    assert names(find_pictures(f"{tmp_path}/p[1]/*.jpg")) == ["p[1]/a.jpg"]
    with pytest.raises(MissingDataError, match="no file fits the pattern"):
        find_pictures(f"{tmp_path}/p[1]/none.jpg")


def test_an_unreadable_source_alone_tells_why_there_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    make(tmp_path, "p/x.txt")
    (tmp_path / "p/loop").symlink_to("loop")
    with pytest.raises(DataError, match="no pictures found") as caught:
        find_pictures(tmp_path / "p")
    assert "Too many levels of symbolic links" in caught.value.hint
