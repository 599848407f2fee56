"""Train one network and let it look at the test scenes, each only if that is not done yet.

.. code-block:: text

    runs/KEY-seedN-ADDRESS/   a run folder as fdps train makes it (fdps.engine.run_folder), and
        predictions.safetensors    what it finds, as fdps predict makes it
        ground_truth.safetensors   the annotated people embedded, where Fig. 4 needs them
        corrupted-NAME-N.safetensors   what it finds in damaged pictures, for ``robustness``
        reproduced.json            what is done, and the seconds that it took
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from fdps.durable import write_file
from fdps.engine.predict import predict
from fdps.engine.run_log import FILE
from fdps.engine.train import train
from fdps.predictions import data_hash, save_predictions
from fdps.reproduce.bench import Bench
from fdps.reproduce.corrupted import Corrupted, corruption_of
from fdps.reproduce.plan import PlannedRun
from fdps.searcher import load
from fdps.structures import Embedder

DONE_FILE = "reproduced.json"
PREDICTIONS, GROUND_TRUTH = "predictions.safetensors", "ground_truth.safetensors"

Device = Literal["auto", "cpu", "cuda"]
"""Where a run is trained, as ``train.device``."""

Tell = Callable[[str, int, int], None]
"""Called with what is being done, and how much of how much of it."""


@dataclass(frozen=True)
class Order:
    """Everything that a process needs to know to make a run.

    Args:
        run: The run.
        bench: The data.
        device: Device to train on, as ``train.device``.
        threads: Threads of the process.
        files: Predictions to make: :data:`PREDICTIONS`, :data:`GROUND_TRUTH`, or those that
            :func:`fdps.reproduce.corrupted.file_of` names.
        test: Hash of the test scenes, by which predictions are known to be of them.
    """

    run: PlannedRun
    bench: Bench
    device: Device
    threads: int
    files: tuple[str, ...]
    test: str


def read_done(run: Path) -> dict[str, Any]:
    """Read what is done in a run folder; empty where nothing is."""
    try:
        done = json.loads((run / DONE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return done if isinstance(done, dict) else {}


def logged_seconds(run: Path) -> float:
    """Read from the log how long a run has been trained, over all sessions."""
    lines = (run / FILE).read_text(encoding="utf-8").splitlines()
    return float(json.loads(lines[-1])["seconds"]) if lines else 0.0


def is_trained(run: PlannedRun) -> bool:
    """Tell whether the network of a run is trained to the end."""
    return "train_seconds" in read_done(run.folder)


def is_finished(order: Order) -> bool:
    """Tell whether nothing is left to do for a run."""
    return is_trained(order.run) and not _missing(order)


def perform(order: Order, tell: Tell) -> None:
    """Train and predict what is not there, from where an earlier session stopped.

    Raises:
        FdpsError: The same as :func:`fdps.engine.train.train` and
            :func:`fdps.engine.predict.predict`.
        KeyboardInterrupt: It was asked to stop; a checkpoint of the last step was written.
    """
    if not is_trained(order.run):
        _train(order, tell)
    for file in _missing(order):
        _predict(order, file, tell)


def _missing(order: Order) -> list[str]:
    made = read_done(order.run.folder).get("files", {})
    return [
        file
        for file in order.files
        if made.get(file) != order.test or not (order.run.folder / file).is_file()
    ]


def _train(order: Order, tell: Tell) -> None:
    recipe = order.run.recipe
    recipe = replace(recipe, train=replace(recipe.train, device=order.device))
    watcher = _Watcher(tell)
    train(recipe, order.bench.training(), order.run.folder, watchers=[watcher])
    seconds = logged_seconds(order.run.folder)
    _note(order.run.folder, {"train_seconds": seconds, "steps": watcher.total_steps})


def _predict(order: Order, file: str, tell: Tell) -> None:
    scenes, folder = order.bench.test(), order.run.folder
    start = time.perf_counter()
    searcher: Embedder = load(folder, device=order.device)
    if (corruption := corruption_of(file)) is not None:
        searcher = Corrupted(searcher, *corruption)
    found = predict(
        searcher,
        scenes,
        lambda done, total: tell("predict", done, total),
        ground_truth_boxes=file == GROUND_TRUTH,
    )
    save_predictions(found, folder / file)
    seconds = time.perf_counter() - start
    made = read_done(folder).get("files", {}) | {file: data_hash(scenes)}
    _note(folder, {"files": made, "predict_seconds": seconds, "n_test_scenes": len(scenes)})


def _note(folder: Path, facts: dict[str, Any]) -> None:
    content = json.dumps(read_done(folder) | facts, indent=1).encode() + b"\n"
    write_file(folder / DONE_FILE, content)


class _Watcher:
    """Tells the steps of a training."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self.total_steps = tell, 0

    def begin(self, step: int, total_steps: int) -> None:
        self.total_steps = total_steps
        self._tell("train", step, total_steps)

    def step(self, record: Mapping[str, int | float]) -> None:
        self._tell("train", int(record["step"]), self.total_steps)

    def epoch(self, record: Mapping[str, int | float]) -> None:
        """Ignore an epoch, whose last step was told."""
