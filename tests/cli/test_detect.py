import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from fake.network import write_network
from fake.photos import write_photos
from fdps.cli.main import main
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
