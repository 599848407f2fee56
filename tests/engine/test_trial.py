import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fake.runs import tiny_recipe, write_scenes
from fdps.data.training.dataset import decoded_bytes
from fdps.engine.trial import GIB, try_steps
from fdps.errors import MissingDataError, ResourceError
from fdps.structures import SceneSet


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> SceneSet:
    return write_scenes(tmp_path_factory.mktemp("data"))


@pytest.mark.long
def test_three_real_steps_are_measured(
    scenes: SceneSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    began = time.perf_counter()
    found = try_steps(tiny_recipe(), scenes)
    whole_s = time.perf_counter() - began
    assert found.device == "cpu"
    assert 0.1 < found.peak_gib < 8  # at least Python and torch
    assert 0 < found.step_s < whole_s / 2
    assert 0.001 < found.checkpoint_gib < 0.1
    assert not list(tmp_path.iterdir())  # nothing is left
    assert not multiprocessing.active_children()


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 6},  # an epoch is one step
        {"log_every": 100, "checkpoint_every": 1},
        {"workers": 1},
    ],
    ids=str,
)
def test_any_schedule_has_three_steps(change: dict[str, int], scenes: SceneSet) -> None:
    assert try_steps(tiny_recipe(**change), scenes).step_s > 0


@pytest.mark.long
def test_more_pixels_take_more_memory_and_time(scenes: SceneSet) -> None:
    small, recipe = try_steps(tiny_recipe(), scenes), tiny_recipe()
    larger = replace(recipe, model=replace(recipe.model, short_side=(480,), long_side=640))
    large = try_steps(larger, scenes)
    assert large.peak_gib > small.peak_gib + 0.05
    assert large.step_s > small.step_s


@pytest.mark.long
def test_pictures_that_would_be_kept_decoded_are_added(scenes: SceneSet) -> None:
    needed = decoded_bytes(scenes) / GIB
    recipe = tiny_recipe()

    def peak(decoded_gib: float) -> float:
        train = replace(recipe.train, decoded_gib=decoded_gib)
        return try_steps(replace(recipe, train=train), scenes).peak_gib

    assert needed > 0
    assert peak(needed * 1.01) == pytest.approx(peak(0.0) + needed, abs=0.05)


@pytest.mark.long
def test_an_error_of_the_data_arrives_as_itself(scenes: SceneSet, tmp_path: Path) -> None:
    gone = [replace(scene, path=tmp_path / "gone.jpg") for scene in scenes.scenes]
    with pytest.raises(MissingDataError, match=r"gone\.jpg"):
        try_steps(tiny_recipe(), SceneSet("gone", tuple(gone)))


@pytest.mark.long
def test_an_error_of_the_numbers_arrives_with_its_hint(scenes: SceneSet) -> None:
    recipe = tiny_recipe(lr=1e30, warmup_epochs=0.0, max_grad_norm=1e30)
    with pytest.raises(ResourceError, match="training diverged at step") as caught:
        try_steps(recipe, scenes)
    assert "train.lr" in caught.value.hint


@contextmanager
def little_memory(n_bytes: int) -> Iterator[None]:
    """Let processes that begin meanwhile have no more; this one keeps what it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


@pytest.mark.long
def test_too_little_memory_says_what_to_change(scenes: SceneSet) -> None:
    recipe = tiny_recipe()
    large = replace(recipe, model=replace(recipe.model, short_side=(3000,), long_side=4000))
    # More than this process has mapped, less than the pictures of a step take.
    with (
        little_memory(_mapped_bytes() + 2 * GIB),
        pytest.raises(ResourceError, match="out of memory at 3000×4000") as caught,
    ):
        try_steps(large, scenes)
    assert "train.accumulate=2" in caught.value.hint


def test_a_trial_that_the_system_kills_is_explained(scenes: SceneSet) -> None:
    def kill() -> None:
        while not multiprocessing.active_children():
            time.sleep(0.01)
        (child,) = multiprocessing.active_children()
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)

    threading.Thread(target=kill).start()
    with pytest.raises(ResourceError, match="killed by the system") as caught:
        try_steps(tiny_recipe(), scenes)
    assert "train.precision=bf16-mixed" in caught.value.hint


@pytest.mark.long
def test_the_trial_is_that_of_the_recipe(
    scenes: SceneSet, capfd: pytest.CaptureFixture[str]
) -> None:
    try_steps(tiny_recipe(sampling="identity"), scenes, is_shown=True)
    shown = capfd.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in shown if line.startswith("step ")] == [
        f"step {k}/9" for k in (1, 2, 3)
    ]


def _mapped_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmData:")[2].split()[0]) * 2**10
