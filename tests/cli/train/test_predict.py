import json
from pathlib import Path

import numpy as np
import pytest

from fake.coco import write_coco
from fake.commands import interrupt
from fdps.cli.main import main
from fdps.config import DataConfig, LossConfig, ModelConfig, Recipe, Source, to_toml
from fdps.data import load_scenes
from fdps.models import build_model
from fdps.models.weights import save_weights
from fdps.predictions import load_predictions

SMALL = ModelConfig(
    backbone="mobilenet_v2", backbone_weights="none", short_side=(64,), long_side=96
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder of a small untrained network; its data are beside it."""
    data, run = tmp_path / "data", tmp_path / "run"
    write_coco(data, n_images=2)
    run.mkdir()
    recipe = Recipe(name="run", data=DataConfig(test=Source("coco", str(data), "test")))
    (run / "recipe.toml").write_text(to_toml(recipe))
    loss = LossConfig()
    save_weights(build_model(SMALL), SMALL, loss, 2, run / "weights.safetensors")
    return run


@pytest.mark.long
def test_a_run_folder_is_all_it_needs(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(run), "--quiet"]) == 0
    printed = capsys.readouterr()
    found = load_predictions(run / "predictions.safetensors")
    assert found.scenes == ("0000.jpg", "0001.jpg")
    assert len(found.query_embeddings) == 2
    assert printed.out.splitlines()[-1] == f"Next    fdps evaluate {run}"
    assert printed.err == ""


@pytest.mark.long
def test_weights_alone_need_to_be_told_the_data(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, data = run / "weights.safetensors", run.parent / "data"
    assert main(["predict", str(weights)]) == 2
    assert "which data?" in capsys.readouterr().err

    out = run.parent / "elsewhere" / "found.safetensors"
    named = ["--data", "coco", "--root", str(data), "-o", str(out), "--min-score", "0"]
    assert main(["predict", str(weights), *named, "--json"]) == 0
    printed = capsys.readouterr()
    summary = json.loads(printed.out)
    found = load_predictions(out)
    assert summary["predictions"] == str(out)
    assert (summary["n_scenes"], summary["n_queries"]) == (2, 2)
    assert summary["n_detections"] == len(found.boxes)
    assert summary["model_hash"] == found.model_hash
    assert np.isfinite(found.embeddings).all()
    assert "Predict" in printed.err


def test_nothing_is_written_without_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(tmp_path)]) == 3
    assert "no weights" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_an_interrupted_training_is_named_with_the_way_on(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = tmp_path / "begun"
    interrupt(recipe, begun, at=2)
    capsys.readouterr()
    before = sorted(begun.iterdir())
    assert main(["predict", str(begun), "--data", "coco", "--root", str(recipe.parent)]) == 3
    error = capsys.readouterr().err
    assert f"the training in {begun} has not ended" in error
    assert f"fdps resume {begun}" in error
    assert sorted(begun.iterdir()) == before


@pytest.mark.parametrize("device", ["banana", "", "cuda:x", "CPU", "cuda:99"])
def test_a_device_that_is_not_here_is_refused_before_anything(
    device: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(run.iterdir())
    assert main(["predict", str(run), "--device", device, "--quiet"]) == 2
    error = capsys.readouterr().err
    assert "device" in error
    assert "a bug in fdps" not in error
    assert sorted(run.iterdir()) == before


def test_ground_truth_boxes(run: Path) -> None:
    assert main(["predict", str(run), "--quiet", "--ground-truth-boxes"]) == 0
    found = load_predictions(run / "predictions.safetensors")
    scenes = load_scenes("coco", run.parent / "data", "test")
    expected = np.concatenate([scene.boxes for scene in scenes.scenes])
    assert np.array_equal(found.boxes, expected)
    assert (found.scores == 1).all()


@pytest.mark.long
def test_an_oracle_knows_who_is_who(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "oracle.safetensors"
    assert main(["predict", str(run), "--quiet", "--oracle-reid", "-o", str(file)]) == 0
    found = load_predictions(file)
    assert found.model_hash.endswith("+oracle")
    assert found.embeddings.shape[1] == 128
    words = ["--ground-truth-boxes", "--oracle-reid", "-o", str(file)]
    assert main(["predict", str(run), "--quiet", *words]) == 0
    scenes = load_scenes("coco", run.parent / "data", "test")
    known = load_predictions(file)
    ids = np.concatenate([scene.person_ids for scene in scenes.scenes])
    alike = known.embeddings @ known.embeddings.T
    same = (ids[:, None] == ids[None]) & (ids[:, None] >= 0)
    assert (alike[same] > 0.999).all()
    assert (alike[~same & ~np.eye(len(ids), dtype=bool)] < 0.9).all()
