"""Try a training before it starts: three real steps in a process of their own.

What these steps take is what the run takes: the child trains the recipe itself, on the pictures of
the recipe, and writes a checkpoint at the end. Where the memory does not suffice, the child ends
and not its parent.
"""

import os
import signal
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from fdps.config import ModelConfig, Recipe, TwoStepConfig
from fdps.data.identities import contiguous
from fdps.errors import FdpsError, ResourceError, TrainingDiverged
from fdps.structures import SceneSet

N_STEPS = 3
GIB = 2**30


@dataclass(frozen=True)
class Trial:
    """The cost of three steps of a training.

    Args:
        device: Device, ``cpu`` or ``cuda``.
        peak_gib: Most memory held in GiB, while a checkpoint was written or before; on a CPU that
            of the whole process, on a GPU that of the tensors there. Pictures that
            ``train.decoded_gib`` keeps decoded are added.
        step_s: Seconds of a step, without the first one; waiting for pictures is included.
        checkpoint_gib: Size of a checkpoint, in GiB.
        item_bytes: Bytes kept on disk for every person cut out, where features are; else 0.
    """

    device: str
    peak_gib: float
    step_s: float
    checkpoint_gib: float
    item_bytes: float = 0.0


def try_steps(recipe: Recipe, scenes: SceneSet, *, is_shown: bool = False) -> Trial:
    """Take three steps of a training in a child process, and measure them.

    The network begins with random weights, so that nothing is fetched, and nothing is compiled.
    What is written goes into a temporary folder, which is removed.

    Args:
        recipe: Recipe of the training.
        scenes: Training scenes with identities 0..L-1, as :func:`fdps.engine.train.train` takes.
        is_shown: Whether the child shows its steps on stderr.

    Raises:
        ResourceError: The memory does not suffice.
        UsageError: The device is not there.
        FdpsError: The error is one that :func:`fdps.engine.train.train` raises.
    """
    tried = replace(
        recipe,
        model=_tried_model(recipe.model),
        train=replace(
            recipe.train,
            epochs=N_STEPS,  # epochs of one step each, if there are no more scenes
            log_every=1,
            checkpoint_every=0,
            validate_every=0,
            patience=0,
            compile=False,
            decoded_gib=0.0,
        ),
    )
    context = get_context("spawn")
    answers, answer = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory(prefix="fdps-trial-") as folder:
        given = (tried, _tried_scenes(recipe, scenes), Path(folder) / "run", is_shown)
        child = context.Process(target=_answer, args=(answer, *given), name="fdps trial")
        child.start()
        answer.close()
        try:
            found: Trial | FdpsError = answers.recv()
        except EOFError:
            child.join()
            raise _ended(recipe, child.exitcode or 0) from None
        finally:
            child.kill()
            child.join()
    if isinstance(found, FdpsError):
        raise found
    return replace(found, peak_gib=found.peak_gib + _decoded_gib(recipe, scenes))


def _tried_model(model: ModelConfig | TwoStepConfig) -> ModelConfig | TwoStepConfig:
    """Return a section whose network costs the same, and for which nothing is fetched or found."""
    if isinstance(model, TwoStepConfig):
        return replace(model, backbone_weights="none", boxes="annotated")
    return replace(model, backbone_weights="none")


def _tried_scenes(recipe: Recipe, scenes: SceneSet) -> SceneSet:
    """Return the scenes that are trained on; of kept features so many as the steps need."""
    plain = SceneSet(scenes.name, scenes.scenes)
    if not isinstance(recipe.model, TwoStepConfig) or recipe.model.features != "kept":
        return plain
    wanted, n_people = N_STEPS * recipe.train.batch_size, 0
    for n_scenes, scene in enumerate(scenes.scenes, start=1):
        n_people += len(scene.boxes)
        if n_people >= wanted:
            return contiguous(SceneSet(scenes.name, scenes.scenes[:n_scenes]))
    return plain


def _answer(
    answer: Connection, recipe: Recipe, scenes: SceneSet, folder: Path, is_shown: bool
) -> None:
    """Send what the steps took, or why they failed; this runs in the child."""
    try:
        answer.send(_measured(recipe, scenes, folder, is_shown=is_shown))
    except TrainingDiverged as error:  # the error is made of a step and losses, which are not sent
        answer.send(ResourceError(str(error), hint=error.hint))
    except FdpsError as error:
        answer.send(error)


def _measured(recipe: Recipe, scenes: SceneSet, run: Path, *, is_shown: bool) -> Trial:
    import sys

    from fdps.engine.checkpoint import FOLDER
    from fdps.engine.processes import connect
    from fdps.engine.run_folder import cache_folder
    from fdps.engine.run_log import peak_memory_gib
    from fdps.engine.train import train

    _volunteer_as_victim()
    clock = _Clock()
    with suppress(KeyboardInterrupt):  # the clock interrupts; a checkpoint is written then
        train(recipe, scenes, run, stream=sys.stderr if is_shown else None, watchers=[clock])
    latest = run / FOLDER / (run / FOLDER / "latest").read_text().strip()
    return Trial(
        device=connect(recipe.train).device.type,
        peak_gib=peak_memory_gib(),
        step_s=(clock.times[-1] - clock.times[0]) / (N_STEPS - 1),
        checkpoint_gib=sum(file.stat().st_size for file in latest.iterdir()) / GIB,
        item_bytes=_kept_bytes(cache_folder(run)) / max(scenes.n_boxes, 1),
    )


def _kept_bytes(cache: Path) -> int:
    return sum(file.stat().st_size for file in cache.glob("features-*/*"))


class _Clock:
    """Notes when each step ends, and stops the training after the last."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def begin(self, step: int, total_steps: int) -> None:
        """Ignore the beginning: nothing is timed before the first step."""

    def step(self, record: Mapping[str, int | float]) -> None:
        """Note the time at the end of a step."""
        self.times.append(time.perf_counter())
        if len(self.times) == N_STEPS:
            os.kill(os.getpid(), signal.SIGTERM)

    def epoch(self, record: Mapping[str, int | float]) -> None:
        """Ignore an epoch, which is not timed."""


def _volunteer_as_victim() -> None:
    """Ask Linux to end this process before any other when the memory runs out."""
    with suppress(OSError):  # other systems have no such file
        Path("/proc/self/oom_score_adj").write_text("1000")


def _ended(recipe: Recipe, exit_code: int) -> Exception:
    """Explain why the child ended without an answer."""
    from fdps.engine.out_of_memory import advice

    if exit_code == -signal.SIGKILL:
        return ResourceError(
            "the trial was killed by the system, which does so when the memory runs out",
            hint=f"need less, each with --set: {', '.join(advice(recipe))}",
        )
    return RuntimeError(f"the trial ended with {exit_code} and no answer")


def _decoded_gib(recipe: Recipe, scenes: SceneSet) -> float:
    """Return the memory in GiB of the pictures that a training of this recipe keeps decoded."""
    if not recipe.train.decoded_gib:
        return 0.0
    from fdps.data.training.dataset import decoded_bytes

    needed = decoded_bytes(scenes) / GIB
    return needed if needed <= recipe.train.decoded_gib else 0.0
