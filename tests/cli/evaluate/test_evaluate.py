import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from fake.coco import write_coco, write_json
from fake.found import perfect
from fdps.cli.main import main
from fdps.config import DataConfig, Recipe, Source, to_toml
from fdps.data import load_scenes
from fdps.predictions import save_predictions
from fdps.structures import SceneSet


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
    assert printed.err in ("", f"Scoring {run / 'predictions.safetensors'}\n")  # a busy machine


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
    options += ["--cameras", "same", "--query-expansion", "2", "--rerank", "cbgm-mean"]
    sizes = ("hits=10", "people=3", "weight=0.5")
    options += [word for size in sizes for word in ("--rerank-set", size)]
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
        "cameras": "same",
        "min_seconds_gap": 0.0,
        "subset": None,
        "query_expansion": 2,
        "rerank": "cbgm-mean",
        "rerank_options": {
            "hits": 10,
            "people": 3,
            "shortlist": 100,
            "neighbours": 20,
            "averaged": 6,
            "weight": 0.5,
        },
        "rules": None,
    }
    assert "queries averaged with 2 hits, re-ranked by cbgm-mean" in printed.out
    assert json.loads(out.read_text())["rules"]["repeated_entries"] == "counted"
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.long
def test_reports_for_people_and_for_tables_are_written(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: run / "reports" / f"all.{name}" for name in ("html", "csv")}
    options = [word for name, file in files.items() for word in (f"--{name}", str(file))]
    assert main(["evaluate", str(run), *options, "--out", str(run / "all.json")]) == 0
    printed = capsys.readouterr()
    assert all(str(file) in printed.err for file in files.values())
    assert "Person search on" in files["html"].read_text(encoding="utf-8")
    assert files["csv"].read_text().count("\n") == 3
    record = json.loads((run / "all.json").read_text())
    assert record["intervals"]["mAP"] == [1, 1]
    assert record["wrong_hits"][0]["label"] == "the first hit"


