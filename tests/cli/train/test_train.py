import json
import signal
from pathlib import Path

import pytest

from fake.commands import assert_same_end, interrupt, kill, read_all, read_lines, train
from fake.runs import tiny_recipe, write_scenes
from fdps.cli.main import main
from fdps.config import load_recipe, to_toml

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.long
def test_it_says_what_it_does_and_ends_with_the_weights_and_the_next_command(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train(recipe, run, "--set", "train.epochs=1") == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"Weights {run / 'weights.safetensors'}",
        f"Next    fdps predict {run}",
    ]
    data, page, *steps, head, row = err.splitlines()
    assert data == "Data    6 scenes, 18 people, 2 ids"
    assert page == f"Page    {run / 'index.html'}"
    assert [line.split("  ")[0] for line in steps] == [f"step {step}/3" for step in (1, 2, 3)]
    assert head.split() == ["epoch", "rpn_score", "rpn_box", "person", "box", "reid", "time"]
    assert row.split()[0] == "1"
    assert len(row) == len(head)  # columns stand below their names


@pytest.mark.long
def test_the_run_folder_is_complete(recipe: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = tmp_path / "run"
    assert train(recipe, run, "--set", "train.epochs=1", "--quiet") == 0
    assert {path.name for path in run.iterdir()} == {
        *("recipe.toml", "environment.json", "log.jsonl", "epochs.jsonl", "ckpt", ".lock"),
        *("index.html", "samples", "tensorboard", "weights.safetensors"),
    }
    assert {path.name for path in (run / "ckpt").iterdir()} == {"e001s00003", "latest"}
    assert [path.name for path in (run / "samples").iterdir()] == ["e001.jpg"]
    assert len(list((run / "tensorboard").iterdir())) == 1
    assert load_recipe(run / "recipe.toml").train.epochs == 1
    assert json.loads((run / "environment.json").read_text())["folder"] == str(Path.cwd())


@pytest.mark.long
def test_json_is_one_object_and_quiet_is_quiet(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train(recipe, run, "--set", "train.epochs=1", "--json", "--quiet") == 0
    out, err = capsys.readouterr()
    weights = str(run / "weights.safetensors")
    assert json.loads(out) == {"run": str(run), "weights": weights}
    assert err == ""


@pytest.mark.long
def test_the_run_folder_has_the_name_of_the_recipe(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", str(recipe), "--set", "train.epochs=1", "--quiet"]) == 0
    assert (tmp_path / "runs" / "train" / "tiny" / "weights.safetensors").is_file()


@pytest.mark.long
def test_folder_and_backbone_can_be_given(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(to_toml(tiny_recipe(Path("elsewhere"), epochs=1)))
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


@pytest.mark.long
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


@pytest.mark.long
def test_divergence_ends_with_a_clear_word(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    wild = ["train.lr=1e6", "train.warmup_epochs=1", "train.milestones=[]", "train.epochs=20"]
    assert train(recipe, run, *(word for setting in wild for word in ("--set", setting))) == 7
    out, err = capsys.readouterr()
    assert not out
    assert "error: training diverged at step " in err
    assert "lower train.lr" in err
    assert "Traceback" not in err
    assert not (run / "weights.safetensors").exists()


@pytest.mark.long
def test_a_run_of_another_recipe_is_not_continued(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train(recipe, run, "--set", "train.epochs=1", "--quiet") == 0
    before = read_all(run)
    assert train(recipe, run, "--set", "loss.sigma=0.25") == 2
    error = capsys.readouterr().err
    assert f"error: {run} holds a run of another recipe: loss.sigma is 0.25 here and 0.5" in error
    assert "train.epochs is 2 here and 1 there" in error
    assert read_all(run) == before


@pytest.mark.long
def test_ctrl_c_stops_after_a_step_and_the_same_command_continues(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shown = interrupt(recipe, run, at=2)
    assert f"Stopped {run}\nNext    fdps resume {run}\n" in shown
    assert "step 3/" not in shown
    assert [path.name for path in (run / "ckpt").glob("e*")] == ["e000s00002"]
    assert not (run / "weights.safetensors").exists()
    assert train(recipe, run) == 0
    shown = capsys.readouterr().err
    assert f"Continue at step 2, from {run / 'ckpt' / 'e000s00002'}\nstep 3/6" in shown


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_terminated_and_killed_it_ends_as_if_it_had_never_stopped(
    recipe: Path, tmp_path: Path
) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    # Long enough to be hit before the end, however late the signal comes.
    long = ["--set", "train.epochs=7"]
    words = ["train", str(recipe), "--out", str(run), *long, "--set", "train.workers=1"]
    assert kill(*words, at=4, number=signal.SIGTERM) == 128 + signal.SIGTERM
    assert kill(*words, at=8, number=signal.SIGKILL) == -signal.SIGKILL
    assert not (run / "weights.safetensors").exists()
    # At once, while the process that reads pictures has not noticed yet.
    assert train(recipe, run, *long, "--quiet") == 0
    assert train(recipe, whole, *long, "--quiet") == 0
    assert_same_end(run, whole)
    assert [record["step"] for record in read_lines(run / "log.jsonl")] == list(range(1, 22))
    assert [record["epoch"] for record in read_lines(run / "epochs.jsonl")] == list(range(1, 8))
