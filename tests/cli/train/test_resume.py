import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import save_file
from torchvision.models import mobilenet_v2

from fake.commands import (
    ELSEWHERE,
    CallAt,
    assert_same_end,
    interrupt,
    read_all,
    read_lines,
    train,
)
from fake.runs import SignalAt, tiny_recipe, write_scenes
from fdps.cli.main import main
from fdps.config import load_recipe, to_toml

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def project(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with scenes and a recipe that names them from there."""
    folder = tmp_path_factory.mktemp("project")
    write_scenes(folder / "data")
    (folder / "tiny.toml").write_text(to_toml(tiny_recipe(Path("data"))))
    return folder


@pytest.fixture(scope="module")
def stopped(project: Path) -> Path:
    """A run that was stopped in the middle of its second epoch: steps 3 and 4 are kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        interrupt(Path("tiny.toml"), Path("stopped"), at=4)
    assert {path.name for path in (project / "stopped" / "ckpt").iterdir()} == {
        *("e001s00003", "e001s00004", "latest")
    }
    return project / "stopped"


@pytest.fixture(scope="module")
def whole(project: Path) -> Path:
    """The same run, never stopped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        assert train(Path("tiny.toml"), Path("whole"), "--quiet") == 0
    return project / "whole"


@pytest.fixture
def run(stopped: Path, tmp_path: Path) -> Path:
    """A copy of the stopped run."""
    return Path(shutil.copytree(stopped, tmp_path / "run"))


# --- the folder knows all that is needed


@pytest.mark.long
def test_it_goes_on_and_ends_as_if_it_had_never_stopped(
    run: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["resume", str(run)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"Weights {run / 'weights.safetensors'}",
        f"Next    fdps predict {run}",
    ]
    assert err.splitlines()[:3] == [
        "Data    6 scenes, 18 people, 2 ids",
        f"Page    {run / 'index.html'}",
        f"Continue at step 4, from {run / 'ckpt' / 'e001s00004'}",
    ]
    assert "step 5/6" in err
    assert "Changed" not in err
    assert_same_end(run, whole)
    assert [record["step"] for record in read_lines(run / "log.jsonl")] == [1, 2, 3, 4, 5, 6]
    ours, theirs = (read_lines(folder / "epochs.jsonl") for folder in (run, whole))
    for record, expected in zip(ours, theirs, strict=True):
        assert record["grad_trunk"] == expected["grad_trunk"]  # a mean over both sessions


@pytest.mark.long
@pytest.mark.parametrize("has_data_of_its_own", [False, True])
def test_relative_folders_of_data_start_where_the_run_did(
    has_data_of_its_own: bool,
    run: Path,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    if has_data_of_its_own:
        write_scenes(Path("data"), n_scenes=4)
    assert load_recipe(run / "recipe.toml").data.train[0].root == "data"
    assert main(["resume", str(Path("..", "run")), "--quiet"]) == 0
    assert_same_end(run, whole)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.unlink(),
        lambda file: file.write_text("{"),
        lambda file: file.write_text("[]"),
        lambda file: file.write_text('{"folder": 7}'),
        lambda file: file.write_text('{"folder": "/gone"}'),
    ],
)
def test_without_a_word_on_where_it_started_they_start_here(
    spoil: Callable[[Path], object],
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(run / "environment.json")
    monkeypatch.chdir(tmp_path)
    assert main(["resume", str(run), "--quiet"]) == 3
    assert "no data at data" in capsys.readouterr().err


@pytest.mark.long
def test_a_project_that_was_moved_as_a_whole_is_no_matter(
    run: Path, whole: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = json.loads((run / "environment.json").read_text())
    (run / "environment.json").write_text(json.dumps(environment | {"folder": "/gone"}))
    monkeypatch.chdir(project)
    assert main(["resume", str(run), "--quiet"]) == 0
    assert_same_end(run, whole)
    assert load_recipe(run / "recipe.toml").data.train[0].root == "data"


@pytest.mark.long
def test_data_that_have_moved_can_be_named(
    run: Path, whole: Path, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = shutil.copytree(project / "data", tmp_path / "moved" / "data")
    recipe = (run / "recipe.toml").read_text().replace('"data"', '"gone"')
    (run / "recipe.toml").write_text(recipe)
    assert main(["resume", str(run), "--quiet"]) == 3
    assert "no data at gone" in capsys.readouterr().err
    assert main(["resume", str(run), "--root", str(moved), "--quiet"]) == 0
    assert_same_end(run, whole)
    assert load_recipe(run / "recipe.toml").data.train[0].root == str(moved)


@pytest.mark.long
def test_weights_of_the_backbone_are_needed_once(project: Path, tmp_path: Path) -> None:
    weights = tmp_path / "backbone.safetensors"
    save_file(mobilenet_v2(weights=None).state_dict(), weights)
    recipe = tiny_recipe(project / "data", epochs=1)
    recipe = replace(recipe, model=replace(recipe.model, backbone_weights=str(weights)))
    (tmp_path / "tiny.toml").write_text(to_toml(recipe))
    interrupt(tmp_path / "tiny.toml", tmp_path / "run", at=1)
    assert train(tmp_path / "tiny.toml", tmp_path / "whole", "--quiet") == 0
    weights.unlink()
    assert main(["resume", str(tmp_path / "run"), "--quiet"]) == 0
    assert_same_end(tmp_path / "run", tmp_path / "whole")


@pytest.mark.long
def test_a_run_without_a_checkpoint_begins(run: Path, whole: Path) -> None:
    shutil.rmtree(run / "ckpt")
    assert main(["resume", str(run), "--quiet"]) == 0
    assert_same_end(run, whole)
    assert [record["step"] for record in read_lines(run / "log.jsonl")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.long
def test_a_finished_run_has_nothing_left_to_do(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    before = read_all(run)
    assert main(["resume", str(run), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"run": str(run), "weights": str(run / "weights.safetensors")}
    assert err.splitlines()[2:] == [f"Continue at step 6, from {run / 'ckpt' / 'e002s00006'}"]
    after = read_all(run)
    same = {name for name in before if before[name] == after[name]}
    assert {name for name in same if name.startswith("ckpt/")} == {
        name for name in before if name.startswith("ckpt/")
    }
    assert {"weights.safetensors", "log.jsonl", "epochs.jsonl"} <= same
    assert "<title>run: finished</title>" in after["index.html"].decode()


@pytest.mark.long
def test_json_is_one_object_and_quiet_is_quiet(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["resume", str(run), "--json", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"run": str(run), "weights": str(run / "weights.safetensors")}
    assert err == ""


# --- what may change, and what may not


@pytest.mark.long
def test_how_it_is_computed_may_change(
    run: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = ["train.workers=2", "train.decoded_gib=1", "train.log_every=3", "train.keep_last=1"]
    options = [word for setting in changed for word in ("--set", setting)]
    assert main(["resume", str(run), *options]) == 0
    assert "Changed" not in capsys.readouterr().err  # none of these touches a bit
    assert_same_end(run, whole)
    assert [record["step"] for record in read_lines(run / "log.jsonl")] == [1, 2, 3, 4, 6]
    assert {path.name for path in (run / "ckpt").iterdir()} == {"e002s00006", "latest"}
    assert load_recipe(run / "recipe.toml").train.workers == 2


@pytest.mark.long
def test_what_moves_the_last_bits_is_said(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = ["--set", "train.accumulate=2", "--set", "train.channels_last=false"]
    assert main(["resume", str(run), *changed]) == 0
    assert (
        "Changed  accumulate 2 instead of 1, channels_last False instead of True: "
        "not to the last bit the run it would be\n"
    ) in capsys.readouterr().err
    assert [record["step"] for record in read_lines(run / "log.jsonl")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("train.lr=0.5", "train.lr is 0.5 here and 0.003 there"),
        ("train.epochs=9", "train.epochs is 9 here and 2 there"),
        ("loss.sigma=0.25", "loss.sigma is 0.25 here and 0.5 there"),
        ("model.short_side=[48]", "model.short_side is (48,) here and (64,) there"),
    ],
)
def test_what_is_learnt_may_not(
    setting: str, words: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_all(run)
    assert main(["resume", str(run), "--set", setting]) == 2
    out, err = capsys.readouterr()
    assert f"error: {run} holds a run of another recipe: {words}\n" in err
    assert "choose another run folder" in err
    assert not out
    assert read_all(run) == before


def test_other_data_are_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scenes(tmp_path / "other", n_scenes=5)
    before = read_all(run)
    assert main(["resume", str(run), "--root", str(tmp_path / "other")]) == 2
    error = capsys.readouterr().err
    assert f"error: {run} was trained on other data than is given now" in error
    assert "--root" in error
    assert read_all(run) == before


@pytest.mark.parametrize(
    "make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_text("x")]
)
def test_another_folder_is_refused(
    make: Callable[[Path], object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    make(run)
    before = read_all(tmp_path)
    assert main(["resume", str(run)]) == 3
    out, err = capsys.readouterr()
    assert err == (
        f"error: {run} is not the folder of a run: it has no recipe.toml\n"
        "  start one with: fdps train RECIPE\n"
    )
    assert not out
    assert read_all(tmp_path) == before


def test_a_run_of_an_older_version_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "checkpoint.safetensors").write_bytes(b"before there were folders")
    assert main(["resume", str(run)]) == 5
    assert "holds a run of an older fdps" in capsys.readouterr().err


# --- damage


@pytest.mark.long
def test_a_damaged_checkpoint_is_named_and_passed_over(
    run: Path,
    whole: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    optimizer = run / "ckpt" / "e001s00004" / "optim.safetensors"
    content = bytearray(optimizer.read_bytes())
    content[-1] ^= 1
    optimizer.write_bytes(content)
    assert main(["resume", str(run)]) == 0
    (warning,) = [r.getMessage() for r in caplog.records if r.name == "fdps"]  # goes to stderr
    assert f"{optimizer.parent} is damaged: optim.safetensors has changed" in warning
    assert warning.endswith("going on from e001s00003")
    shown = capsys.readouterr().err
    assert f"Continue at step 3, from {run / 'ckpt' / 'e001s00003'}\n" in shown
    assert_same_end(run, whole)
    assert [record["step"] for record in read_lines(run / "log.jsonl")] == [1, 2, 3, 4, 5, 6]


def test_with_all_checkpoints_damaged_it_says_what_can_be_done(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for model in run.glob("ckpt/*/model.safetensors"):
        model.write_bytes(b"")
    before = read_all(run)
    assert main(["resume", str(run)]) == 5
    error = capsys.readouterr().err
    assert f"error: no checkpoint of {run} can be used: checkpoint " in error
    assert "model.safetensors has changed since it was written" in error
    assert f"remove {run / 'ckpt'} to start the run anew" in error
    assert read_all(run) == before


# --- one at a time


def without_events(files: dict[str, bytes]) -> dict[str, bytes]:
    """Without what TensorBoard writes whenever it likes, in a thread of the training process."""
    return {name: content for name, content in files.items() if "tensorboard" not in name}


@pytest.mark.long
def test_while_one_trains_another_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def resume_elsewhere() -> None:
        before = without_events(read_all(run))
        command = [*ELSEWHERE, "resume", str(run)]
        seen.append(subprocess.run(command, capture_output=True, text=True, check=False))
        seen.append(before == without_events(read_all(run)))

    monkeypatch.setattr("sys.stderr", CallAt(5, resume_elsewhere))
    assert main(["resume", str(run)]) == 0
    ended, is_untouched = seen
    assert ended.returncode == 7
    pid = (run / ".lock").read_text().strip()
    assert f"error: {run} is being trained by process {pid}\n" in ended.stderr
    assert "wait until it has ended" in ended.stderr
    assert "step" not in ended.stderr
    assert is_untouched


@pytest.mark.long
def test_a_stopped_run_is_stopped_again(
    run: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with redirect_stderr(SignalAt(5, signal.SIGTERM)) as shown:
        assert main(["resume", str(run)]) == 128 + signal.SIGTERM
    assert f"Stopped {run}\nNext    fdps resume {run}\n" in shown.getvalue()
    assert not (run / "weights.safetensors").exists()
    assert capsys.readouterr().out == ""
    assert main(["resume", str(run), "--quiet"]) == 0
    assert_same_end(run, whole)
