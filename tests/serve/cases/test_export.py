"""What leaves the server is complete, harmless, and shows nobody else."""

import csv
import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fake.cases import ARCHIVE
from fake.embedder import ColourEmbedder
from fake.people import draw_scene, write_picture
from fake.videos import people_frames, write_video
from fdps.errors import UsageError
from fdps.pictures import read_picture
from fdps.search import Index
from fdps.serve.cases.case import Case, QueryPerson
from fdps.serve.cases.export import (
    COLUMNS,
    Format,
    boxed,
    export,
    file_name,
    findings,
    harmless,
)
from fdps.serve.cases.places import places_of
from fdps.serve.cases.store import CaseStore

ENOUGH = 12.0  # mean difference of blurred people, in levels of 0 to 255


def draw_photos(folder: Path) -> None:
    """Three pictures with two people each, two of them with names that spreadsheets compute."""
    rng = np.random.default_rng(3)
    for name in ("=1+1.png", "@sum(a).png", "hall.png"):
        picture, _ = draw_scene(rng, [int(rng.integers(12)), int(rng.integers(12, 20))])
        write_picture(folder / name, picture)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports") / "photos"
    draw_photos(folder)
    with Index.create(folder.parent / "a.fdps", ColourEmbedder()) as index:
        index.add(sorted(folder.iterdir()), camera="+gate")
    return folder


@pytest.fixture
def index(tmp_path: Path, photos: Path) -> Iterator[Index]:
    """An archive of these pictures for one test alone."""
    shutil.copytree(photos.parent / "a.fdps", tmp_path / "a.fdps")
    with Index.open(tmp_path / "a.fdps", ColourEmbedder()) as index:
        yield index


def query_of(index: Index, item: int) -> QueryPerson:
    person = index.person(item)
    x1, y1, x2, y2 = person.box.tolist()
    return QueryPerson("ann.jpg", (x1, y1, x2, y2), person.score, person.embedding, b"RIFF")


def judged(index: Index, tmp_path: Path, **words: list[int]) -> Case:
    """A case that looks for the first person, with verdicts on others."""
    store = CaseStore(tmp_path / "cases.sqlite")
    case = store.create(ARCHIVE, "child", by="ann", query=[query_of(index, 1)])
    for opinion, items in words.items():
        for item, place in places_of(index.store, items).items():
            scene = index.person(item).scene
            case = store.judge(
                case.line.id, place, opinion, by="=bob", scene=scene, note=f"-note {item}"
            )
    store.close()
    return case


def exported(case: Case, index: Index, format_: Format, **more: str) -> bytes:
    file = io.BytesIO()
    export(case, index.store, format_, file, **more)  # type: ignore[arg-type]
    return file.getvalue()


def test_csv_and_json_say_the_same(index: Index, tmp_path: Path) -> None:
    case = judged(index, tmp_path, confirmed=[1, 3], rejected=[2])
    rows = list(csv.DictReader(io.StringIO(exported(case, index, "csv").decode())))
    figures = json.loads(exported(case, index, "json"))
    objects = figures["confirmed"] + figures["rejected"]
    assert [int(row["item"]) for row in rows] == [one["item"] for one in objects]
    assert {int(row["item"]) for row in rows} == {1, 2, 3}
    assert tuple(rows[0]) == COLUMNS
    hits = {hit.item: hit.similarity for hit in index.search(index.person(1).embedding, 10)}
    for row, entry in zip(rows, objects, strict=True):
        assert float(row["similarity"]) == pytest.approx(entry["similarity"])
        assert entry["similarity"] == pytest.approx(hits[entry["item"]], abs=1e-6)
        assert row["sha256"] == entry["sha256"]
        assert row["verdict"] == entry["verdict"]
    assert [one["verdict"] for one in objects] == ["confirmed", "confirmed", "rejected"]
    assert figures["case"]["name"] == "child"
    assert "no proof" in figures["note"]
    assert str(tmp_path) not in json.dumps(figures)  # folders of the server stay there


def test_no_cell_is_a_formula(index: Index, tmp_path: Path) -> None:
    case = judged(index, tmp_path, confirmed=[1, 3, 5])
    rows = list(csv.reader(io.StringIO(exported(case, index, "csv").decode())))[1:]
    texts = [cell for row in rows for cell in row if cell and not _is_number(cell)]
    assert [cell for cell in texts if cell[0] in "=+-@"] == []
    assert {"'=1+1.png", "'@sum(a).png", "'+gate", "'=bob", "'-note 1"} <= set(texts)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


