import json
from pathlib import Path

import numpy as np
import pytest

from fake.coco import write_coco
from fake.photos import write_photos
from fdps.cli.main import main
from fdps.data import load_scenes
from fdps.data.synthetic import SyntheticConfig, draw_dataset
from fdps.embedders import load


def label(*arguments: object) -> int:
    return main(["data", "label", *map(str, arguments), "--quiet"])


@pytest.mark.long
def test_the_bundled_network_labels_drawn_scenes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_dataset(
        SyntheticConfig(n_train_scenes=2, n_test_scenes=2, n_train_persons=3, n_test_persons=3),
        tmp_path / "drawn",
    )
    out, pictures = tmp_path / "out", tmp_path / "drawn" / "images"
    assert label(pictures, "--teacher", "drawn-people", "-o", out, "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    scenes = load_scenes("folder", out, "train")
    teacher = load("drawn-people", min_score=0.2)
    assert (figures["n_scenes"], figures["n_people"]) == (4, scenes.n_boxes)
    assert scenes.n_boxes > 0
    assert scenes.teacher_hash == teacher.model_hash
    from fdps.pictures import read_picture

    scene = next(scene for scene in scenes.scenes if len(scene.boxes))
    people = teacher.detect(read_picture(scene.path))
    sure = people.scores >= 0.5
    assert scene.boxes == pytest.approx(people.boxes[sure], abs=1e-3)
    assert scene.teacher is not None
    assert scene.teacher.astype(np.float32) == pytest.approx(people.embeddings[sure], abs=2e-3)
    assert 'model = "drawn-people"' in (out / "fdps.toml").read_text()
    assert label(pictures, "--teacher", "drawn-people", "-o", out) == 2
    assert "holds something already" in capsys.readouterr().err


@pytest.mark.long
def test_skipped_files_are_named_and_strict_tells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photos(tmp_path / "photos", 1)
    (tmp_path / "photos" / "b.jpg").write_bytes(b"no")
    given = (tmp_path / "photos", "--teacher", "drawn-people", "-o", tmp_path / "out")
    assert label(*given, "--strict") == 4
    assert f"Skipped {tmp_path / 'photos' / 'b.jpg'}: " in capsys.readouterr().out
    assert label(tmp_path / "photos" / "b.jpg", *given[1:-1], tmp_path / "no") == 3


def test_a_data_set_keeps_its_identities(tmp_path: Path) -> None:
    write_coco(tmp_path / "coco", n_images=2, person_ids=(4, 9), size=(96, 72))
    given = ("--teacher", "drawn-people", "-o", tmp_path / "out", "--split", "test")
    assert label("--root", tmp_path / "coco", "--data", "coco", *given) == 0
    scenes = load_scenes("folder", tmp_path / "out", "test")
    assert scenes.person_ids == [4, 9]
    assert all(s.teacher is not None and not np.isnan(s.teacher).any() for s in scenes.scenes)
    shared = (*given, "--per-identity", "--force")
    assert label("--root", tmp_path / "coco", "--data", "coco", *shared) == 0
    assert "per_identity = true" in (tmp_path / "out" / "fdps.toml").read_text()


def test_the_mean_of_an_identity_needs_identities(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photos(tmp_path / "photos", 1)
    given = (tmp_path / "photos", "--teacher", "drawn-people", "-o", tmp_path / "out")
    assert label(*given, "--per-identity") == 2
    assert "give --root" in capsys.readouterr().err


def test_pictures_or_a_data_set_but_not_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert label("--teacher", "drawn-people", "-o", tmp_path / "out") == 2
    assert "give pictures and videos, or --root" in capsys.readouterr().err
