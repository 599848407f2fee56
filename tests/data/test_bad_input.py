"""Broken data sets of every format: each ends in a message and exit code 3, none in a traceback."""

import json
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fake import coco as fake_coco
from fake import cuhk_sysu as fake_cuhk
from fake import cvat as fake_cvat
from fake import mot as fake_mot
from fake import prw as fake_prw
from fake import wildtrack as fake_wildtrack
from fake.people import write_picture
from fdps.cli.main import main
from fdps.data.findings import Findings
from fdps.data.readers import folder
from fdps.structures import SceneSet

Damage = Callable[[Path], object]
TABLE = "image,x1,y1,x2,y2,person_id,split\n"


def prw(root: Path) -> None:
    fake_prw.write_prw(root, n_train=2, n_test=2)


def cuhk(root: Path) -> None:
    fake_cuhk.write_cuhk_sysu(root, fake_cuhk.made(n_train=2, n_test=2))


def movienet(root: Path) -> None:
    fake_cuhk.write_movienet(root, fake_cuhk.made(n_train=2, n_test=2))


def coco(root: Path) -> None:
    fake_coco.write_coco(root, n_images=2)


def own(root: Path) -> None:
    fake_coco.write_coco(root, n_images=2)
    (root / "fdps.toml").write_text('name = "mine"')
    (root / "queries.csv").write_text("image,x1,y1,x2,y2,person_id\n0000.jpg,1,2,30,40,4\n")


def table(root: Path) -> None:
    write_picture(root / "images" / "1.png", np.zeros((60, 80, 3), dtype=np.uint8))
    (root / "annotations.csv").write_text(TABLE + "1.png,1,2,30,40,4,test\n")


def mot(root: Path) -> None:
    fake_mot.write_sequence(root / "seq", n_frames=2)


def cvat(root: Path) -> None:
    fake_cvat.write_video(root, n_frames=2)


def wildtrack(root: Path) -> None:
    fake_wildtrack.write_wildtrack(root, n_moments=2)


def content(name: str, data: bytes) -> Damage:
    return lambda root: (root / name).write_bytes(data)


def cut(name: str) -> Damage:
    """Half of the file."""
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[: _half(root / name)])


def _half(file: Path) -> int:
    return file.stat().st_size // 2


def gone(name: str) -> Damage:
    return lambda root: (root / name).unlink()


def mat(name: str, **variables: object) -> Damage:
    return lambda root: fake_cuhk.save(root / name, variables)


def row(key: str, **changes: object) -> Damage:
    """Change the first object of a list in ``annotations.json``."""

    def damage(root: Path) -> None:
        file = root / "annotations.json"
        content = json.loads(file.read_text())
        content[key][0].update(changes)
        file.write_text(json.dumps(content))

    return damage


def text(name: str, old: str, new: str) -> Damage:
    return lambda root: (root / name).write_text((root / name).read_text().replace(old, new, 1))


def bomb() -> bytes:
    """A ``.mat`` file whose compressed element states a billion cells."""
    flags = struct.pack("<IIII", 6, 8, 1, 0)
    dims = struct.pack("<IIii", 5, 8, 30_000, 30_000)
    name = struct.pack("<II8s", 1, 4, b"pool")
    body = flags + dims + name
    packed = zlib.compress(struct.pack("<II", 14, len(body)) + body)
    return b"MATLAB".ljust(124) + b"\x00\x01IM" + struct.pack("<II", 15, len(packed)) + packed


FRAME = f"annotations/{fake_prw.frame_name(1)}.jpg.mat"
PICTURE = f"frames/{fake_prw.frame_name(3)}.jpg"
TEST_LIST = "annotation/test/train_test/TestG100.mat"
NAN = [[1, np.nan, 0, 9, 9]]
MOMENT = "annotations_positions/00000000.json"

