"""Time the two operators that this project replaces on the CPU, each beside what it replaces.

    python benchmarks/cpu_operators.py

* RoIAlign as one sparse product (``models/roi_align.py``) against torchvision's operator.
* The strided depthwise convolution of MobileNetV2's region head under autocast, in bf16 against
  float32 (``models/backbone.py``).

Both sides alternate, so that a machine that slows down slows both; the medians are printed.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import conv2d
from torchvision.ops import roi_align

from fdps.models.roi_align import align_sparse


def main() -> None:
    """Print one line per operator."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {platform.machine()}, {args.threads} threads")
    for channels, regions in ((96, 128), (1024, 128)):
        compare(f"RoIAlign {regions}×{channels}×14×14", *roi_align_pair(channels, regions), args)
    compare("depthwise 576, 128×14×8, stride 2", *depthwise_pair(), args)


def compare(
    name: str, ours: Callable[[], object], theirs: Callable[[], object], args: argparse.Namespace
) -> None:
    """Time forward and backward of both, in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for round_ in range(args.rounds + 1):
        for work, kept in zip((ours, theirs), times, strict=True):
            start = time.perf_counter()
            work()
            if round_ > 0:  # the first round warms up
                kept.append(time.perf_counter() - start)
    mine, other = (statistics.median(kept) * 1000 for kept in times)
    print(f"{name:36} ours {mine:8.1f} ms   theirs {other:8.1f} ms   {other / mine:6.1f}×")


def roi_align_pair(channels: int, regions: int) -> tuple[Callable[[], object], ...]:
    """Forward and backward of RoIAlign on one 57×94 map, the size of a 900×1500 picture."""
    features = torch.randn(1, channels, 57, 94).to(memory_format=torch.channels_last)
    features.requires_grad_()
    corner = torch.rand(regions, 2) * 600
    boxes = [torch.cat([corner, corner + 30 + torch.rand(regions, 2) * 250], dim=1)]
    gradient = torch.randn(regions, channels, 14, 14)

    def ours() -> Tensor:
        aligned = align_sparse(features, boxes, (14, 14), 16, 2)
        return torch.autograd.grad(aligned, features, gradient)[0]

    def theirs() -> Tensor:
        aligned = roi_align(features, boxes, (14, 14), 1 / 16, 2)
        return torch.autograd.grad(aligned, features, gradient)[0]

    torch.testing.assert_close(ours(), theirs(), atol=1e-3, rtol=1e-3)
    return ours, theirs


def depthwise_pair() -> tuple[Callable[[], object], ...]:
    """Forward and backward of one convolution, in float32 and in bf16."""

    def work(dtype: torch.dtype) -> Callable[[], object]:
        weight = torch.randn(576, 1, 3, 3, dtype=dtype, requires_grad=True)
        maps = torch.randn(128, 576, 14, 8, dtype=dtype).to(memory_format=torch.channels_last)
        maps.requires_grad_()
        return lambda: torch.autograd.grad(
            conv2d(maps, weight, stride=2, padding=1, groups=576).sum(), (maps, weight)
        )

    return work(torch.float32), work(torch.bfloat16)


if __name__ == "__main__":
    main()
