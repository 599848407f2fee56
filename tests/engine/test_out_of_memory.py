from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fake.runs import tiny_recipe
from fdps.config import Recipe, load_recipe, to_toml
from fdps.engine.out_of_memory import advice, memory_explained
from fdps.errors import ResourceError

TOO_MANY = 2**50  # more than any machine can address


def recipe(short_side: tuple[int, ...] = (600, 900), **train: Any) -> Recipe:
    plain = tiny_recipe(**train)
    return replace(plain, model=replace(plain.model, short_side=short_side, long_side=1500))


def allocate_by_torch() -> None:
    torch.empty(TOO_MANY)


def compute_by_torch() -> None:
    torch.zeros(1).expand(TOO_MANY).clone()


def allocate_by_numpy() -> None:
    np.empty(TOO_MANY)


def allocate_by_python() -> None:
    bytearray(TOO_MANY)


@pytest.mark.parametrize(
    "allocate", [allocate_by_torch, compute_by_torch, allocate_by_numpy, allocate_by_python]
)
def test_a_failed_allocation_says_what_to_change(allocate: Any) -> None:
    with pytest.raises(ResourceError) as caught, memory_explained(recipe(batch_size=4)):
        allocate()
    assert str(caught.value).startswith("out of memory at 900×1500, batch 4 in 1 parts, 32-true: ")
    assert "\n" not in str(caught.value)
    assert caught.value.hint.splitlines() == [
        "need less, each with --set: train.accumulate=2, train.precision=bf16-mixed, "
        "train.recompute_trunk=true, model.short_side=[400, 600]",
        "fdps doctor --recipe tells beforehand what a recipe needs",
    ]
    assert caught.value.__cause__ is not None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_failed_allocation_on_a_gpu_says_what_to_change() -> None:
    with pytest.raises(ResourceError, match="CUDA out of memory"), memory_explained(recipe()):
        torch.empty(TOO_MANY // 2**8, device="cuda")


@pytest.mark.parametrize(
    "message",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB.",  # by torch's own allocator
        "CUDA error: out of memory",  # before it, while another process fills the GPU
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    ],
)
def test_what_a_gpu_says_when_it_is_full(message: str) -> None:
    kind = torch.OutOfMemoryError if "allocate" in message else RuntimeError
    with pytest.raises(ResourceError) as caught, memory_explained(recipe()):
        raise kind(f"{message}\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side assertions")
    assert str(caught.value).endswith(f": {message}")


@pytest.mark.parametrize(
    "error",
    [RuntimeError("shapes differ"), ResourceError("the disk is full"), KeyboardInterrupt()],
)
def test_other_errors_pass(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, memory_explained(recipe()):
        raise error
    assert caught.value is error


def test_without_an_error_nothing_happens() -> None:
    with memory_explained(recipe()):
        torch.empty(1)


ACCUMULATE, PRECISION, RECOMPUTE, SIDE = (
    "train.accumulate=2",
    "train.precision=bf16-mixed",
    "train.recompute_trunk=true",
    "model.short_side=[400, 600]",
)


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ({}, [ACCUMULATE, PRECISION, RECOMPUTE, SIDE]),
        ({"batch_size": 1}, [PRECISION, RECOMPUTE, SIDE]),
        ({"precision": "bf16-mixed"}, [ACCUMULATE, RECOMPUTE, SIDE]),
        ({"precision": "16-mixed"}, [ACCUMULATE, RECOMPUTE, SIDE]),
        ({"recompute_trunk": True}, [ACCUMULATE, PRECISION, SIDE]),
        ({"compile": True}, [ACCUMULATE, PRECISION, SIDE]),
        (
            {"accumulate": 2, "precision": "bf16-mixed", "recompute_trunk": True},
            [SIDE],
        ),
    ],
)
def test_advice_is_what_costs_least_first_and_not_in_use(
    train: dict[str, Any], expected: list[str]
) -> None:
    assert advice(recipe(**train)) == expected


@pytest.mark.parametrize(
    ("accumulate", "batch_size", "advised"), [(1, 5, 2), (2, 5, 4), (4, 5, 5), (5, 5, None)]
)
def test_parts_are_doubled_up_to_one_picture_each(
    accumulate: int, batch_size: int, advised: int | None
) -> None:
    (first, *_) = advice(recipe(accumulate=accumulate, batch_size=batch_size))
    assert first == (f"train.accumulate={advised}" if advised else PRECISION)


def test_a_recipe_takes_every_advice(tmp_path: Path) -> None:
    given = recipe(batch_size=5)
    (tmp_path / "recipe.toml").write_text(to_toml(given))
    changed = load_recipe(tmp_path / "recipe.toml", advice(given))
    assert changed.model.short_side == (400, 600)
    assert changed.train == replace(
        given.train, accumulate=2, precision="bf16-mixed", recompute_trunk=True
    )
    assert advice(changed) == ["train.accumulate=4", "model.short_side=[266, 400]"]