CASES: dict[str, tuple[Callable[[Path], None], Damage, str]] = {
    # format-what: (good set, damage, words of the message)
    "prw-truncated": (prw, cut(FRAME), "is not a readable .mat file"),
    "prw-0-byte": (prw, content("frame_train.mat", b""), "is not a readable .mat file"),
    "prw-wrong-type": (prw, mat(FRAME, box_new="text"), "boxes must be rows of id x y w h"),
    "prw-missing-variable": (prw, mat(FRAME, boxes=1.0), "must hold the variable box_new"),
    "prw-id-as-text": (prw, mat(FRAME, box_new=[["a"] * 5]), "boxes must be rows"),
    "prw-nan-box": (prw, mat(FRAME, box_new=NAN), "row 1: expected a whole id"),
    "prw-missing-picture": (prw, gone(PICTURE), "no picture at"),
    "prw-0-byte-picture": (prw, content(PICTURE, b""), "is not a picture"),
    "prw-missing-query-list": (prw, gone("query_info.txt"), "query_info.txt"),
    "prw-query-encoding": (
        prw,
        content("query_info.txt", "11 1 2 3 4 c1".encode("utf-16")),
        "query_info.txt is not UTF-8",
    ),
    "prw-id-list-of-text": (prw, mat("ID_train.mat", ID_train="a"), "identities must be numbers"),
    "prw-frames-that-lead-out": (
        prw,
        mat("frame_train.mat", img_index_train=np.array([["../x"]], dtype=object)),
        "is not named like",
    ),
    "cuhk-truncated": (cuhk, cut("annotation/Images.mat"), "is not a readable .mat file"),
    "cuhk-0-byte": (cuhk, content("annotation/pool.mat", b""), "is not a readable .mat file"),
    "cuhk-bomb": (cuhk, content("annotation/pool.mat", bomb()), "values in 0 bytes"),
    "cuhk-wrong-type": (cuhk, mat("annotation/Images.mat", Img=1.0), "expected a structure"),
    "cuhk-missing-variable": (cuhk, mat("annotation/pool.mat", pond=1.0), "the variable pool"),
    "cuhk-numbers-for-names": (cuhk, mat("annotation/pool.mat", pool=[[1.0]]), "expected a text"),
    "cuhk-missing-field": (cuhk, mat(TEST_LIST, TestG100={"Query": 1}), "no field 'Gallery'"),
    "cuhk-missing-picture": (cuhk, gone("Image/SSM/s101.jpg"), "no picture at"),
    "cuhk-missing-list": (
        cuhk,
        gone("annotation/test/train_test/Train.mat"),
        "no file .*Train.mat",
    ),
    "cuhk-text-for-mat": (cuhk, content(TEST_LIST, b"git-lfs" * 50), "is not a readable"),
    "cuhk-version-7.3": (
        cuhk,
        content(TEST_LIST, b"MATLAB 7.3".ljust(124) + b"\x00\x02IM"),
        "version 7.3",
    ),
    "movienet-truncated": (movienet, cut("annotation/pool_2000.mat"), "is not a readable"),
    "movienet-missing-list": (
        movienet,
        gone("annotation/test/train_test/TestG2000.mat"),
        "no file .*TestG2000.mat",
    ),
    "coco-truncated": (coco, cut("annotations.json"), "is not JSON"),
    "coco-0-byte": (coco, content("annotations.json", b""), "is not JSON"),
    "coco-wrong-type": (coco, content("annotations.json", b"[]"), "must hold a JSON object"),
    "coco-missing-key": (coco, content("annotations.json", b"{}"), "must have 'images'"),
    "coco-id-as-text": (coco, row("annotations", person_id="Ann"), "must be a whole number"),
    "coco-nan-box": (coco, row("annotations", bbox=[float("nan"), 1, 2, 3]), "'bbox' must be"),
    "coco-empty-box": (coco, row("annotations", bbox=[1, 1, 0, 3]), "no positive width"),
    "coco-unknown-image": (coco, row("annotations", image_id=99), "not among 'images'"),
    "coco-missing-picture": (coco, gone("images/0000.jpg"), "no picture at"),
    "coco-truncated-header": (
        coco,
        content("images/0000.jpg", b"\xff\xd8\xff"),
        "is not a picture|cannot be decoded",
    ),
    "coco-wrong-size": (coco, row("images", width=7), "is stated as 7x120"),
    "coco-leads-out": (coco, row("images", file_name="../../x.jpg"), "leads out"),
    "coco-file-name-number": (coco, row("images", file_name=5), "must have a 'file_name'"),
    "coco-encoding": (coco, content("annotations.json", b'{"images": "\xff\xfe"}'), "is not JSON"),
    "coco-deep": (coco, content("annotations.json", b"[" * 100_000), "is not JSON"),
    "coco-seconds-text": (coco, row("images", seconds="now"), "'seconds' must be a number"),
    "folder-no-toml": (own, content("fdps.toml", b"name ="), "is not TOML"),
    "folder-missing-annotations": (own, gone("annotations.json"), "no annotations.json"),
    "folder-query-row": (own, text("queries.csv", ",4\n", ",Ann\n"), "line 2: person_id must be"),
    "folder-query-encoding": (own, content("queries.csv", b"\xff\xfe"), "is not UTF-8"),
    "folder-query-zero-bytes": (own, content("queries.csv", b"a\0b"), "has zero bytes"),
    "csv-0-byte": (table, content("annotations.csv", b""), "line 1: the columns must be"),
    "csv-encoding": (
        table,
        content("annotations.csv", TABLE.encode("utf-16")),
        "is not UTF-8|has zero bytes",
    ),
    "csv-id-as-text": (table, text("annotations.csv", ",4,", ",Ann,"), "line 2: person_id"),
    "csv-nan-box": (table, text("annotations.csv", "30", "nan"), "line 2: x2 must be a number"),
    "csv-missing-picture": (table, gone("images/1.png"), "no picture at"),
    "mot-0-byte-info": (mot, content("seq/seqinfo.ini", b""), "must be an INI file"),
    "mot-missing-tracks": (mot, gone("seq/gt/gt.txt"), "no file .*gt.txt"),
    "mot-track-as-text": (mot, content("seq/gt/gt.txt", b"1,a,1,1,9,9"), "line 1: track"),
    "mot-nan-box": (mot, content("seq/gt/gt.txt", b"1,1,nan,1,9,9"), "line 1: left"),
    "mot-encoding": (mot, content("seq/gt/gt.txt", b"\xff\xfe1"), "is not UTF-8"),
    "mot-missing-picture": (mot, gone("seq/img1/000002.jpg"), "no picture at"),
    "cvat-truncated": (cvat, cut("annotations.xml"), "is not XML"),
    "cvat-0-byte": (cvat, content("annotations.xml", b""), "is not XML"),
    "cvat-other-xml": (cvat, content("annotations.xml", b"<html/>"), "must have <annotations>"),
    "cvat-entities": (cvat, content("annotations.xml", b"<!DOCTYPE a><a/>"), "document type"),
    "cvat-frame-as-text": (cvat, text("annotations.xml", 'frame="0"', 'frame="a"'), "frame must"),
    "cvat-missing-picture": (cvat, gone("images/frame_000001.png"), "no picture of frame 1"),
    "wildtrack-truncated": (wildtrack, cut(MOMENT), "is not JSON"),
    "wildtrack-id-as-text": (
        wildtrack,
        text(MOMENT, '"personID": 122', '"personID": "a"'),
        "'personID' must be a whole number",
    ),
    "wildtrack-missing-picture": (wildtrack, gone("Image_subsets/C2/00000000.png"), "no picture"),
}


