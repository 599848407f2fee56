"""One network trained by two processes, as the documents say: by the command line."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fake.coco import write_coco
from fake.commands import assert_same_end, read_lines, train
from fake.runs import last_state, tiny_recipe
from fake.two_step import tiny_detector, two_step_recipe
from fdps.cli.main import main
from fdps.config import DataConfig, LossConfig, Recipe, Source, to_toml
from fdps.engine.checkpoint import newest_checkpoint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.usefixtures("one_thread"),
]

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
N_STEPS = 20


def gentle_recipe(folder: Path) -> Recipe:
    """Ten epochs of two steps, at rates so small that rounding is not magnified."""
    recipe = tiny_recipe(epochs=10, batch_size=4, warmup_epochs=0.0, lr=1e-5, max_grad_norm=0.1)
    return replace(
        recipe,
        data=DataConfig(
            train=(Source("coco", str(folder), "train"),),
            validation=Source("coco", str(folder), "test"),
        ),
        model=replace(recipe.model, norm="frozen"),
        loss=replace(recipe.loss, temperature=0.2),
        train=replace(recipe.train, validate_every=1),
    )


@pytest.fixture(scope="module")
def folder(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes and a recipe."""
    folder = tmp_path_factory.mktemp("torchrun")
    write_coco(folder, person_ids=(4, 9, -1), size=(96, 72))
    (folder / "tiny.toml").write_text(to_toml(gentle_recipe(folder)))
    return folder


def launch(*words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*TORCHRUN, "-m", "fdps", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )


def command(folder: Path, run: Path) -> list[str]:
    return ["train", str(folder / "tiny.toml"), "--out", str(run)]


@pytest.fixture(scope="module")
def whole(folder: Path) -> tuple[Path, str, str]:
    """A run of two processes that was never stopped, and what it printed."""
    with launch(*command(folder, folder / "whole")) as process:
        out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return folder / "whole", out, err


@pytest.fixture(scope="module")
def alone(folder: Path) -> Path:
    """The same run of one process."""
    assert train(folder / "tiny.toml", folder / "alone", "--quiet") == 0
    return folder / "alone"


@pytest.fixture(scope="module")
def stopped(folder: Path) -> tuple[Path, str, str]:
    """The same run, terminated after a few steps, and what it printed."""
    shown = []
    with launch(*command(folder, folder / "stopped")) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stderr:
            shown.append(line)
            if line.startswith("step 3/"):
                process.send_signal(signal.SIGTERM)
                break
        out, err = process.communicate(timeout=600)
    assert process.returncode != 0
    return folder / "stopped", out, "".join(shown) + err


def test_two_processes_learn_what_one_learns(whole: tuple[Path, str, str], alone: Path) -> None:
    assert largest_difference(whole[0], alone) < 1e-5


def largest_difference(one: Path, other: Path) -> float:
    """In the network and what its loss remembers."""
    ours, theirs = last_state(one), last_state(other)
    learnt = [name for name in ours if name.startswith(("model/", "oim/"))]
    assert len(learnt) > 100
    return max(float((ours[k].double() - theirs[k].double()).abs().max()) for k in learnt)


def test_one_process_speaks_and_writes(whole: tuple[Path, str, str]) -> None:
    run, out, err = whole
    assert out.splitlines() == [
        f"Weights {run / 'weights.safetensors'}",
        f"Next    fdps predict {run}",
    ]
    steps = [line.split("  ")[0] for line in err.splitlines() if line.startswith("step ")]
    assert steps == [f"step {step}/{N_STEPS}" for step in range(1, N_STEPS + 1)]
    for beginning in ("Data ", "Page ", "epoch "):
        assert sum(line.startswith(beginning) for line in err.splitlines()) == 1
    records = read_lines(run / "log.jsonl")
    assert [record["step"] for record in records] == list(range(1, N_STEPS + 1))
    epochs = read_lines(run / "epochs.jsonl")
    assert [record["epoch"] for record in epochs] == list(range(1, 11))
    assert all("mAP" in record for record in epochs)
    assert {path.name for path in (run / "ckpt").iterdir()} == {
        *("e001s00002", "e009s00018", "e010s00020", "latest", "best")
    }
    assert len(list((run / "samples").iterdir())) == 10
    assert len(list((run / "tensorboard").iterdir())) == 1
    assert "<title>whole: finished</title>" in (run / "index.html").read_text()


def test_both_processes_take_part(whole: tuple[Path, str, str], alone: Path) -> None:
    checkpoint = newest_checkpoint(whole[0])
    assert checkpoint is not None
    assert checkpoint.state["facts"]["computing"]["processes"] == 2
    assert len(checkpoint.state["random"]) == 2
    seen = [
        [record["people"] for record in read_lines(run / "log.jsonl")] for run in (whole[0], alone)
    ]
    assert seen[0] == seen[1]  # of the whole batch


def test_terminated_they_stop_together_and_keep_the_last_step(
    stopped: tuple[Path, str, str],
) -> None:
    run, out, err = stopped
    assert out == ""
    assert err.count(f"Stopped {run}\nNext    fdps resume {run}\n") == 1
    last = read_lines(run / "log.jsonl")[-1]["step"]
    assert 3 <= last < N_STEPS
    assert last_state(run)["progress"][0] == last
    assert "<title>stopped: stopped</title>" in (run / "index.html").read_text()


def test_one_process_can_go_on_and_says_so(
    whole: tuple[Path, str, str],
    stopped: tuple[Path, str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = Path(shutil.copytree(stopped[0], tmp_path / "run"))
    assert main(["resume", str(run)]) == 0
    error = capsys.readouterr().err
    assert "Changed  processes 1 instead of 2: not to the last bit the run it would be\n" in error
    assert largest_difference(run, whole[0]) < 1e-5
    assert [record["step"] for record in read_lines(run / "log.jsonl")] == list(
        range(1, N_STEPS + 1)
    )


def test_two_processes_go_on_as_if_they_had_never_stopped(
    whole: tuple[Path, str, str], stopped: tuple[Path, str, str]
) -> None:
    with launch("resume", str(stopped[0]), "--json") as process:
        out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert out.count("\n") == 1
    assert out.startswith('{"run": ')
    assert err.count("Continue at step ") == 1
    assert "Changed" not in err
    assert_same_end(stopped[0], whole[0])
    assert torch.equal(*(last_state(run)["random/1"] for run in (stopped[0], whole[0])))


def test_two_processes_learn_two_steps_as_one_does(folder: Path, tmp_path: Path) -> None:
    recipe = two_step_recipe(
        tiny_detector(tmp_path),
        boxes="both",
        match_iou=0.01,
        norm="frozen",
        epochs=2,
        lr=1e-5,
        warmup_epochs=0.0,
        max_grad_norm=0.1,
    )
    # Triplets are those of one process, so that two have others.
    recipe = replace(recipe, data=gentle_recipe(folder).data, loss=LossConfig(identity_weight=1.0))
    (tmp_path / "tiny.toml").write_text(to_toml(recipe))
    for name in ("two", "one"):
        words = ["train", str(tmp_path / "tiny.toml"), "--out", str(tmp_path / name / "run")]
        if name == "one":
            assert main([*words, "--quiet"]) == 0
            continue
        with launch(*words) as process:
            _, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
        assert err.count("Detect  0 of 6 scenes") == 1
    assert largest_difference(tmp_path / "two" / "run", tmp_path / "one" / "run") < 1e-5
