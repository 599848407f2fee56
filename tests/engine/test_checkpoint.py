import contextlib
import errno
import json
import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fake.runs import last_state, new_learner, rewrite_checkpoint, tiny_recipe, write_scenes
from fdps.config import Recipe
from fdps.engine.checkpoint import (
    newest_checkpoint,
    read_checkpoint,
    restore,
    save_checkpoint,
    unsealed,
)
from fdps.engine.progress import Progress
from fdps.engine.step import Learner
from fdps.engine.train import train
from fdps.errors import ModelError
from fdps.structures import SceneSet

FACTS = {"data": "d", "computing": {}}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> SceneSet:
    return write_scenes(tmp_path_factory.mktemp("data"))


def learner(recipe: Recipe, seed: int = 0) -> Learner:
    torch.manual_seed(seed)
    return new_learner(recipe)


def save(run: Path, step: int, *, n_epochs: int = 0, is_best: bool = False, **train: Any) -> None:
    progress = Progress(step=step, n_epochs=n_epochs)
    save_checkpoint(run, learner(tiny_recipe(**train)), progress, is_best=is_best, facts=FACTS)


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "ckpt").iterdir())


EVERYTHING = {"optimizer": "adamw", "ema": 0.9, "sampling": "hard"}


@pytest.mark.long
@pytest.mark.parametrize("change", [{}, EVERYTHING, {"channels_last": False}])
def test_everything_comes_back_to_the_last_bit(
    change: dict[str, Any], scenes: SceneSet, tmp_path: Path
) -> None:
    recipe = tiny_recipe(**change)
    train(recipe, scenes, tmp_path / "run")
    checkpoint = newest_checkpoint(tmp_path / "run")
    assert checkpoint is not None
    other = learner(recipe, seed=99)
    torch.manual_seed(7)
    progress = restore(other, checkpoint)
    save_checkpoint(tmp_path / "copy", other, progress, facts=FACTS)
    ours, theirs = last_state(tmp_path / "run"), last_state(tmp_path / "copy")
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    if change == EVERYTHING:
        files = {name.partition("/")[0] for name in ours}
        assert {"model", "oim", "optim", "ema", "order"} <= files
        assert {name.rpartition("|")[2] for name in ours if "|" in name} == {
            *("exp_avg", "exp_avg_sq", "step")
        }


@pytest.mark.long
def test_the_scale_of_fp16_gradients_comes_back(scenes: SceneSet, tmp_path: Path) -> None:
    recipe = tiny_recipe(precision="16-mixed", epochs=1)
    train(recipe, SceneSet("few", scenes.scenes[:2]), tmp_path)
    checkpoint = newest_checkpoint(tmp_path)
    assert checkpoint is not None
    other = learner(recipe)
    assert other.scaler is not None
    before = other.scaler.get_scale()
    restore(other, checkpoint)
    assert other.scaler.get_scale() == checkpoint.state["scaler"]["scale"] < before  # it overflowed


@pytest.mark.long
def test_moments_have_the_memory_format_of_their_parameters(
    scenes: SceneSet, tmp_path: Path
) -> None:
    train(tiny_recipe(), scenes, tmp_path)
    checkpoint = newest_checkpoint(tmp_path)
    assert checkpoint is not None
    restored = learner(tiny_recipe(), seed=5)
    restore(restored, checkpoint)
    for parameter, state in restored.optimizer.state.items():
        assert state["momentum_buffer"].stride() == parameter.stride()


@pytest.mark.long
def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    save(tmp_path, 3, n_epochs=1, is_best=True)
    for step in (6, 9, 10):
        save(tmp_path, step, n_epochs=step // 3)
    assert names(tmp_path) == ["best", "e001s00003", "e003s00009", "e003s00010", "latest"]
    assert (tmp_path / "ckpt" / "best").read_text() == "e001s00003\n"
    assert (tmp_path / "ckpt" / "latest").read_text() == "e003s00010\n"
    save(tmp_path, 12, n_epochs=4, is_best=True, keep_last=1)
    assert names(tmp_path) == ["best", "e004s00012", "latest"]


def test_leftovers_of_a_killed_session_go(tmp_path: Path) -> None:
    for left in (".e000s00001.part", ".e000s00000.old"):
        (tmp_path / "ckpt" / left).mkdir(parents=True)
    save(tmp_path, 2)
    assert names(tmp_path) == ["e000s00002", "latest"]


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path) is None
    (tmp_path / "ckpt" / ".e000s00001.part").mkdir(parents=True)  # never finished
    assert newest_checkpoint(tmp_path) is None