@pytest.mark.parametrize("name", CASES)
def test_each_ends_in_a_message_and_exit_code_3(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write, damage, _ = CASES[name]
    root = tmp_path / "set"
    write(root)
    damage(root)
    code = main(["data", "check", str(root)])
    out, err = capsys.readouterr()
    assert code == 3, out + err
    assert "Traceback" not in out + err
    shown = " ".join((out + err).split())
    assert re.search(CASES[name][2], shown), shown


@pytest.mark.parametrize("write", [prw, cuhk, movienet, coco, own, table, mot, cvat, wildtrack])
def test_the_sets_are_good_before_the_damage(
    tmp_path: Path, write: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "set")
    assert main(["data", "check", str(tmp_path / "set")]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("name", ["", "nothing", "empty", "file.bin"])
def test_wrong_roots(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.bin").write_bytes(b"x")
    assert main(["data", "check", str(tmp_path / name)]) == 3
    assert capsys.readouterr().err.startswith("error: ")


def test_there_are_many() -> None:
    assert len(CASES) >= 60


def test_several_faults_are_all_listed(tmp_path: Path) -> None:
    own(tmp_path)
    for number in (0, 1):
        (tmp_path / "images" / f"000{number}.jpg").unlink()
    (tmp_path / "queries.csv").write_text("image,x1,y1,x2,y2,person_id\n1,2,3\n")
    findings = Findings(collect=True)
    with findings.tolerated():
        assert isinstance(folder.read(tmp_path, "test", findings), SceneSet)
    assert len(findings.faults) == 3
