"""The report of ``fdps doctor --recipe``: the data, and the cost of three steps on them."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fdps.cli.doctor.machine import GIB, memory_gib
from fdps.names import printable

if TYPE_CHECKING:
    from fdps.config import Recipe
    from fdps.engine.trial import Trial
    from fdps.structures import SceneSet

ASSUMED_SIZE = (1920, 1080)
ASSUMED_PEOPLE = 8  # in a picture


@dataclass(frozen=True)
class Outlook:
    """The expected cost of a training, carried on from three of its steps.

    Args:
        n_scenes: Training scenes; ``None`` where nobody knows.
        n_items: What an epoch goes through: the scenes, or the people cut out of them; likewise.
        missing: Why the steps were taken on drawn pictures; empty where they were not.
        trial: What the steps took.
        available_gib: Memory that was free before, on a CPU; ``None`` where the system does not
            tell.
        steps_per_epoch: ``None`` without ``n_scenes``.
        epoch_s: Seconds of an epoch, without validation; likewise.
        run_s: Seconds of the whole training; likewise.
        disk_gib: Checkpoints that are kept, one that is being written, the weights, and features.
        features_gib: What is computed once and kept, where the recipe has it; else 0.
        disk_free_gib: Room where the command runs.
    """

    n_scenes: int | None
    n_items: int | None
    missing: str
    trial: "Trial"
    available_gib: float | None
    steps_per_epoch: int | None
    epoch_s: float | None
    run_s: float | None
    disk_gib: float
    features_gib: float
    disk_free_gib: float

    @property
    def fits(self) -> bool:
        """Tell whether memory and disk suffice."""
        peak, available = self.trial.peak_gib, self.available_gib
        has_memory = self.trial.device != "cpu" or available is None or peak <= available
        return has_memory and self.disk_gib <= self.disk_free_gib


def report(
    path: Path,
    roots: Sequence[str],
    settings: Sequence[str],
    n_scenes: int | None,
    *,
    json_output: bool,
) -> bool:
    """Take three steps of a training, and print what it takes.

    Args:
        path: The recipe.
        roots: Folders of the data sets, instead of the recipe's.
        settings: Fields to change.
        n_scenes: Training scenes, instead of those of the data.
        json_output: Print an object for machines.

    Returns:
        Whether memory and disk suffice.

    Raises:
        ResourceError: The steps did not fit into the memory.
        FdpsError: Recipe or data cannot be read; data that are not there are no error.
    """
    import json
    from dataclasses import asdict

    from fdps.config import load_recipe, with_root

    recipe = load_recipe(path, settings)
    for root in roots:
        recipe = with_root(recipe, root)
    print(f"Trial   three steps of {printable(path)}", file=sys.stderr, flush=True)
    outlook = look_ahead(recipe, n_scenes)
    if json_output:
        print(json.dumps({"recipe": str(path), **asdict(outlook), "fits": outlook.fits}))
    else:
        print("\n".join(_lines(path, recipe, outlook)))
    return outlook.fits


def look_ahead(recipe: "Recipe", n_scenes: int | None) -> Outlook:
    """Take three steps of a training, and carry them on to the whole.

    Args:
        recipe: Recipe of the training.
        n_scenes: Where it is given, it counts instead of the scenes that are found.

    Raises:
        FdpsError: The data cannot be read, or :func:`fdps.engine.trial.try_steps` fails.
    """
    import tempfile

    from fdps.engine.trial import try_steps

    available = memory_gib()
    with tempfile.TemporaryDirectory(prefix="fdps-doctor-") as folder:
        scenes, missing = _scenes(recipe, Path(folder))
        if not missing:
            n_scenes = n_scenes or len(scenes)
        trial = try_steps(recipe, scenes, is_shown=True)
    n_items = None if n_scenes is None else round(n_scenes * items_per_scene(recipe, scenes))
    steps = None if n_items is None else -(-n_items // recipe.train.batch_size)
    epoch_s = None if steps is None else steps * trial.step_s
    n_checkpoints = recipe.train.keep_last + bool(recipe.train.validate_every) + 1
    features_gib = (n_items or 0) * trial.item_bytes / GIB
    return Outlook(
        n_scenes=n_scenes,
        n_items=n_items,
        missing=missing,
        trial=trial,
        available_gib=None if available is None else available[1],
        steps_per_epoch=steps,
        epoch_s=epoch_s,
        run_s=None if epoch_s is None else epoch_s * recipe.train.epochs,
        # No weights are larger than a checkpoint.
        disk_gib=(n_checkpoints + 1) * trial.checkpoint_gib + features_gib,
        features_gib=features_gib,
        disk_free_gib=shutil.disk_usage(Path.cwd()).free / GIB,
    )


def items_per_scene(recipe: "Recipe", scenes: "SceneSet") -> float:
    """Return how many items of an epoch come from one scene: itself, or its people.

    A detector is taken to find as many as are annotated.
    """
    from fdps.config import TwoStepConfig

    model = recipe.model
    if not isinstance(model, TwoStepConfig):
        return 1.0
    return scenes.n_boxes / max(len(scenes), 1) * (2 if model.boxes == "both" else 1)


def _scenes(recipe: "Recipe", folder: Path) -> "tuple[SceneSet, str]":
    """The training scenes of a recipe, else drawn ones and why."""
    from fdps.cli.train.training import training_scenes
    from fdps.errors import MissingDataError

    if not recipe.data.train:
        return _drawn(recipe, folder), "the recipe names no training scenes"
    try:
        return training_scenes(recipe), ""
    except MissingDataError as error:
        return _drawn(recipe, folder), str(error)


def _drawn(recipe: "Recipe", folder: Path) -> "SceneSet":
    """Draw as many scenes as a step takes: noise of the size of a film, with people in a row."""
    import numpy as np
    from PIL import Image

    from fdps.structures import Scene, SceneSet

    width, height = ASSUMED_SIZE
    noise = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    path = folder / "noise.jpg"
    Image.fromarray(noise).resize(ASSUMED_SIZE).save(path)
    left = np.linspace(0, width - 200, ASSUMED_PEOPLE)
    boxes = np.stack([left, left * 0 + 300, left + 150, left * 0 + 700], axis=1)
    ids = np.arange(ASSUMED_PEOPLE, dtype=np.int64)
    # What a teacher says is only needed where a recipe asks for it.
    dim = recipe.model.embedding_dim
    teacher = np.eye(ASSUMED_PEOPLE, dim, dtype=np.float32) if recipe.loss.teacher_weight else None
    return SceneSet(
        "drawn",
        tuple(
            Scene(str(k), path, boxes.astype(np.float32), ids, teacher=teacher)
            for k in range(recipe.train.batch_size)
        ),
    )


def _lines(path: Path, recipe: "Recipe", found: Outlook) -> list[str]:
    train, trial = recipe.train, found.trial
    lines = [f"Recipe  {printable(path)}, {train.precision} on {trial.device}"]
    if found.missing:
        width, height = ASSUMED_SIZE
        lines.append(
            f"Data    {printable(found.missing)}: tried on drawn pictures of {width}×{height}"
        )
    if found.n_scenes is not None:
        told = "" if found.n_items == found.n_scenes else f", {found.n_items} people cut out"
        lines.append(f"Scenes  {found.n_scenes}{told}, {train.batch_size} in a step")
    memory = f"Memory  {trial.peak_gib:.2f} GiB at its fullest"
    if trial.device == "cpu" and found.available_gib is not None:
        memory += f", {found.available_gib:.2f} are available"
    lines += [memory, f"Time    {_duration(trial.step_s)} for a step"]
    if found.epoch_s is not None and found.run_s is not None:
        lines += [
            f"        {_duration(found.epoch_s)} for an epoch of {found.steps_per_epoch} steps",
            f"        {_duration(found.run_s)} for {train.epochs} epochs",
        ]
    else:
        lines.append("        --scenes N tells the time of an epoch")
    lines.append(
        f"Disk    {found.disk_gib:.2f} GiB for checkpoints and weights, "
        f"{found.disk_free_gib:.1f} are free"
    )
    if found.features_gib:
        lines.append(f"        {found.features_gib:.3f} GiB of it for features that are kept")
    if found.disk_gib > found.disk_free_gib:
        lines.append("There is too little room: work in another folder, or lower train.keep_last.")
    elif not found.fits:
        lines.append("There is too little memory: train.accumulate, see docs/guides/doctor.md.")
    else:
        lines.append("It fits.")
    return lines


def _duration(seconds: float) -> str:
    """Write a time in the largest unit of which there is at least one."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.2f} s"
