import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fake.coco import write_coco
from fake.found import perfect
from fdps.cli.evaluate.compared_runs import group_by_seed
from fdps.cli.evaluate.comparison_table import difference_cells, figure_text, verdict
from fdps.cli.main import main
from fdps.config import DataConfig, Recipe, Source, TrainConfig, to_toml
from fdps.data import load_scenes
from fdps.evaluation.comparison import Difference, Figure
from fdps.evaluation.statistics import Interval
from fdps.predictions import Predictions, save_predictions


def write_run(
    run: Path, data: Path, *, seed: int = 1, epochs: int = 20, worse: bool = False
) -> Path:
    """A run folder with a recipe and predictions, perfect or with everybody alike."""
    run.mkdir()
    recipe = Recipe(
        name=run.name,
        data=DataConfig(test=Source("coco", str(data), "test")),
        train=TrainConfig(seed=seed, epochs=epochs),
    )
    (run / "recipe.toml").write_text(to_toml(recipe))
    found: Predictions = perfect(load_scenes("coco", data, "test"), 10)
    if worse:
        flat = np.full_like(found.embeddings, 10**-0.5)
        found = replace(found, embeddings=flat)
    save_predictions(found, run / "predictions.safetensors")
    return run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_coco(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def runs(tmp_path: Path, data: Path) -> list[str]:
    return [
        str(write_run(tmp_path / "good", data)),
        str(write_run(tmp_path / "bad", data, epochs=9, worse=True)),
    ]


def test_tables_say_what_differs_and_that_chance_explains_it(
    runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *runs]) == 0
    printed = capsys.readouterr()
    assert "Difference to good" in printed.out
    assert "chance can explain it" in printed.out  # two queries prove nothing
    assert "One seed says nothing" in printed.out
    assert printed.err in ("", "Scoring 2 runs\n")  # a busy machine


def test_json_is_one_object_and_nothing_else(
    runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *runs, "--json", "--by-person", "--gallery", "5"]) == 0
    compared = json.loads(capsys.readouterr().out)
    assert (compared["n_queries"], compared["n_units"]) == (2, 2)
    good, bad = compared["systems"]
    assert (good["name"], good["n_seeds"], good["differences"]) == ("good", 1, {})
    assert good["figures"]["mAP"]["value"] == 1
    assert bad["differences"]["mAP"]["value"] < 0
    assert bad["differences"]["mAP"]["p_value"] == 0.5  # two of four sign patterns


def test_runs_that_differ_in_the_seed_are_one_row(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds = [str(write_run(tmp_path / f"s{k}", data, seed=k, worse=k > 1)) for k in (1, 2, 3)]
    other = str(write_run(tmp_path / "other", data, epochs=5))
    assert main(["compare", *seeds, other]) == 0
    printed = capsys.readouterr().out
    assert "s1 (3 seeds)" in printed
    assert "±" in printed


def test_a_second_run_with_the_same_seed_is_another_row() -> None:
    recipe = Recipe(name="a")
    other = replace(recipe, train=TrainConfig(seed=2))
    paths = {name: Path(name) for name in "abcdef"}
    groups = group_by_seed(
        {
            paths["a"]: recipe,
            paths["b"]: replace(recipe, name="b"),
            paths["c"]: other,
            paths["d"]: None,
            paths["e"]: None,
            paths["f"]: replace(recipe, train=TrainConfig(epochs=9)),
        }
    )
    assert [[path.name for path in group] for group in groups] == [
        ["a", "c"],
        ["b"],
        ["d"],
        ["e"],
        ["f"],
    ]


def test_predictions_files_need_the_data_named(
    runs: list[str], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [f"{run}/predictions.safetensors" for run in runs]
    assert main(["compare", *files]) == 2
    assert "which data?" in capsys.readouterr().err
    options = ["--data", "coco", "--root", str(data), "--split", "test", "--json"]
    assert main(["compare", *files, *options]) == 0


def test_other_data_are_refused(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_coco(tmp_path / "more", seed=1)
    stranger = write_run(tmp_path / "stranger", tmp_path / "more")
    assert main(["compare", *runs, str(stranger)]) == 3
    printed = capsys.readouterr()
    assert "were predicted on different data" in printed.err
    assert "data hashes" in printed.err
    assert printed.out == ""


def test_recipes_that_name_other_data_are_refused(
    runs: list[str], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = Path(runs[1]) / "recipe.toml"
    moved.write_text(moved.read_text().replace(str(data), str(data) + "2"))
    assert main(["compare", *runs]) == 2
    assert "tested on different data" in capsys.readouterr().err
    root = ["--data", "coco", "--root", str(data)]
    assert main(["compare", *runs, *root, "--json"]) == 0  # said explicitly, it is the same


def test_mistakes_are_named(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", runs[0], runs[0]]) == 2
    assert "given twice" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["compare", runs[0], str(tmp_path / "empty")]) == 3
    assert "fdps predict" in capsys.readouterr().err
    assert main(["compare", *runs, "--gallery", "some"]) == 2
    assert "'all', 'full' or a number" in capsys.readouterr().err


def test_cells() -> None:
    real = Difference(0.05, Interval(0.02, 0.08), 0.0001, 0.0004)
    assert difference_cells(real) == ("+5.0", "+2.0 to +8.0", "<0.001", "better")
    assert verdict(replace(real, value=-0.05)) == "worse"
    assert verdict(replace(real, p_corrected=0.05)) == "chance can explain it"
    none = replace(real, value=float("nan"))
    assert difference_cells(none) == ("–", "–", "–", "no queries")
    assert figure_text(Figure(0.5, None, float("nan"))) == "50.0"
    assert figure_text(Figure(0.5, Interval(0.4, 0.6), 0.01)) == "50.0 ± 1.0\n\\[40.0, 60.0]"
    assert figure_text(Figure(float("nan"), None, float("nan"))) == "–"