def test_intervals_are_printed_when_they_are_asked_for(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(run), "--bootstrap", "100"]) == 0
    assert "95 % intervals over queries: mAP 1.000 to 1.000" in capsys.readouterr().out
    assert main(["evaluate", str(run), "--bootstrap", "100", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["intervals"]["top1"] == [1, 1]


def test_both_protocols_are_shown(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run)]) == 0
    printed = capsys.readouterr().out
    assert "reference" in printed
    assert "strict" in printed
    assert main(["evaluate", str(run), "--protocol", "strict", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["protocol"] == "strict"


def foreign_file(path: Path, scenes: SceneSet, changed: dict[str, object]) -> Path:
    """A predictions file as another system would write it, with safetensors alone."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([np.full(len(s.boxes), i) for i, s in enumerate(scenes.scenes)])
    identity = np.eye(12, dtype=np.float32)
    tensors = {
        "boxes": np.concatenate([scene.boxes for scene in scenes.scenes]),
        "scores": rng.uniform(0.6, 1, len(rows)).astype(np.float32),
        "embeddings": identity[np.concatenate([s.person_ids for s in scenes.scenes])],
        "scene": rows.astype(np.int64),
        "query_embeddings": identity[[query.person_id for query in scenes.queries]],
    }
    header: dict[str, object] = {
        "format": "fdps-predictions",
        "version": 1,
        "scenes": [scene.name for scene in scenes.scenes],
        "queries": [
            {"scene": q.scene, "box": q.box.tolist(), "person_id": q.person_id}
            for q in scenes.queries
        ],
    }
    tensors |= {name: value for name, value in changed.items() if isinstance(value, np.ndarray)}
    header |= {name: v for name, v in changed.items() if not isinstance(v, np.ndarray)}
    tensors = {n: t for n, t in tensors.items() if n not in changed or changed[n] is not None}
    save_file(tensors, path, metadata={"fdps": json.dumps(header)})
    return path


def test_a_file_of_another_system_is_scored(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = run.parent / "data"
    file = foreign_file(run.parent / "theirs.safetensors", load_scenes("coco", data, "test"), {})
    options = ["--predictions", str(file), "--data", "coco", "--root", str(data)]
    assert main(["evaluate", *options, "--gallery", "100", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["detection"] == {"recall": 1, "ap": 1}
    assert figures["search"]["mAP"] == figures["search"]["top1"] == 1
    assert figures["gallery_size"] == 5  # the set has no more


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scores": None}, "tensor 'scores' is missing"),
        ({"scores": np.ones((2, 2), np.float32)}, "tensor 'scores' must have shape"),
        ({"scene": np.zeros(3, np.int32)}, "tensor 'scene' must be I64, got I32"),
        ({"queries": "all"}, "metadata 'queries' must be a list"),
        ({"version": 7}, "format version 7, this fdps reads 1"),
        ({"scenes": ["a", "b"]}, "tensor 'scene' must be in 0..1"),
    ],
)
def test_a_malformed_file_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, object], message: str
) -> None:
    data = run.parent / "data"
    scenes = load_scenes("coco", data, "test")
    file = foreign_file(run.parent / "theirs.safetensors", scenes, changed)
    options = ["--predictions", str(file), "--data", "coco", "--root", str(data)]
    assert main(["evaluate", *options, "--json"]) == 3
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""


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
        (["RUN", "--gallery", "many"], "'all', 'full' or a number of scenes, got 'many'"),
        (["RUN", "--gallery", "0"], "at least 1 scene, got 0"),
        (["RUN", "--protocol", "lenient"], "unknown protocol 'lenient'"),
        (["RUN", "--cameras", "both"], "unknown cameras 'both'"),
        (["RUN", "--rerank", "magic"], "unknown rerank 'magic'"),
        (["RUN", "--rerank-set", "k1=3"], "--rerank-set knows no 'k1'"),
        (["RUN", "--rerank-set", "hits=3.5"], "hits must be a whole number, got '3.5'"),
        (["RUN", "--rerank-set", "weight=much"], "weight must be a number, got 'much'"),
        (["RUN", "--rerank-set", "weight=2"], "in [0, 1], got 2.0"),
        (["RUN", "--query-expansion", "-1"], "query_expansion must be at least 0, got -1"),
        (["RUN", "--min-seconds-gap", "5"], "min_seconds_gap needs the time of every scene"),
        (["RUN", "--subset", "mini"], "no subset of queries 'mini'"),
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


def test_predictions_of_nobody_are_measured_and_said(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenes = load_scenes("coco", run.parent / "data", "test")
    nobody = replace(
        perfect(scenes, 10),
        boxes=np.zeros((0, 4), dtype=np.float32),
        scores=np.zeros(0, dtype=np.float32),
        embeddings=np.zeros((0, 4), dtype=np.float32),
        scene=np.zeros(0, dtype=np.int64),
        query_embeddings=np.eye(4, dtype=np.float32)[: len(scenes.queries)],
    )
    save_predictions(nobody, run / "predictions.safetensors")
    for options in ([], ["--rerank", "cbgm"], ["--rerank", "k-reciprocal"]):
        assert main(["evaluate", str(run), *options, "--query-expansion", "3"]) == 0
        out = capsys.readouterr().out
        assert "0 detections of score 0.5" in out
        assert "nobody was found" in out
    assert main(["evaluate", str(run), "--json", "--bootstrap", "10"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["detection"]["recall"], figures["search"]["mAP"]) == (0, 0)


def test_without_queries_only_detections_are_measured(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = run.parent / "unasked"
    write_json(data, write_coco(data) | {"queries": []})
    scenes = load_scenes("coco", data, "test")
    save_predictions(perfect(scenes, 10), run / "predictions.safetensors")
    reports = ["--out", str(run / "r.json"), "--csv", str(run / "r.csv"), "--bootstrap", "10"]
    assert main(["evaluate", str(run), "--root", str(data), *reports]) == 0
    out = capsys.readouterr().out
    assert "no queries: only the detections are measured" in out
    assert "queries, 0 scenes each" not in out
    assert len((run / "r.csv").read_text().splitlines()) == 1
    assert main(["evaluate", str(run), "--root", str(data), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["search"]["mAP"], figures["detection"]["recall"]) == (None, 1)
