"""Checkpoints: all that the next step depends on, in a folder that is whole or not there.

.. code-block:: text

    ckpt/latest                       name of the newest checkpoint
    ckpt/best                         name of the one with the best validation
    ckpt/e003s00696/                  after 3 epochs, 696 steps
        model.safetensors             parameters and norm statistics
        oim.safetensors               look-up table, queue, pointer, dispersion
        optim.safetensors             moments of the optimiser, by parameter name
        ema.safetensors               running mean of the weights, where the recipe has one
        order.safetensors             hardness of the identities, where the recipe samples by it
        state.json                    position, random numbers, gradient scale, hashes of all files

A folder is written aside, synced and renamed. Reading checks every hash; a damaged checkpoint is
passed over for the one before it. No pickle is written or read.
"""

import base64
import hashlib
import json
import logging
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from fdps.durable import remove_folder, write_file, write_folder
from fdps.engine.progress import Progress
from fdps.engine.step import Learner
from fdps.errors import ModelError

FOLDER = "ckpt"
FORMAT, VERSION = "fdps-checkpoint", 1
STATE = "state.json"
NAME = re.compile(r"e\d+s(\d+)")

log = logging.getLogger("fdps")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read, with every hash checked.

    Args:
        path: Folder of the checkpoint.
        tensors: Tensors, by file name without suffix and then by name.
        state: Content of ``state.json``.
    """

    path: Path
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


def save_checkpoint(
    run: Path,
    learner: Learner,
    progress: Progress,
    *,
    is_best: bool = False,
    facts: dict[str, Any],
) -> None:
    """Write a checkpoint; all processes must call this, and the first one writes.

    Older checkpoints stay until the new one is complete on disk; then all but the newest
    ``train.keep_last`` and the best are removed.

    Args:
        run: The run folder.
        learner: Learner to save.
        progress: Position of the run, saved as well.
        is_best: Whether this is the state with the best validation.
        facts: Further values to keep, such as the environment and the data.

    Raises:
        OSError: The disk is full, read-only or failing; older checkpoints are as they were.
    """
    random = learner.processes.tell_all(_random_state(learner), learner.fabric.device)
    if not learner.processes.is_first:
        return
    files = {f"{k}.safetensors": save(v) for k, v in _tensors(learner, progress).items() if v}
    scaler = learner.scaler.state_dict() if learner.scaler else {}
    position = {k: v for k, v in asdict(progress).items() if k != "hardness"}
    state = {
        "format": FORMAT,
        "version": VERSION,
        "progress": position,
        "random": random,
        "scaler": scaler,
        "facts": facts,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    folder = run / FOLDER
    name = f"e{progress.n_epochs:03}s{progress.step:05}"
    write_folder(folder / name, files | {STATE: sealed(state)})
    if is_best:  # comes first: a run that goes on from here does not look at this epoch again
        write_file(folder / "best", f"{name}\n".encode())
    write_file(folder / "latest", f"{name}\n".encode())
    _prune(folder, learner.recipe.train.keep_last)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint and check that nothing in it has changed.

    Raises:
        ModelError: The checkpoint is damaged, or the folder is not a checkpoint.
    """
    try:
        state = unsealed((path / STATE).read_bytes())
        tensors = {}
        for name, digest in state["sha256"].items():
            content = (path / name).read_bytes()
            if hashlib.sha256(content).hexdigest() != digest:
                raise ValueError(f"{name} has changed since it was written")
            tensors[name.removesuffix(".safetensors")] = load(content)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"checkpoint {path} is damaged: {error}", hint="an older one may be beside it"
        ) from error
    return Checkpoint(path, tensors, state)


def newest_checkpoint(run: Path) -> Checkpoint | None:
    """Read the newest checkpoint that is whole; return ``None`` if there never was one.

    Raises:
        ModelError: There are checkpoints, and all are damaged.
    """
    damaged = []
    for path in _newest_first(run / FOLDER):
        try:
            checkpoint = read_checkpoint(path)
        except ModelError as error:
            damaged.append(str(error))
            continue
        for words in damaged:
            log.warning("%s; going on from %s", words, path.name)
        return checkpoint
    if damaged:
        raise ModelError(
            f"no checkpoint of {run} can be used: {damaged[0]}",
            hint=f"remove {run / FOLDER} to start the run anew, or choose another run folder",
        )
    return None


