import hashlib
import json
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fake.coco import write_coco, write_json
from fake.commands import CallAt, assert_same_end, interrupt, read_lines, train
from fake.runs import last_state, tiny_recipe
from fdps.cli.main import main
from fdps.config import DataConfig, ModelConfig, Recipe, Source, to_toml
from fdps.data import load_scenes
from fdps.engine.checkpoint import read_checkpoint
from fdps.engine.validation import search_figures
from fdps.searcher import load

pytestmark = pytest.mark.usefixtures("one_thread")

FIGURES = ("recall", "ap", "mAP", "top1")


def lenient(model: ModelConfig) -> ModelConfig:
    """Almost everything counts as a person, so that something is found after a few steps."""
    return replace(
        model,
        anchor_ratios=(2.0, 3.0),
        anchor_sizes=(24, 32),
        rpn_after_nms=(30, 60),
        foreground_iou=0.1,
        background_iou=0.05,
        positive_fraction=1.0,
    )


def validated(folder: Path, **changes: Any) -> Recipe:
    """A recipe that is searched on the scenes of a folder after every epoch."""
    recipe = tiny_recipe(**{"milestones": (), "warmup_epochs": 0.0, "lr": 1e-3} | changes)
    return replace(
        recipe,
        data=DataConfig(
            train=(Source("coco", str(folder), "train"),),
            validation=Source("coco", str(folder / "validation"), "test"),
        ),
        model=lenient(recipe.model),
        train=replace(recipe.train, validate_every=1),
    )


