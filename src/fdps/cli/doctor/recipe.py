"""What ``fdps doctor --recipe`` prints: data, memory by what holds it, time and disk."""

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fdps.cli.doctor.machine import GIB, memory_gib

if TYPE_CHECKING:
    from fdps.config import Recipe
    from fdps.engine.estimate import Estimate
    from fdps.structures import SceneSet

LOOKED_AT = 200
QUIET = 0.8
ASSUMED_SIZE = (1920, 1080)
ASSUMED_PERSONS = 1000


@dataclass(frozen=True)
class Data:
    """What is known of the training data.

    Args:
        n_scenes: ``None`` where there are none yet.
        n_persons: Identities.
        width: Of the most common picture, pixels.
        height: Likewise.
        n_sizes: Different sizes among the pictures that were looked at.
        missing: Why the data could not be looked at; empty if they were.
    """

    n_scenes: int | None
    n_persons: int
    width: int
    height: int
    n_sizes: int = 1
    missing: str = ""


def report(
    path: Path,
    root: str | None,
    settings: Sequence[str],
    n_scenes: int | None,
    *,
    json_output: bool,
) -> bool:
    """Print what a training takes; whether the machine has it.

    Args:
        path: The recipe.
        root: Folder of the data set, instead of the recipe's.
        settings: Fields to change.
        n_scenes: Training scenes, instead of those of the data.
        json_output: Print an object for machines.

    Raises:
        FdpsError: As reading recipe and data raises; data that are not there are no error.
    """
    import json
    import shutil
    from dataclasses import asdict

    from fdps.config import load_recipe, with_root
    from fdps.engine.estimate import estimate

    recipe = load_recipe(path, settings)
    if root is not None:
        recipe = with_root(recipe, root)
    data = look_at(recipe, n_scenes)
    found = estimate(
        recipe,
        n_scenes=data.n_scenes,
        n_persons=data.n_persons,
        picture_size=(data.width, data.height),
        available_gib=available_gib(recipe),
    )
    free_gib = shutil.disk_usage(Path.cwd()).free / GIB
    if json_output:
        sections = {"data": asdict(data), "estimate": asdict(found)}
        print(json.dumps({"recipe": str(path), **sections, "disk_free_gib": free_gib}))
    else:
        for line in [*_about(path, recipe, data, found), "", *_memory(found)]:
            print(line)
        for line in ["", *_time(recipe, found, free_gib), "", *_verdict(found, free_gib)]:
            print(line)
    return found.fits and found.disk_gib <= free_gib


def look_at(recipe: "Recipe", n_scenes: int | None) -> Data:
    """Count scenes and identities, and find the most common size of a picture.

    Args:
        recipe: Its training data.
        n_scenes: Where it is given, it counts instead of what is found.
    """
    from fdps.data import load_scenes
    from fdps.errors import MissingDataError

    width, height = ASSUMED_SIZE
    try:
        sources = recipe.data.train
        sets = [load_scenes(source.kind, Path(source.root), source.split) for source in sources]
        sizes = _sizes(sets)
    except MissingDataError as error:
        return Data(n_scenes, ASSUMED_PERSONS, width, height, missing=str(error))
    if not sizes:
        missing = "the recipe names no training scenes"
        return Data(n_scenes, ASSUMED_PERSONS, width, height, missing=missing)
    ((width, height), _), *_ = sizes.most_common(1)
    # Joined sets keep their identities apart.
    n_persons = max(sum(len(scenes.person_ids) for scenes in sets), 1)
    return Data(n_scenes or sum(map(len, sets)), n_persons, width, height, len(sizes))


def available_gib(recipe: "Recipe") -> float | None:
    """Memory that is free for a training, on the device where it would run."""
    import torch

    if recipe.train.device != "cpu" and torch.cuda.is_available():
        return float(torch.cuda.mem_get_info()[0]) / GIB
    known = memory_gib()
    return None if known is None else known[1]


def _sizes(sets: "list[SceneSet]") -> Counter[tuple[int, int]]:
    """Sizes of some scenes, spread over all, by their headers."""
    from fdps.pictures import picture_size

    paths = [scene.path for scenes in sets for scene in scenes.scenes]
    every = -(-len(paths) // LOOKED_AT) or 1
    return Counter(picture_size(path) for path in paths[::every])


def _about(path: Path, recipe: "Recipe", data: Data, found: "Estimate") -> list[str]:
    size = f"pictures of {data.width}×{data.height}, trained on as {found.width}×{found.height}"
    scenes = "" if data.n_scenes is None else f"{data.n_scenes} scenes, "
    known = f"{scenes}{data.n_persons} identities, {size}"
    lines = [f"Recipe  {path}, {recipe.train.precision} on {found.device}"]
    if data.missing:
        lines += [f"Data    {data.missing}", f"        assumed: {known}"]
    else:
        lines.append(f"Data    {known}")
    if data.n_sizes > 1:
        lines.append("        the most common size; a batch is padded to its largest pictures")
    batch = f"{recipe.train.batch_size} pictures"
    if found.micro_batch < recipe.train.batch_size:
        batch += f", {found.micro_batch} at a time"
    parts = ", ".join(f"{name} {n:,}" for name, n in found.n_parameters.items())
    return [
        *lines,
        f"Batch   {batch}",
        f"Network {sum(found.n_parameters.values()):,} parameters: {parts}",
    ]


def _memory(found: "Estimate") -> list[str]:
    from dataclasses import asdict

    rows = {name.removesuffix("_gib"): gib for name, gib in asdict(found.memory).items()}
    rows["in all"] = found.total_gib
    lines = [f"        {name:10} {gib:8.2f}" for name, gib in rows.items()]
    if found.available_gib is not None:
        lines[-1] += f"  of {found.available_gib:.2f} available"
    return ["Memory  GiB, at its fullest", *lines]


def _time(recipe: "Recipe", found: "Estimate", free_gib: float) -> list[str]:
    lines = [f"Time    {_duration(found.step_s)} for a step"]
    if found.device == "cpu" and found.cpu_share < QUIET:
        lines[0] += ", too long for a quiet machine:"
        lines.append(
            f"        the trial had {found.cpu_share:.0%} of its cores, other programs run"
        )
    if found.epoch_s is not None and found.run_s is not None:
        lines += [
            f"        {_duration(found.epoch_s)} for an epoch of {found.steps_per_epoch} steps",
            f"        {_duration(found.run_s)} for {recipe.train.epochs} epochs",
        ]
    else:
        lines.append("        --scenes N tells the time of an epoch")
    return [
        *lines,
        f"Disk    {found.disk_gib:.2f} GiB for checkpoints and weights, {free_gib:.1f} are free",
    ]


def _verdict(found: "Estimate", free_gib: float) -> list[str]:
    lines = []
    if found.disk_gib > free_gib:
        lines.append(
            "The disk has too little room: work in another folder, or lower train.keep_last."
        )
    if not found.fits:
        lines.append("The memory does not suffice. Change, in this order, until it does:")
        for change in found.changes:
            options = " ".join(f"--set {shlex.quote(words)}" for words in change.settings)
            lines.append(f"  {change.total_gib:8.2f} GiB  {options}")
        if not found.changes[-1].fits:
            lines.append("Even that is too much: a smaller model.backbone needs less.")
        lines.append("What train.accumulate and model.norm do to each other: docs/guides/doctor.md")
    elif found.is_close:
        lines.append("It fits by little: the estimate may be wrong by a factor of 1.3.")
    elif not lines:
        lines.append("It fits.")
    return lines


def _duration(seconds: float) -> str:
    """In the largest unit of which there is one at least; the estimate is no better than that."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.2f} s"
