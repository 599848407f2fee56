import csv
import io
import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from fake.network import write_network
from fake.photos import write_photos
from fake.videos import people_frames, write_video
from fdps.analysis.numbered import numbered_picture
from fdps.bundled import bundled_weights
from fdps.cli.main import main
from fdps.pictures import read_picture
from fdps.searcher import load
from fdps.structures import Detections


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detect")
    write_photos(folder / "photos", 2)
    (folder / "photos/torn.png").write_bytes(b"torn")
    write_network(folder / "weights.safetensors", n_people=2)
    return folder


def detect(folder: Path, *arguments: object) -> int:
    model = folder / "weights.safetensors"
    command = ["detect", folder / "photos", "--model", model, "--quiet", *arguments]
    return main([str(word) for word in command])


def expected(folder: Path) -> list[tuple[str, Detections]]:
    searcher = load(folder / "weights.safetensors")
    names = ["000.png", "001.png"]
    return [(f"photos/{name}", searcher.detect(folder / "photos" / name)) for name in names]


@pytest.mark.long
def test_json_names_scenes_and_people(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert detect(folder) == 0
    out, err = capsys.readouterr()
    scenes = json.loads(out)["scenes"]
    for scene, (name, people) in zip(scenes, expected(folder), strict=True):
        assert (scene["scene"], scene["width"], scene["height"]) == (name, 160, 120)
        np.testing.assert_allclose([p["box"] for p in scene["people"]], people.boxes, atol=0.051)
        np.testing.assert_allclose([p["score"] for p in scene["people"]], people.scores, atol=6e-4)
    assert "Found   4 people in 2 pictures" in err
    assert f"Skipped {folder / 'photos/torn.png'}: is not a picture" in err


def test_csv_has_a_line_per_person(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert detect(folder, "--format", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["scene"] for row in rows] == [
        name for name, p in expected(folder) for _ in p.scores
    ]
    assert list(rows[0]) == ["scene", "x1", "y1", "x2", "y2", "score"]


@pytest.mark.long
def test_coco_has_width_and_height(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "out/people.json"
    assert detect(folder, "--format", "coco", "-o", file) == 0
    coco = json.loads(file.read_text())
    boxes = np.concatenate([people.boxes for _, people in expected(folder)])
    sizes = boxes[:, 2:] - boxes[:, :2]
    found = np.array([annotation["bbox"] for annotation in coco["annotations"]])
    np.testing.assert_allclose(found, np.concatenate([boxes[:, :2], sizes], axis=1), atol=0.11)
    assert [image["file_name"] for image in coco["images"]] == ["photos/000.png", "photos/001.png"]
    assert [a["image_id"] for a in coco["annotations"]] == [1, 1, 2, 2]
    assert [path.name for path in file.parent.iterdir()] == ["people.json"]


@pytest.mark.long
def test_embeddings_are_in_the_order_of_the_people(folder: Path, tmp_path: Path) -> None:
    assert detect(folder, "--embeddings", tmp_path / "people.npy") == 0
    rows = np.concatenate([people.embeddings for _, people in expected(folder)])
    np.testing.assert_allclose(np.load(tmp_path / "people.npy"), rows, atol=1e-6)


def test_dash_dash_json_is_one_object(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert detect(folder, "--format", "csv", "-o", tmp_path / "people.csv", "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["n_people"], len(figures["scenes"])) == (4, 2)
    assert [Path(row["file"]).name for row in figures["skipped"]] == ["torn.png"]
    assert (tmp_path / "people.csv").read_text().startswith("scene,x1")


def test_nobody_is_no_error(folder: Path, tmp_path: Path) -> None:
    assert detect(folder, "--min-score", "0.9", "--embeddings", tmp_path / "people.npy") == 0
    assert np.load(tmp_path / "people.npy").shape == (0, 16)


def test_nothing_readable_is_an_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(folder / "weights.safetensors")
    assert main(["detect", str(folder / "photos/torn.png"), "--model", model, "-q"]) == 3
    assert "none of 1 files could be read" in capsys.readouterr().err


def test_an_unknown_format_is_wrong_usage(folder: Path) -> None:
    assert detect(folder, "--format", "xml") == 2


@pytest.fixture(scope="module")
def clip(folder: Path) -> Path:
    return write_video(folder / "videos/clip.mp4", people_frames(20))


def on(folder: Path, *arguments: object) -> int:
    model = folder / "weights.safetensors"
    return main([str(word) for word in ["detect", *arguments, "--model", model, "--quiet"]])


def seen_in(folder: Path, clip: Path, every: int) -> list[Detections]:
    """People in every so manieth frame, decoded here."""
    searcher = load(folder / "weights.safetensors")
    with av.open(str(clip)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return [searcher.detect(frame) for frame in frames[::every]]


@pytest.mark.long
def test_mot_has_a_line_per_person_and_frame(folder: Path, clip: Path, tmp_path: Path) -> None:
    file, rows = tmp_path / "clip.txt", tmp_path / "clip.npy"
    options = ("--format", "mot", "--every", "5f", "-o", file, "--embeddings", rows)
    assert on(folder, clip, *options) == 0
    lines = [line.split(",") for line in file.read_text().splitlines()]
    people = seen_in(folder, clip, 5)
    assert [int(line[0]) for line in lines] == [
        frame for frame, found in zip((1, 6, 11, 16), people, strict=True) for _ in found.scores
    ]
    assert all(line[1] == "-1" and line[7:] == ["-1"] * 3 for line in lines)
    boxes = np.concatenate([found.boxes for found in people])
    expected = np.concatenate([boxes[:, :2] + 1, boxes[:, 2:] - boxes[:, :2]], axis=1)
    found = np.array([line[2:6] for line in lines], dtype=float)
    np.testing.assert_allclose(found, expected, atol=0.11)
    scores = np.concatenate([found.scores for found in people])
    np.testing.assert_allclose([float(line[6]) for line in lines], scores, atol=6e-4)
    embeddings = np.concatenate([found.embeddings for found in people])
    np.testing.assert_allclose(np.load(rows), embeddings, atol=1e-5)


def test_mot_takes_pictures_for_a_sequence(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert on(folder, folder / "photos/torn.png", folder / "photos", "--format", "mot") == 0
    frames = [line.split(",")[0] for line in capsys.readouterr().out.splitlines()]
    assert frames == ["2", "2", "3", "3"]  # the first could not be read


def test_mot_holds_one_video(folder: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert on(folder, clip, folder / "photos", "--format", "mot") == 2
    assert "got 1 videos and 3 pictures" in capsys.readouterr().err


@pytest.mark.long
def test_frames_of_videos_are_scenes(
    folder: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["videos/clip.mp4@00:00:00.000", "videos/clip.mp4@00:00:01.000"]
    assert on(folder, clip, "--every", "1s") == 0
    out, err = capsys.readouterr()
    scenes = json.loads(out)["scenes"]
    assert [(s["scene"], s["frame"], s["offset_s"]) for s in scenes] == [
        (names[0], 0, 0.0),
        (names[1], 10, 1.0),
    ]
    assert "Found   4 people in 2 pictures and frames" in err
    assert on(folder, clip, "--every", "1s", "--format", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["scene"] for row in rows] == [name for name in names for _ in range(2)]
    assert on(folder, clip, "--every", "1s", "--format", "coco") == 0
    images = json.loads(capsys.readouterr().out)["images"]
    assert [(image["file_name"], image["frame"]) for image in images] == [
        (names[0], 0),
        (names[1], 10),
    ]


@pytest.mark.long
def test_a_torn_video_is_read_in_part_and_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torn = write_video(tmp_path / "torn.mp4", people_frames(60), options={"movflags": "+faststart"})
    torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])
    assert on(folder, torn, "--every", "1f") == 0
    out, err = capsys.readouterr()
    n_frames = len(json.loads(out)["scenes"])
    assert 10 < n_frames < 50
    assert f"Skipped {torn}: it ends after" in err
    assert f"{n_frames} frames of it were read" in err


def test_frames_that_make_no_sense_are_refused(folder: Path, clip: Path) -> None:
    assert on(folder, clip, "--every", "often") == 2


@pytest.mark.long
def test_a_numbered_picture_shows_whom_a_number_means(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new/numbered.jpg"
    model = folder / "weights.safetensors"
    words = ["detect", folder / "photos/000.png", "--model", model, "--picture", out, "--quiet"]
    assert main([str(word) for word in words]) == 0
    people = load(model).detect(folder / "photos/000.png")
    expected = numbered_picture(read_picture(folder / "photos/000.png"), people)
    with Image.open(out) as drawn:
        assert drawn.size == expected.size
        difference = np.abs(np.asarray(drawn, np.int64) - np.asarray(expected, np.int64))
    assert difference.mean() < 4  # what JPEG changes


def test_only_one_picture_can_be_numbered(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert detect(folder, "--picture", tmp_path / "numbered.jpg") == 2
    assert "--picture draws one picture, got 3 files" in capsys.readouterr().err
    assert not (tmp_path / "numbered.jpg").exists()


@pytest.mark.long
def test_a_copy_of_bundled_weights_is_warned_of_too(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "mine.safetensors"
    weights = bundled_weights("drawn-people")
    assert weights is not None
    copy.write_bytes(weights.read_bytes())
    for model in ("drawn-people", copy):
        words = ["detect", folder / "photos/000.png", "--model", model, "--json"]
        assert main([str(word) for word in words]) == 0
        assert "Warning drawn-people knows drawn people only" in capsys.readouterr().err
    assert detect(folder) == 0
    assert "Warning" not in capsys.readouterr().err