@pytest.fixture(scope="module")
def folder(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes to train on, other ones to validate on, and a recipe."""
    folder = tmp_path_factory.mktemp("validated")
    write_coco(folder, person_ids=(4, 9, -1), size=(96, 72))
    write_coco(folder / "validation", person_ids=(1, 2), size=(96, 72), seed=5)
    (folder / "tiny.toml").write_text(to_toml(validated(folder, epochs=3)))
    return folder


class _HashAtEpochs(CallAt):
    """Note the hash of the weights whenever a row of the table of epochs is shown."""

    def __init__(self, weights: Path) -> None:
        super().__init__(0, lambda: None)
        self.weights, self.hashes = weights, []

    def write(self, text: str) -> int:
        if text.split()[:1] and text.split()[0].isdigit():
            self.hashes.append(hashlib.sha256(self.weights.read_bytes()).hexdigest())
        return super().write(text)


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    """A run of three epochs; what was shown and the weights after every epoch are kept beside."""
    run = folder / "whole"
    with redirect_stderr(_HashAtEpochs(run / "weights.safetensors")) as stream:
        assert train(folder / "tiny.toml", run) == 0
    (folder / "hashes.json").write_text(json.dumps(stream.hashes))
    (folder / "shown").write_text(stream.getvalue())
    return run


# --- what it writes


def test_every_epoch_is_searched(whole: Path, folder: Path) -> None:
    records = read_lines(whole / "epochs.jsonl")
    assert [record["epoch"] for record in records] == [1, 2, 3]
    for record in records:
        assert all(0 <= record[figure] <= 1 for figure in FIGURES)
    assert max(record["mAP"] for record in records) > 0
    head = next(
        line for line in (folder / "shown").read_text().splitlines() if line.startswith("epoch")
    )
    assert head.split() == [
        *("epoch", "rpn_score", "rpn_box", "person", "box", "reid"),
        *(*FIGURES, "time"),
    ]


def best_of(run: Path) -> dict[str, Any]:
    """The record of the first of the best epochs."""
    return max(read_lines(run / "epochs.jsonl"), key=lambda record: record["mAP"])


def test_weights_are_those_of_the_best_epoch(whole: Path, folder: Path) -> None:
    records, best = read_lines(whole / "epochs.jsonl"), best_of(whole)
    reached = [max(record["mAP"] for record in records[:n]) for n in range(1, 4)]
    is_best = [n == 0 or reached[n] > reached[n - 1] for n in range(3)]
    assert [bool(record.get("is_best")) for record in records] == is_best
    assert not all(is_best)  # else nothing is tested here
    hashes = json.loads((folder / "hashes.json").read_text())
    assert [n == 0 or hashes[n] != hashes[n - 1] for n in range(3)] == is_best
    final = hashlib.sha256((whole / "weights.safetensors").read_bytes()).hexdigest()
    assert final == hashes[best["epoch"] - 1]


def test_the_best_epoch_is_marked(whole: Path) -> None:
    best = best_of(whole)["epoch"]
    name = f"e{best:03}s{3 * best:05}"
    assert (whole / "ckpt" / "best").read_text() == f"{name}\n"
    checkpoint = read_checkpoint(whole / "ckpt" / name).tensors["model"]
    weights = load_file(whole / "weights.safetensors")
    assert [k for k, v in weights.items() if k in checkpoint and not v.equal(checkpoint[k])] == []
    assert len(weights.keys() & checkpoint.keys()) > 100


def test_the_figures_are_those_of_the_weights(whole: Path, folder: Path) -> None:
    scenes = load_scenes("coco", folder / "validation", "test")
    best = best_of(whole)
    assert search_figures(load(whole), scenes) == {figure: best[figure] for figure in FIGURES}


@pytest.mark.long
def test_looking_changes_nothing_that_is_learnt(whole: Path, folder: Path) -> None:
    unseen = folder / "unseen"
    off = ["--set", "train.validate_every=0", "--quiet"]
    assert train(folder / "tiny.toml", unseen, *off) == 0
    ours, theirs = last_state(whole), last_state(unseen)
    assert ours.keys() == theirs.keys()
    differing = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert differing == ["progress"]  # it knows the best so far
    assert not (unseen / "ckpt" / "best").exists()


# --- stopped and continued


@pytest.mark.long
def test_an_epoch_that_was_not_searched_before_the_stop_is_searched_after_it(
    whole: Path, folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    interrupt(folder / "tiny.toml", run, at=6)  # ends epoch 2
    assert [record["epoch"] for record in read_lines(run / "epochs.jsonl")] == [1]
    assert (run / "weights.safetensors").exists()  # of epoch 1
    assert main(["resume", str(run), "--quiet"]) == 0
    assert_same_end(run, whole)
    timed = {"seconds", "images_per_s", "data_share", "memory_gib"}
    ours, theirs = (
        [{k: v for k, v in record.items() if k not in timed} for record in read_lines(file)]
        for file in (run / "epochs.jsonl", whole / "epochs.jsonl")
    )
    assert ours == theirs


@pytest.mark.long
def test_an_epoch_is_written_down_once_though_its_checkpoint_was_lost(
    whole: Path, folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    interrupt(folder / "tiny.toml", run, at=3)
    # What a session leaves that continues here and is killed after the line, before the checkpoint.
    line = (whole / "epochs.jsonl").read_text().splitlines(keepends=True)[0]
    (run / "epochs.jsonl").write_text(line)
    assert main(["resume", str(run), "--quiet"]) == 0
    assert [record["epoch"] for record in read_lines(run / "epochs.jsonl")] == [1, 2, 3]
    assert "reid" in read_lines(run / "epochs.jsonl")[0]
    assert_same_end(run, whole)


# --- patience


@pytest.fixture(scope="module")
def patient(folder: Path) -> Path:
    """A run that finds nobody, ever, and so ends two validations after the first."""
    run = folder / "patient"
    recipe = validated(folder, epochs=9)
    recipe = replace(recipe, model=tiny_recipe().model, train=replace(recipe.train, patience=2))
    (folder / "patient.toml").write_text(to_toml(recipe))
    assert train(folder / "patient.toml", run, "--quiet") == 0
    return run


def test_patience_ends_a_run_early(patient: Path) -> None:
    records = read_lines(patient / "epochs.jsonl")
    assert [record["mAP"] for record in records] == [0, 0, 0]
    assert [bool(record.get("is_best")) for record in records] == [True, False, False]
    assert (patient / "ckpt" / "best").read_text() == "e001s00003\n"
    assert {path.name for path in (patient / "ckpt").glob("e*")} == {
        *("e001s00003", "e002s00006", "e003s00009")  # the best stays beside the two newest
    }
    page = (patient / "index.html").read_text()
    assert "<title>patient: finished</title>" in page
    assert "9 of 9" in page


@pytest.mark.long
def test_a_run_out_of_patience_has_nothing_left_to_do(
    patient: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("weights.safetensors", "log.jsonl", "epochs.jsonl")
    before = [(patient / name).read_bytes() for name in names]
    for command in (
        ["resume", str(patient), "--json"],
        ["train", str(folder / "patient.toml"), "--out", str(patient), "--json"],
    ):
        assert main(command) == 0
        out, err = capsys.readouterr()
        assert json.loads(out)["weights"] == str(patient / "weights.safetensors")
        assert "Continue at step 9" in err
        assert "step 10/" not in err
        assert [(patient / name).read_bytes() for name in names] == before
        assert "<title>patient: finished</title>" in (patient / "index.html").read_text()


@pytest.mark.long
def test_patience_outlasts_a_stop(patient: Path, folder: Path, tmp_path: Path) -> None:
    interrupt(folder / "patient.toml", tmp_path / "run", at=7)  # one validation before the last
    assert main(["resume", str(tmp_path / "run"), "--quiet"]) == 0
    assert_same_end(tmp_path / "run", patient)
    assert len(read_lines(tmp_path / "run" / "epochs.jsonl")) == 3


# --- when it is due, and when it cannot be


@pytest.mark.long
def test_without_a_validation_that_was_due_the_weights_are_the_last(
    folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    rare = ["--set", "train.validate_every=3", "--set", "train.epochs=2", "--quiet"]
    assert train(folder / "tiny.toml", run, *rare) == 0
    assert all("mAP" not in record for record in read_lines(run / "epochs.jsonl"))
    assert not (run / "ckpt" / "best").exists()
    model, weights = last_state(run), load_file(run / "weights.safetensors")
    assert [k for k, v in weights.items() if not v.equal(model.get(f"model/{k}", v))] == []


@pytest.mark.long
def test_scenes_without_queries_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = write_coco(tmp_path / "data", person_ids=(1, 2), size=(96, 72))
    write_json(tmp_path / "data", content | {"queries": []})
    recipe = validated(folder)
    source = Source("coco", str(tmp_path / "data"), "test")
    recipe = replace(recipe, data=replace(recipe.data, validation=source))
    (tmp_path / "tiny.toml").write_text(to_toml(recipe))
    assert train(tmp_path / "tiny.toml", tmp_path / "run") == 2
    out, err = capsys.readouterr()
    assert "has no queries, so nothing can be validated on it" in err
    assert "train.validate_every=0" in err
    assert not out
    assert not (tmp_path / "run").exists()
    never = ("--set", "train.validate_every=0", "--set", "train.epochs=1", "--quiet")
    assert train(tmp_path / "tiny.toml", tmp_path / "run", *never) == 0


# --- the mean of the weights


@pytest.fixture(scope="module")
def averaged(folder: Path) -> Path:
    """A run of two epochs that keeps the mean of its weights."""
    run = folder / "averaged"
    mean = ["--set", "train.ema=0.9", "--set", "train.epochs=2", "--quiet"]
    assert train(folder / "tiny.toml", run, *mean) == 0
    return run


def test_the_mean_is_what_is_searched_and_kept(averaged: Path, folder: Path) -> None:
    checkpoint = read_checkpoint(averaged / "ckpt" / (averaged / "ckpt" / "best").read_text()[:-1])
    weights, mean = load_file(averaged / "weights.safetensors"), checkpoint.tensors["ema"]
    assert len(mean) > 100
    assert [name for name, value in mean.items() if not weights[name].equal(value)] == []
    moving = "roi_heads.heads.person.weight"
    assert not mean[moving].equal(checkpoint.tensors["model"][moving])
    scenes = load_scenes("coco", folder / "validation", "test")
    best = best_of(averaged)
    assert search_figures(load(averaged), scenes) == {figure: best[figure] for figure in FIGURES}


@pytest.mark.long
def test_a_run_with_a_mean_ends_as_if_it_had_never_stopped(
    averaged: Path, folder: Path, tmp_path: Path
) -> None:
    mean = ["--set", "train.ema=0.9", "--set", "train.epochs=2"]
    interrupt(folder / "tiny.toml", tmp_path / "run", *mean, at=4)
    assert main(["resume", str(tmp_path / "run"), "--quiet"]) == 0
    assert_same_end(tmp_path / "run", averaged)


def test_learning_itself_does_not_see_the_mean(averaged: Path, whole: Path) -> None:
    ours, theirs = (
        read_checkpoint(run / "ckpt" / "e002s00006").tensors for run in (averaged, whole)
    )
    assert ours.keys() == theirs.keys() | {"ema"}
    for file, tensors in theirs.items():
        assert [name for name, value in tensors.items() if not ours[file][name].equal(value)] == []
