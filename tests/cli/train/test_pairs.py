"""``fdps predict --pairwise`` and ``fdps evaluate --pairwise``."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fake.coco import write_coco
from fake.tiny import CONFIG
from fdps.cli.main import main
from fdps.config import DataConfig, LossConfig, Recipe, Source, to_toml
from fdps.evaluation.pairwise.pairs_file import load_pairs
from fdps.models import build_model
from fdps.models.weights import save_weights


def write_run(tmp_path: Path, system: str) -> Path:
    data, run = tmp_path / "data", tmp_path / system
    write_coco(data, n_images=4)
    run.mkdir()
    recipe = Recipe(name="run", data=DataConfig(test=Source("coco", str(data), "test")))
    (run / "recipe.toml").write_text(to_toml(recipe))
    config, loss = replace(CONFIG, system=system), LossConfig()
    save_weights(build_model(config), config, loss, 2, run / "weights.safetensors")
    return run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder of a small untrained pair-wise network; its data are beside it."""
    return write_run(tmp_path, "qeeps")


@pytest.mark.long
def test_pairs_are_predicted_and_measured(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(run), "--pairwise", "--quiet"]) == 0
    printed = capsys.readouterr()
    assert "6 pairs of 2 queries and 4 scenes" in printed.out
    assert printed.out.splitlines()[-1] == f"Next    fdps evaluate {run} --pairwise"
    assert sorted(path.name for path in run.iterdir()) == [
        "pairs.safetensors",
        "recipe.toml",
        "weights.safetensors",
    ]
    files = ["--out", str(run / "r.json"), "--csv", str(run / "r.csv")]
    assert main(["evaluate", str(run), "--pairwise", *files, "--score-threshold", "0"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "2 queries, 3 scenes each" in shown
    assert "6 pairs of" in shown
    assert "strict" in shown
    assert json.loads((run / "r.json").read_text())["pairs"]["n_pairs"] == 6
    assert len((run / "r.csv").read_text().splitlines()) == 3


@pytest.mark.long
def test_what_is_done_outlives_a_disk_that_cannot_take_the_result(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict, file = ["predict", str(run), "--pairwise", "--quiet"], run / "pairs.safetensors"
    file.mkdir()  # a result cannot take the place of a folder
    assert main(predict) != 0
    assert "pairs.safetensors" in capsys.readouterr().err
    (kept,) = run.glob(".pairs*.parts")
    parts = [load_pairs(path) for path in sorted(kept.iterdir())]
    file.rmdir()
    # Pairs of another choice leave alone what is done of these.
    assert main([*predict, "--queries", "1"]) == 0
    assert kept.is_dir()
    assert main(predict) == 0
    assert not list(run.glob(".pairs*"))
    # Computed anew, pairs would have taken another time.
    assert load_pairs(file).seconds_pairs == sum(part.seconds_pairs for part in parts) > 0


def test_json_names_what_was_done(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run.parent / "elsewhere" / "pairs.safetensors"
    chosen = ["--pairwise", "--queries", "1", "--seed", "3", "-o", str(out)]
    assert main(["predict", str(run), *chosen, "--json", "--quiet"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["pairs"] == str(out)
    assert (figures["n_queries"], figures["n_pairs"], figures["n_scenes"]) == (1, 3, 4)
    assert figures["seconds_per_pair"] > 0
    given = ["--pairwise", "--predictions", str(out), "--json"]
    assert main(["evaluate", str(run), *given]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["search"]["n_queries"] == 1
    assert set(figures) == {"detection", "search", "protocol", "gallery_size", "pairs"}


@pytest.mark.long
def test_a_pair_wise_system_says_what_is_to_be_chosen(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(run)]) == 2
    told = capsys.readouterr().err
    assert "is a pair-wise system: what it finds depends on who is sought" in told
    assert f"fdps predict {run} --pairwise" in told
    assert main(["predict", str(run), "--no-pairwise", "--quiet"]) == 0
    assert (run / "predictions.safetensors").is_file()
    assert main(["evaluate", str(run), "--json"]) == 0
    assert "pairs" not in json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.long
def test_a_plain_system_may_be_compared_pair_by_pair(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path, "oim_base")
    options = ["--json", "--score-threshold", "0"]
    assert main(["predict", str(run), "--quiet"]) == 0
    assert main(["predict", str(run), "--pairwise", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(run), *options]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert main(["evaluate", str(run), "--pairwise", *options]) == 0
    pairs = json.loads(capsys.readouterr().out)
    assert pairs["search"] == plain["search"]
    assert pairs["detection"] == plain["detection"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["predict", "--subset", "mini", "--no-pairwise"], "--subset and --queries choose pairs"),
        (["predict", "--pairwise", "--subset", "mini"], "no subset of queries 'mini'"),
        (["predict", "--pairwise", "--queries", "0"], "at least 1, got 0"),
        (["predict", "--pairwise", "--ground-truth-boxes"], "pairs have no embeddings"),
        (["evaluate", "--pairwise", "--html", "r.html"], "--html draws what embeddings tell"),
    ],
)
def test_what_makes_no_sense_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    (run / "pairs.safetensors").touch()
    assert main([words[0], str(run), *words[1:]]) == 2
    assert told in " ".join(capsys.readouterr().err.split())


def test_a_run_without_pairs_says_how_to_make_them(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(run), "--pairwise"]) == 3
    assert f"make it with: fdps predict {run} --pairwise" in capsys.readouterr().err


@pytest.mark.long
def test_an_archive_is_indexed_by_the_network_without_a_query(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures, archive = run.parent / "data" / "images", run.parent / "archive.fdps"
    assert main(["index", str(pictures), "-o", str(archive), "--model", str(run), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["n_scenes"] == 4