def spoilt(path: Path, how: str) -> None:
    file = path / "optim.safetensors"
    match how:
        case "a byte has changed":
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 1
            file.write_bytes(content)
        case "cut short":
            file.write_bytes(file.read_bytes()[:-10])
        case "a file is gone":
            file.unlink()
        case "the state is gone":
            (path / "state.json").unlink()
        case "the state has changed":
            text = (path / "state.json").read_text()
            (path / "state.json").write_text(text.replace('"step": 2', '"step": 1'))
        case "the state is no JSON":
            (path / "state.json").write_text("{")
        case "another format":
            state = unsealed((path / "state.json").read_bytes())
            (path / "state.json").write_text(json.dumps(state | {"seal": "0"}))


DAMAGES = [
    "a byte has changed",
    "cut short",
    "a file is gone",
    "the state is gone",
    "the state has changed",
    "the state is no JSON",
    "another format",
]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two checkpoints of trained moments, after steps 1 and 2."""
    folder = tmp_path_factory.mktemp("two")
    scenes = write_scenes(folder / "data", n_scenes=4)
    train(tiny_recipe(checkpoint_every=1, epochs=1), scenes, folder / "run")
    assert names(folder / "run") == ["e000s00001", "e001s00002", "latest"]
    return folder / "run"


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_with_a_word(
    how: str, two: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Path(shutil.copytree(two, tmp_path / "run"))
    spoilt(run / "ckpt" / "e001s00002", how)
    with pytest.raises(ModelError, match=r"e001s00002 is damaged"):
        read_checkpoint(run / "ckpt" / "e001s00002")
    with caplog.at_level(logging.WARNING, "fdps"):
        found = newest_checkpoint(run)
    assert found is not None
    assert found.path.name == "e000s00001"
    assert "e001s00002 is damaged" in caplog.text
    assert "going on from e000s00001" in caplog.text
    spoilt(run / "ckpt" / "e000s00001", how if how != "the state has changed" else "cut short")
    with pytest.raises(ModelError, match=r"no checkpoint of .* can be used") as caught:
        newest_checkpoint(run)
    assert "to start the run anew" in caught.value.hint


def test_every_changed_byte_of_the_state_is_noticed_or_harmless(two: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(two / "ckpt" / "e001s00002", tmp_path / "c"))
    whole = (path / "state.json").read_bytes()
    state = unsealed(whole)
    for position in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[position] ^= 1 << (position % 8)
        with contextlib.suppress(KeyError, ValueError, TypeError, AttributeError):
            assert unsealed(bytes(changed)) == state  # white space


@pytest.mark.long
def test_a_run_goes_on_from_the_older_one_to_the_same_end(two: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(two, tmp_path / "run"))
    spoilt(run / "ckpt" / "e001s00002", "cut short")
    (run / "weights.safetensors").unlink()
    scenes = write_scenes(tmp_path / "data", n_scenes=4)
    train(tiny_recipe(checkpoint_every=1, epochs=1), scenes, run)
    ours, theirs = last_state(run), last_state(two)
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda run: rewrite_checkpoint(run, "model", {"x": torch.zeros(1)}), "Missing key"),
        (
            lambda run: rewrite_checkpoint(run, "optim", {"nobody|momentum_buffer": torch.ones(1)}),
            "nobody",
        ),
        (
            lambda run: rewrite_checkpoint(
                run,
                "oim",
                load_file(run / "ckpt/e001s00002/oim.safetensors") | {"y": torch.ones(1)},
            ),
            "Unexpected key",
        ),
    ],
)
def test_a_checkpoint_of_another_network_is_refused(
    change: Callable[[Path], None], words: str, two: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(two, tmp_path / "run"))
    change(run)
    checkpoint = newest_checkpoint(run)
    assert checkpoint is not None
    with pytest.raises(ModelError, match="not a checkpoint of this run") as caught:
        restore(learner(tiny_recipe()), checkpoint)
    assert words in str(caught.value)
    assert caught.value.hint


def test_more_processes_than_before_draw_their_own_numbers(two: Path) -> None:
    checkpoint = newest_checkpoint(two)
    assert checkpoint is not None
    fewer = replace(checkpoint, state=checkpoint.state | {"random": []})
    torch.manual_seed(3)
    target = learner(tiny_recipe())
    before = torch.get_rng_state()
    assert restore(target, fewer).step == 2
    assert torch.equal(torch.get_rng_state(), before)


# --- the disk fails


CALLS = ("open", "write", "fsync", "close", "replace", "rename", "mkdir")


KILLED = -1


class FailingDisk:
    """Let the n-th call that touches the disk fail, and count how many there are.

    Args:
        monkeypatch: Undone by the test.
        fail_at: Which call, from 0; -1 lets all pass.
        number: The error, or ``KILLED``.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fail_at: int, number: int) -> None:
        self.n_calls, self.fail_at, self.number = 0, fail_at, number
        for name in CALLS:
            monkeypatch.setattr(os, name, self._failing(getattr(os, name)))

    def _failing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            self.n_calls += 1
            if self.n_calls - 1 == self.fail_at and self.number == KILLED:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.n_calls - 1 == self.fail_at:
                raise OSError(self.number, os.strerror(self.number))
            return call(*arguments, **named)

        return counted


