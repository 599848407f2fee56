"""Checkpoints: everything that the next step depends on, written aside and renamed.

A checkpoint is one safetensors file: the network with the memory of its loss, the momentum of the
optimiser, the state of torch's random numbers, and in the metadata the position of the run.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import SGD

from fdps.errors import ModelError

FILE = "checkpoint.safetensors"


@dataclass
class Progress:
    """Position of a run.

    Args:
        step: Finished optimiser steps.
        seconds: Training time so far, over all sessions.
    """

    step: int = 0
    seconds: float = 0.0


def save_checkpoint(path: Path, model: nn.Module, optimizer: SGD, progress: Progress) -> None:
    """Write a checkpoint; the older one stays until the new one is complete on disk."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    for i, parameter in enumerate(_parameters(optimizer)):
        momentum = optimizer.state[parameter].get("momentum_buffer")
        if momentum is not None:
            tensors[f"momentum.{i}"] = momentum
    tensors["rng"] = torch.get_rng_state()
    if _on_gpu(model):
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    contiguous = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    with aside.open("wb") as file:
        file.write(save(contiguous, metadata={"progress": json.dumps(asdict(progress))}))
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def load_checkpoint(path: Path, model: nn.Module, optimizer: SGD) -> Progress:
    """Put network, memory, optimiser and random numbers back to where they were.

    Raises:
        ModelError: Not a checkpoint, or of another network. Network and optimiser may then be
            changed in part and are of no use.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        model.load_state_dict(
            {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
        )
        for i, parameter in enumerate(_parameters(optimizer)):
            if f"momentum.{i}" in tensors:
                # In the memory format of the parameter, else every step would be slower.
                momentum = torch.empty_like(parameter, requires_grad=False)
                momentum.copy_(tensors[f"momentum.{i}"])
                optimizer.state[parameter]["momentum_buffer"] = momentum
        torch.set_rng_state(tensors["rng"])
        if _on_gpu(model) and "rng.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng.cuda"])
        return Progress(**json.loads(metadata["progress"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"{path} is not a checkpoint of this run: {error}",
            hint="remove it to start the run anew, or choose another run folder",
        ) from error


def _on_gpu(model: nn.Module) -> bool:
    return any(parameter.is_cuda for parameter in model.parameters())


def _parameters(optimizer: SGD) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]
