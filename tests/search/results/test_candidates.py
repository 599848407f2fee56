"""Candidates as JSON, CSV, COCO and MOT; and the pictures of their scenes."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from fake.embedder import ColourEmbedder
from fake.photos import write_photos
from fake.videos import people_frames, write_video
from fdps.errors import UsageError
from fdps.pictures import read_picture
from fdps.search import Index
from fdps.search.care.scene_pictures import scene_pictures
from fdps.search.results.candidates import (
    CSV_COLUMNS,
    Candidate,
    as_coco,
    as_csv,
    as_json,
    as_mot,
    candidates,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures and a video of twenty frames."""
    folder = tmp_path_factory.mktemp("candidates")
    write_photos(folder / "photos", 3)
    write_video(folder / "clip.mp4", people_frames(20), keyframe_every=8)
    with Index.create(folder / "a.fdps", ColourEmbedder()) as index:
        index.add(folder / "photos", camera="hall")
        index.add(folder / "clip.mp4", every="3f", camera='ga"te, north')
    return folder


def found(folder: Path, **filters: str) -> list[Candidate]:
    with Index.open(folder / "a.fdps") as index:
        return candidates(index, index.search(index.person(1), 50, **filters))  # type: ignore[arg-type]


def test_csv_and_json_say_the_same(folder: Path) -> None:
    everybody = found(folder)
    rows = list(csv.DictReader(io.StringIO(as_csv(everybody))))
    objects = as_json(everybody)
    assert len(rows) == len(objects) == len(everybody) > 10
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [int(row["rank"]) for row in rows] == list(range(1, len(rows) + 1))
    for row, entry, candidate in zip(rows, objects, everybody, strict=True):
        corners = [float(row[corner]) for corner in ("x1", "y1", "x2", "y2")]
        assert corners == entry["box"] == candidate.hit.box.tolist()
        assert float(row["similarity"]) == entry["similarity"] == candidate.hit.similarity
        assert (row["scene"], row["camera"]) == (entry["scene"], entry["camera"])
        assert row["path"] == entry["path"]
        assert row["frame"] == ("" if entry["frame"] is None else str(entry["frame"]))
    assert {row["camera"] for row in rows} == {"hall", 'ga"te, north'}


def test_coco(folder: Path) -> None:
    everybody = found(folder)
    coco = as_coco(everybody)
    names = {image["id"]: image["file_name"] for image in coco["images"]}
    assert len(names) == len(set(names.values())) == len({c.hit.scene for c in everybody})
    for annotation, candidate in zip(coco["annotations"], everybody, strict=True):
        x, y, width, height = annotation["bbox"]
        assert [x, y, x + width, y + height] == pytest.approx(candidate.hit.box.tolist())
        assert names[annotation["image_id"]] == candidate.hit.scene
        assert annotation["area"] == pytest.approx(width * height)
        assert annotation["similarity"] == candidate.hit.similarity


def test_mot_of_one_video(folder: Path) -> None:
    in_video = found(folder, source="*.mp4")
    rows = [line.split(",") for line in as_mot(in_video).splitlines()]
    assert len(rows) == len(in_video) > 5
    frames = [int(row[0]) for row in rows]
    assert frames == sorted(frames)
    assert set(frames) <= {1 + 3 * k for k in range(7)}  # frames count from 1
    assert {row[1] for row in rows} == {"1"}
    first = next(c for c in in_video if c.scene and c.scene.frame + 1 == frames[0])
    x1, y1, x2, y2 = first.hit.box.tolist()
    assert [float(value) for value in rows[0][2:6]] == pytest.approx(
        [x1 + 1, y1 + 1, x2 - x1, y2 - y1],
        abs=0.06,  # pixels count from 1, as our reader has it
    )
    assert rows[0][7:] == ["-1", "-1", "-1"]


def test_mot_holds_no_pictures(folder: Path) -> None:
    with pytest.raises(UsageError, match="MOT is a format for one video"):
        as_mot(found(folder))
    assert as_mot([]) == ""


def test_nobody() -> None:
    assert as_csv([]) == ",".join(CSV_COLUMNS) + "\n"
    assert as_json([]) == []
    assert as_coco([])["annotations"] == []


def test_pictures_of_scenes_are_those_that_were_indexed(folder: Path) -> None:
    scenes = {c.hit.scene: c.scene for c in found(folder) if c.scene}
    pictures = scene_pictures(scenes.values())
    assert set(pictures) == set(scenes)
    embedder, n_boxes = ColourEmbedder(), 0
    with Index.open(folder / "a.fdps") as index:
        for name, picture in pictures.items():
            assert isinstance(picture, np.ndarray)
            there = index.people_in(name)
            again = embedder.detect(picture)
            np.testing.assert_array_equal(again.boxes, [person.box for person in there])
            n_boxes += len(again)
    assert n_boxes > 10
    photo = next(scene for scene in scenes.values() if scene.offset_s is None)
    np.testing.assert_array_equal(pictures[photo.name], read_picture(Path(photo.path)))


@pytest.mark.long
def test_files_that_changed_or_are_gone_give_no_picture(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 3)
    with Index.create(tmp_path / "a.fdps", ColourEmbedder()) as index:
        index.add(tmp_path / "photos")
        scenes = [index.scene(f"photos/00{k}.png") for k in range(3)]
    (tmp_path / "photos/000.png").unlink()
    (tmp_path / "photos/001.png").write_bytes((tmp_path / "photos/002.png").read_bytes())
    pictures = scene_pictures(scene for scene in scenes if scene)
    assert pictures["photos/000.png"] == "cannot be read: No such file or directory"
    assert pictures["photos/001.png"] == "the file has changed since it was indexed"
    assert isinstance(pictures["photos/002.png"], np.ndarray)
    assert scene_pictures([]) == {}
