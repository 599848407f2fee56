import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fake.runs import SignalAt, tiny_recipe, write_scenes
from fdps.cli.main import main
from fdps.config import load_recipe, to_toml


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Also for the processes started here: runs must be equal to the last bit."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe file; its scenes are beside it."""
    folder = tmp_path_factory.mktemp("recipe")
    write_scenes(folder / "data")
    (folder / "tiny.toml").write_text(to_toml(tiny_recipe(folder / "data")))
    return folder / "tiny.toml"


def train(recipe: Path, run: Path, *options: str) -> int:
    return main(["train", str(recipe), "--out", str(run), *options])


def test_it_ends_with_the_weights_and_the_next_command(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train(recipe, run, "--set", "train.epochs=1") == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"Weights {run / 'weights.safetensors'}",
        f"Next    fdps predict {run}",
    ]
    assert err.splitlines()[0] == "Data    6 scenes, 18 people, 2 ids"
    assert [line.split("  ")[0] for line in err.splitlines()[1:]] == [
        f"step {step}/3" for step in (1, 2, 3)
    ]
    assert load_recipe(run / "recipe.toml").train.epochs == 1


def test_json_is_one_object_and_quiet_is_quiet(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train(recipe, run, "--set", "train.epochs=1", "--json", "--quiet") == 0
    out, err = capsys.readouterr()
    weights = str(run / "weights.safetensors")
    assert json.loads(out) == {"run": str(run), "weights": weights}
    assert err == ""


def test_the_run_folder_has_the_name_of_the_recipe(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", str(recipe), "--set", "train.epochs=0", "--quiet"]) == 0
    assert (tmp_path / "runs" / "train" / "tiny" / "weights.safetensors").is_file()


def test_folder_and_backbone_can_be_given(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(to_toml(tiny_recipe(Path("elsewhere"), epochs=0)))
    data = recipe.parent / "data"
    given = ["--root", str(data), "--backbone-weights", "none", "--quiet"]
    assert train(tmp_path / "r.toml", tmp_path / "run", *given) == 0
    kept = load_recipe(tmp_path / "run" / "recipe.toml")
    assert [source.root for source in kept.data.train] == [str(data)]
    assert kept.model.backbone_weights == "none"


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--set", "train.lrr=0.1"], 2, ["unknown recipe key train.lrr", "did you mean train.lr?"]),
        (["--set", "model.system=fpds"], 2, ["model.system", "'fpds'", "did you mean 'fdps'?"]),
        (["--set", "train.lr=fast"], 2, ["train.lr must be float", "'fast'"]),
        (["--set", "train.lr"], 2, ["--set train.lr: expected section.field=value"]),
        (["--set", "data.train=[]"], 2, ["names no training data"]),
        (["--root", "nowhere"], 3, ["no data at nowhere"]),
        (["--backbone-weights", "gone.safetensors"], 3, ["no backbone weights at gone"]),
    ],
)
def test_a_mistake_is_named_and_leaves_no_run_folder(
    options: list[str],
    code: int,
    words: list[str],
    recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train(recipe, tmp_path / "run", *options) == code
    out, err = capsys.readouterr()
    assert not out
    assert all(word in err for word in words)
    assert "Traceback" not in err
    assert {path.name for path in tmp_path.iterdir()} <= {"cache"}  # of parsed annotations


def test_a_recipe_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "gone.toml", tmp_path / "run") == 3
    assert "no recipe at" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} <= {"cache"}  # of parsed annotations


def test_scenes_without_labelled_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_scenes(tmp_path / "data", n_scenes=2)
    file = tmp_path / "data" / "annotations.json"
    content = json.loads(file.read_text())
    for annotation in content["annotations"]:
        annotation["person_id"] = -1
    file.write_text(json.dumps(content))
    (tmp_path / "r.toml").write_text(to_toml(tiny_recipe(tmp_path / "data")))
    assert train(tmp_path / "r.toml", tmp_path / "run") == 3
    assert "no labelled person" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_picture_is_named(
    workers: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scenes(tmp_path / "data")
    picture = tmp_path / "data" / "images" / "0003.jpg"
    picture.write_bytes(picture.read_bytes()[:700])  # the header is whole, the body is not
    (tmp_path / "r.toml").write_text(to_toml(tiny_recipe(tmp_path / "data", workers=workers)))
    assert train(tmp_path / "r.toml", tmp_path / "run") == 3
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"error: {picture} cannot be decoded: ")


def test_divergence_ends_with_a_clear_word(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    wild = ["train.lr=1e6", "train.warmup_epochs=0", "train.milestones=[]", "train.epochs=20"]
    assert train(recipe, run, *(word for setting in wild for word in ("--set", setting))) == 7
    out, err = capsys.readouterr()
    assert not out
    assert "error: training diverged at step " in err
    assert "lower train.lr" in err
    assert "Traceback" not in err
    assert not (run / "weights.safetensors").exists()


def test_a_run_of_another_recipe_is_not_continued(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(recipe, tmp_path / "run", "--set", "train.epochs=0", "--quiet") == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert train(recipe, tmp_path / "run") == 2
    assert "another recipe" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_ctrl_c_stops_after_a_step_and_the_same_command_continues(
    recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, stream = tmp_path / "run", SignalAt(2)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        assert train(recipe, run) == 130
    assert f"Stopped {run}\nNext    the same command continues\n" in stream.getvalue()
    assert not (run / "weights.safetensors").exists()
    assert train(recipe, run) == 0
    assert capsys.readouterr().err.splitlines()[1].startswith("step 3/6")


def killed(recipe: Path, run: Path, *, at: int, number: signal.Signals) -> int:
    """Train in a process of its own, signal it when a step is shown, and return how it ended."""
    command = [sys.executable, "-m", "fdps", "train", str(recipe), "--out", str(run)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(f"step {at}/"):
                process.send_signal(number)
                break
        process.stderr.read()
        return process.wait()


def test_killed_and_terminated_it_ends_as_if_it_had_never_stopped(
    recipe: Path, tmp_path: Path
) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    # Long enough to be hit before the end, however late the signal comes.
    text = recipe.read_text().replace("epochs = 2", "epochs = 8")
    (tmp_path / "long.toml").write_text(text)
    assert killed(tmp_path / "long.toml", run, at=5, number=signal.SIGKILL) == -signal.SIGKILL
    assert killed(tmp_path / "long.toml", run, at=8, number=signal.SIGTERM) == 128 + signal.SIGTERM
    assert not (run / "weights.safetensors").exists()
    assert train(tmp_path / "long.toml", run, "--quiet") == 0
    assert train(tmp_path / "long.toml", whole, "--quiet") == 0
    ours, theirs = (load_file(folder / "checkpoint.safetensors") for folder in (run, whole))
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
    steps = [json.loads(line)["step"] for line in io.StringIO((run / "log.jsonl").read_text())]
    assert steps == list(range(1, 25))
