import json
from pathlib import Path

import pytest

from fake.coco import write_coco
from fake.found import perfect
from fdps.cli.main import main
from fdps.config import DataConfig, Recipe, Source, to_toml
from fdps.data import load_scenes
from fdps.predictions import save_predictions


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with a recipe and perfect predictions; its data are beside it."""
    data, run = tmp_path / "data", tmp_path / "run"
    write_coco(data)
    run.mkdir()
    recipe = Recipe(name="run", data=DataConfig(test=Source("coco", str(data), "test")))
    (run / "recipe.toml").write_text(to_toml(recipe))
    found = perfect(load_scenes("coco", data, "test"), 10)
    save_predictions(found, run / "predictions.safetensors")
    return run


def test_a_run_folder_tells_its_data(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run)]) == 0
    printed = capsys.readouterr()
    assert "1.000" in printed.out
    assert "2 queries, 5 scenes each" in printed.out
    assert printed.err == ""


def test_json_is_one_object_and_nothing_else(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, data = run / "predictions.safetensors", run.parent / "data"
    options = ["--predictions", str(file), "--data", "coco", "--root", str(data), "--split", "test"]
    assert main(["evaluate", *options, "--gallery", "3", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert set(figures) == {"detection", "search", "protocol", "gallery_size"}
    assert figures["search"] == {"mAP": 1, "top1": 1, "top5": 1, "top10": 1, "n_queries": 2}
    assert figures["gallery_size"] == 3  # every scene shows both people; all of them stay


def test_the_options_reach_the_evaluator(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run / "reports" / "gap.json"
    options = ["--min-frame-gap", "300", "--weight-by-score", "--score-threshold", "0.1"]
    assert main(["evaluate", str(run), *options, "--seed", "3", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "frames within 300 of a query ignored, 0 queries dropped" in printed.out
    assert str(out) in printed.err
    assert json.loads(out.read_text())["options"] == {
        "protocol": "reference",
        "gallery": "all",
        "seed": 3,
        "min_frame_gap": 300,
        "weight_by_score": True,
        "score_threshold": 0.1,
    }
    assert list(out.parent.iterdir()) == [out]


def test_without_predictions_the_next_command_is_named(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "predictions.safetensors").unlink()
    assert main(["evaluate", str(run)]) == 3
    assert f"fdps predict {run}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to evaluate"),
        (["--predictions", "FILE"], "which data?"),
        (["--predictions", "FILE", "--data", "coco"], "which data?"),
        (["RUN", "--gallery", "many"], "'all' or a number of scenes, got 'many'"),
        (["RUN", "--gallery", "0"], "at least 1 scene, got 0"),
        (["RUN", "--protocol", "strict"], "unknown protocol 'strict'"),
        (["RUN", "--data", "cocoa", "--root", "RUN"], "unknown kind of data 'cocoa'"),
    ],
)
def test_usage_errors(
    run: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    places = {"RUN": str(run), "FILE": str(run / "predictions.safetensors")}
    assert main(["evaluate", *(places.get(word, word) for word in arguments)]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""


def test_predictions_of_other_data_are_refused(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_coco(run.parent / "other", seed=1)
    assert main(["evaluate", str(run), "--root", str(run.parent / "other")]) == 3
    assert "data hash" in capsys.readouterr().err