@pytest.mark.long
@given(st.text())
def test_a_harmless_cell_is_the_text_or_has_an_apostrophe(text: str) -> None:
    assert harmless(text) in (text, f"'{text}")
    assert not str(harmless(text)).strip(" \u00a0").startswith(("=", "+", "-", "@"))


@given(st.text())
def test_a_file_name_names_no_folder(text: str) -> None:
    name = file_name(text)
    assert name
    assert name == Path(name).name
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert not name.startswith(".")
    assert len(name) <= 80


@pytest.mark.parametrize(
    "text", ["../../etc/passwd", "..\\..\\boot.ini", "/etc/passwd", "C:\\x", "a\0b", ".", "~root"]
)
def test_file_names_of_attacks(text: str) -> None:
    assert not {"/", "\\", ":", "\0", "~"} & set(file_name(text))


def test_coco_holds_the_confirmed(index: Index, tmp_path: Path) -> None:
    case = judged(index, tmp_path, confirmed=[1, 3], rejected=[2])
    coco = json.loads(exported(case, index, "coco"))
    assert sorted(one["item"] for one in coco["annotations"]) == [1, 3]
    names = {image["id"]: image["file_name"] for image in coco["images"]}
    for one in coco["annotations"]:
        assert names[one["image_id"]] == index.person(one["item"]).scene