def restore(learner: Learner, checkpoint: Checkpoint) -> Progress:
    """Put network, memory, optimiser and random numbers back to where they were.

    Raises:
        ModelError: The checkpoint is of another network. The learner may then be changed in part
            and is of no use.
    """
    tensors, state = checkpoint.tensors, checkpoint.state
    try:
        learner.net.load_state_dict(tensors["model"])
        learner.criterion.load_state_dict(tensors["oim"])
        _restore_optimizer(learner, tensors.get("optim", {}))
        if learner.average is not None:
            learner.average.load(tensors["ema"])
        if learner.scaler and state["scaler"]:
            learner.scaler.load_state_dict(state["scaler"])
        progress = Progress(**state["progress"])
        if "order" in tensors:
            progress.hardness = tensors["order"]["hardness"].numpy()
        if learner.processes.rank < len(state["random"]):
            _restore_random(learner, state["random"][learner.processes.rank])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"{checkpoint.path} is not a checkpoint of this run: {error}",
            hint="choose another run folder, or remove this one",
        ) from error
    return progress


def _tensors(learner: Learner, progress: Progress) -> dict[str, dict[str, Tensor]]:
    """Return all tensors to keep, by file."""
    tensors: dict[str, dict[str, Tensor]] = {
        "model": learner.net.state_dict(),
        "oim": learner.criterion.state_dict(),
        "optim": {
            f"{name}|{key}": value
            for name, parameter in learner.net.named_parameters()
            for key, value in learner.optimizer.state.get(parameter, {}).items()
            if value is not None
        },
        "ema": {} if learner.average is None else learner.average.mean,
        "order": {},
    }
    if progress.hardness is not None:
        tensors["order"]["hardness"] = torch.from_numpy(progress.hardness)
    return {
        file: {name: value.detach().cpu().contiguous() for name, value in named.items()}
        for file, named in tensors.items()
    }


def _restore_optimizer(learner: Learner, tensors: dict[str, Tensor]) -> None:
    parameters = dict(learner.net.named_parameters())
    for full_name, value in tensors.items():
        name, key = full_name.rsplit("|", 1)
        parameter = parameters[name]
        # The memory format of the parameter is kept, else every step would be slower.
        kept = torch.empty_like(parameter) if value.shape == parameter.shape else value.clone()
        learner.optimizer.state[parameter][key] = kept.detach().copy_(value)


def _random_state(learner: Learner) -> str:
    """Return the state of the random numbers of this process as text."""
    states = {"torch": torch.get_rng_state()}
    if learner.fabric.device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state()
    return json.dumps(
        {k: base64.b64encode(v.numpy().tobytes()).decode() for k, v in states.items()}
    )


def _restore_random(learner: Learner, text: str) -> None:
    states = {k: base64.b64decode(v) for k, v in json.loads(text).items()}
    torch.set_rng_state(torch.frombuffer(bytearray(states["torch"]), dtype=torch.uint8))
    if learner.fabric.device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(torch.frombuffer(bytearray(states["cuda"]), dtype=torch.uint8))


def sealed(state: dict[str, Any]) -> bytes:
    """Write JSON that carries its own hash."""
    return json.dumps(state | {"seal": _digest(state)}, indent=1).encode() + b"\n"


def unsealed(content: bytes) -> dict[str, Any]:
    """Read the state that :func:`sealed` turned into bytes.

    Raises:
        ValueError: The content has changed, is not JSON, or is of another format.
        KeyError: The content lacks its hash or its format.
    """
    state: dict[str, Any] = json.loads(content)
    if state.pop("seal") != _digest(state):
        raise ValueError(f"{STATE} has changed since it was written")
    if (state["format"], state["version"]) != (FORMAT, VERSION):
        raise ValueError(f"it is of format {state['format']} {state['version']}")
    return state


def _digest(state: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _newest_first(folder: Path) -> list[Path]:
    """List the checkpoint that ``latest`` names, then all others by falling steps."""
    found = [(NAME.fullmatch(path.name), path) for path in folder.glob("*")]
    by_step = sorted((int(name[1]), path) for name, path in found if name)
    newest = [path for _, path in reversed(by_step)]
    named = _named(folder / "latest")
    return [path for path in newest if path == named] + [p for p in newest if p != named]


def _named(marker: Path) -> Path | None:
    try:
        return marker.parent / marker.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _prune(folder: Path, keep_last: int) -> None:
    newest = _newest_first(folder)
    for path in newest[keep_last:]:
        if path != _named(folder / "best"):
            remove_folder(path)
    for left in folder.glob(".*"):  # left by a session that was killed
        shutil.rmtree(left, ignore_errors=True)
