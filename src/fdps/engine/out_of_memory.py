"""Advice for a training that does not fit into the memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fdps.config import Recipe, TwoStepConfig
from fdps.errors import ResourceError

_WORDS = (
    *("can't allocate memory", "not enough memory", "Cannot allocate memory"),  # of the machine
    # Messages of CUDA, cuBLAS and cuDNN on a GPU that others have filled.
    *("CUDA error: out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED"),
)


@contextmanager
def memory_explained(recipe: Recipe) -> Iterator[None]:
    """Turn running out of memory into an error that names what to change in a recipe.

    Raises:
        ResourceError: The block ran out of memory, on a GPU or here.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _explained(recipe, str(error)) from error
    except RuntimeError as error:  # torch has no class of its own for these errors
        if any(words in str(error) for words in _WORDS):
            raise _explained(recipe, str(error)) from error
        raise


def advice(recipe: Recipe) -> list[str]:
    """List settings that need less memory, those that cost least first."""
    model, train = recipe.model, recipe.train
    settings = []
    if train.accumulate < train.batch_size:
        settings.append(f"train.accumulate={min(2 * train.accumulate, train.batch_size)}")
    if train.precision == "32-true":
        settings.append("train.precision=bf16-mixed")
    if not train.recompute_trunk and not train.compile:
        settings.append("train.recompute_trunk=true")
    if isinstance(model, TwoStepConfig):
        return [*settings, f"train.batch_size={max(train.batch_size // 2, 1)}"]
    smaller = [side * 2 // 3 for side in model.short_side]
    return [*settings, f"model.short_side={smaller}"]


def _explained(recipe: Recipe, reason: str) -> ResourceError:
    model, train = recipe.model, recipe.train
    if isinstance(model, TwoStepConfig):
        height, width = model.crop_size
    else:
        height, width = max(model.short_side), model.long_side
    return ResourceError(
        f"out of memory at {height}×{width}, batch {train.batch_size} "
        f"in {train.accumulate} parts, {train.precision}: {reason.partition(chr(10))[0]}",
        hint=f"need less, each with --set: {', '.join(advice(recipe))}\n"
        "fdps doctor --recipe tells beforehand what a recipe needs",
    )