@pytest.mark.long
def test_mot_is_of_one_video(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", people_frames(6), keyframe_every=3)
    with Index.create(tmp_path / "a.fdps", ColourEmbedder()) as index:
        index.add(tmp_path / "clip.mp4", every="2f")
        items = [index.people_in(scene.name)[0].item for scene in index.store.find_all()]
        case = judged(index, tmp_path, confirmed=items)
        lines = exported(case, index, "mot").decode().splitlines()
        assert len(lines) == len(items) > 1
        assert {line.split(",")[1] for line in lines} == {"1"}
        content = zipfile.ZipFile(io.BytesIO(exported(case, index, "zip")))
        assert content.read("candidates.mot.txt").decode().splitlines() == lines


def test_mot_of_pictures_is_refused(index: Index, tmp_path: Path) -> None:
    case = judged(index, tmp_path, confirmed=[1])
    with pytest.raises(UsageError, match="MOT is a format for one video"):
        exported(case, index, "mot")


def overlaps(box: np.ndarray, other: np.ndarray) -> bool:
    left, top = np.maximum(box[:2], other[:2])
    right, bottom = np.minimum(box[2:], other[2:])
    return bool(right > left and bottom > top)


@pytest.mark.long
def test_in_the_pictures_of_a_zip_nobody_else_can_be_told(
    index: Index, photos: Path, tmp_path: Path
) -> None:
    everybody = list(range(1, len(index) + 1))
    case = judged(index, tmp_path, confirmed=everybody)
    blurred = zipfile.ZipFile(io.BytesIO(exported(case, index, "zip")))
    kept = zipfile.ZipFile(io.BytesIO(exported(case, index, "zip", bystanders="keep")))
    manifest = json.loads(blurred.read("manifest.json"))
    assert manifest["bystanders"] == "blurred"
    assert json.loads(kept.read("manifest.json"))["bystanders"] == "kept"
    assert len(manifest["pictures"]) == len(everybody)
    n_bystanders = 0
    for entry in manifest["pictures"]:
        person = index.person(entry["item"])
        original = read_picture(photos.parent / person.scene).astype(int)
        shown, open_ = (_decoded(archive, entry["file"]) for archive in (blurred, kept))
        for other in index.people_in(person.scene):
            x1, y1, x2, y2 = other.box.astype(int).tolist()
            is_hit = other.item == person.item
            if not is_hit and overlaps(person.box, other.box):
                continue
            inside = (slice(y1 + 8, y2 - 8), slice(x1 + 8, x2 - 8))  # off the frame of the hit
            change = np.abs(shown[inside] - original[inside]).mean()
            assert np.abs(open_[inside] - original[inside]).mean() < 6  # JPEG
            assert change < 6 if is_hit else change > ENOUGH
            n_bystanders += not is_hit
    assert n_bystanders >= 3


def _decoded(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    picture = Image.open(io.BytesIO(archive.read(name)))
    assert not picture.getexif()
    return np.asarray(picture.convert("RGB")).astype(int)


def test_inside_the_box_every_pixel_is_as_it_was(index: Index, photos: Path) -> None:
    for item in (1, 2, 3):
        person = index.person(item)
        picture = read_picture(photos.parent / person.scene)
        drawn = boxed(picture, person.box, "blur")
        x1, y1 = np.floor(person.box[:2]).astype(int)
        x2, y2 = np.ceil(person.box[2:]).astype(int)
        assert np.array_equal(drawn[y1:y2, x1:x2], picture[y1:y2, x1:x2])
        frame = drawn[y1:y2, max(x1 - 1, 0)] if x1 else drawn[y1:y2, x2]
        assert (frame == frame[0]).all()  # one colour, right beside the box


def test_names_in_a_zip_lead_nowhere_else(index: Index, tmp_path: Path) -> None:
    case = judged(index, tmp_path, confirmed=[1, 3, 5])
    names = zipfile.ZipFile(io.BytesIO(exported(case, index, "zip"))).namelist()
    assert len(names) == len(set(names))
    for name in names:
        parts = Path(name).parts
        assert ".." not in parts
        assert not Path(name).is_absolute()
        assert len(parts) <= 2
    assert {"manifest.json", "sheet.jpg", "candidates.csv", "query/01_query.webp"} <= set(names)
    assert sum(name.startswith("pictures/") for name in names) == 3


def test_a_verdict_survives_indexing_anew(index: Index, photos: Path, tmp_path: Path) -> None:
    case = judged(index, tmp_path, confirmed=[3], rejected=[2])
    index.add(sorted(photos.iterdir()), again=True)
    found = findings(case, index.store)
    (confirmed,), (rejected,) = found.confirmed, found.rejected
    assert confirmed.candidate.hit.item > 6
    assert rejected.candidate.hit.item > 6
    assert rejected.judged.note == "-note 2"
    assert found.missing == []


def test_whoever_is_no_longer_in_the_archive_is_named_as_missing(
    index: Index, tmp_path: Path
) -> None:
    case = judged(index, tmp_path, confirmed=[1, 3])
    index.remove(scenes=[index.person(1).scene])
    figures = json.loads(exported(case, index, "json"))
    assert [one["item"] for one in figures["confirmed"]] == [3]
    assert [one["scene"] for one in figures["missing"]] == ["photos/=1+1.png"]


def test_a_picture_that_is_gone_is_named_with_the_reason(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos")
    with Index.create(tmp_path / "a.fdps", ColourEmbedder()) as index:
        index.add(tmp_path / "photos" / "hall.png")
        case = judged(index, tmp_path, confirmed=[1])
        (tmp_path / "photos" / "hall.png").unlink()
        content = exported(case, index, "zip")
    entry = json.loads(zipfile.ZipFile(io.BytesIO(content)).read("manifest.json"))["pictures"][0]
    assert entry["file"] is None
    assert "cannot be read" in entry["reason"]


def test_a_case_without_anybody(index: Index, tmp_path: Path) -> None:
    store = CaseStore(tmp_path / "cases.sqlite")
    case = store.create(ARCHIVE, "empty", by="ann")
    assert exported(case, index, "csv").decode() == ",".join(COLUMNS) + "\n"
    assert exported(case, index, "mot") == b""
    assert "sheet.jpg" in zipfile.ZipFile(io.BytesIO(exported(case, index, "zip"))).namelist()
    place = places_of(index.store, [1])[1]
    case = store.judge(case.line.id, place, "confirmed", by="ann")  # and looks for nobody
    assert json.loads(exported(case, index, "json"))["confirmed"][0]["similarity"] is None
    assert json.loads(exported(case, index, "coco"))["annotations"][0]["similarity"] is None
    store.close()


def test_only_so_many_pictures(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fdps.serve.cases.export.MOST_PICTURES", 1)
    case = judged(index, tmp_path, confirmed=[1, 3, 5])
    archive = zipfile.ZipFile(io.BytesIO(exported(case, index, "zip")))
    manifest = json.loads(archive.read("manifest.json"))
    assert (len(manifest["pictures"]), manifest["pictures_left_out"]) == (1, [2, 3])


def test_the_photos_of_this_page_hold_two_people_each(index: Index) -> None:
    assert len(index) == 2 * index.n_scenes == 6