def n_disk_calls(tmp_path: Path) -> int:
    """Calls of one checkpoint beside two others."""
    with pytest.MonkeyPatch.context() as patch:
        save(tmp_path, 1)
        save(tmp_path, 2)
        disk = FailingDisk(patch, -1, errno.EIO)
        save(tmp_path, 3)
    return disk.n_calls


def is_refused(action: Callable[[], None], number: int) -> bool:
    try:
        action()
    except OSError as error:
        if error.errno != number:
            raise
        return True
    return False


@pytest.mark.long
@pytest.mark.parametrize(
    "number",
    [
        errno.ENOSPC,
        pytest.param(errno.EIO, marks=pytest.mark.slow),
        pytest.param(errno.EROFS, marks=pytest.mark.slow),
    ],
)
def test_whatever_fails_a_checkpoint_can_be_read(number: int, tmp_path: Path) -> None:
    calls = n_disk_calls(tmp_path / "count")
    assert calls > 25
    failed = 0
    for fail_at in range(calls):
        run = Path(shutil.copytree(tmp_path / "count", tmp_path / f"run{fail_at}"))
        with pytest.MonkeyPatch.context() as patch:
            FailingDisk(patch, fail_at, number)
            failed += is_refused(lambda run=run: save(run, 4), number)
        found = newest_checkpoint(run)
        assert found is not None
        assert found.state["progress"]["step"] in (3, 4)
        shutil.rmtree(run)
    assert failed > 20  # a leftover that cannot be removed is not worth an error


@pytest.mark.slow
def test_killed_at_every_call_to_the_disk_a_checkpoint_can_be_read(tmp_path: Path) -> None:
    calls = n_disk_calls(tmp_path / "count")
    for fail_at in range(calls):
        run = Path(shutil.copytree(tmp_path / "count", tmp_path / f"run{fail_at}"))
        child = os.fork()
        if child == 0:
            with pytest.MonkeyPatch.context() as patch:
                FailingDisk(patch, fail_at, KILLED)
                save(run, 4)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert status == signal.SIGKILL
        found = newest_checkpoint(run)
        assert found is not None
        assert found.state["progress"]["step"] in (3, 4)
        shutil.rmtree(run)
