"""The folder of a run: what it holds, who may write it, and whether it may be continued.

.. code-block:: text

    recipe.toml          the resolved recipe
    environment.json     versions, machine and commit of the latest session, and where it started
    log.jsonl            one line per logged step
    epochs.jsonl         one line per epoch: means, and what a validation found
    ckpt/                checkpoints (:mod:`fdps.engine.checkpoint`)
    weights.safetensors  of the best validation; without validation of the last step, when done
    card.toml            of a two-step model, with the detector beside it
"""

import dataclasses
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fdps.config import MACHINE_FIELDS, Recipe, load_recipe, to_toml
from fdps.durable import write_file
from fdps.errors import ModelError, ResourceError, UsageError

RECIPE_FILE = "recipe.toml"
ENVIRONMENT_FILE = "environment.json"
WEIGHTS_FILE = "weights.safetensors"
LOCK_FILE = ".lock"

_BIT_CHANGING = (
    *("torch", "torchvision", "numpy", "machine", "threads", "device", "gpu", "processes"),
    *("accumulate", "precision", "channels_last", "compile", "recompute_trunk"),
)


def cache_folder(run: Path) -> Path:
    """Return the folder beside a run for what is parsed or computed; it may always be deleted."""
    return run.parent / "cache"


def check_continuable(run: Path, recipe: Recipe) -> None:
    """Refuse to continue a folder with another recipe; machine and places of data may differ.

    Raises:
        UsageError: It is not a folder, or holds a run of another recipe; the message names the
            fields.
        ModelError: It holds a run of a version whose checkpoints cannot be read.
    """
    if run.exists() and not run.is_dir():
        raise UsageError(f"{run} is not a folder", hint="choose another run folder")
    kept = run / RECIPE_FILE
    if not kept.exists():
        return
    if (run / "checkpoint.safetensors").exists():
        raise ModelError(
            f"{run} holds a run of an older fdps, which kept checkpoint.safetensors",
            hint="choose another run folder, or remove this one",
        )
    differing = _differences(load_recipe(kept), recipe)
    if differing:
        raise UsageError(
            f"{run} holds a run of another recipe: {differing[0]}",
            hint="\n".join(
                [*differing[1:], f"choose another run folder, or remove this one; see {kept}"]
            ),
        )


def write_recipe(run: Path, recipe: Recipe, environment: dict[str, str | int]) -> None:
    """Write down what makes the run, and where its relative paths start."""
    write_file(run / RECIPE_FILE, to_toml(recipe).encode())
    where = environment | {"folder": str(Path.cwd())}
    write_file(run / ENVIRONMENT_FILE, json.dumps(where, indent=1).encode() + b"\n")


def changes(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """List what differs from when a checkpoint was written: the run goes on, not to the last bit.

    Example:
        >>> changes({"torch": "2.14", "commit": "a"}, {"torch": "2.15", "commit": "b"})
        ['torch 2.15 instead of 2.14']
    """
    return [
        f"{name} {now[name]} instead of {before[name]}"
        for name in _BIT_CHANGING
        if name in now and name in before and now[name] != before[name]
    ]


@contextmanager
def only_writer(run: Path) -> Iterator[None]:
    """Keep other trainings of the same run out of the folder, which is made if need be.

    Raises:
        ResourceError: Another process trains here, or the folder cannot be made.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"{run} cannot be made: {error.strerror}", hint="choose a run folder elsewhere"
        ) from error
    with (run / LOCK_FILE).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ResourceError(
                f"{run} is being trained by process {file.read().strip() or 'unknown'}",
                hint="wait until it has ended, or choose another run folder",
            ) from None
        # The processes that read pictures may outlive a killed training by some seconds.
        os.register_at_fork(after_in_child=file.close)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _differences(kept: Recipe, given: Recipe) -> list[str]:
    """Describe the fields in which two recipes are not the same science."""
    old, new = (_flat(science_of(recipe)) for recipe in (kept, given))
    return [
        f"{name} is {new.get(name)!r} here and {old.get(name)!r} there"
        for name in [*old, *(name for name in new if name not in old)]
        if old.get(name) != new.get(name)
    ]


def science_of(recipe: Recipe) -> dict[str, Any]:
    """Return all of a recipe that decides what is learnt; places and the machine are left out."""
    values = dataclasses.asdict(recipe)
    # The places of data may change; the checkpoint tells whether they are the same data.
    values["data"] = {"train": [(source.kind, source.split) for source in recipe.data.train]}
    del values["name"]
    values["model"].pop("detector", None)  # whose hash is a part of that of the data
    for name in MACHINE_FIELDS:
        del values["train"][name]
    return values


def _flat(values: dict[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in values.items():
        flat |= (
            _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        )
    return flat
