"""Measure how fast a training step is, and on what it spends its time.

    python benchmarks/training_speed.py                              # small pictures, CPU
    python benchmarks/training_speed.py --short-side 900 --batch 5   # the paper: minutes a step
    python benchmarks/training_speed.py --device cuda --short-side 900 --batch 5 --steps 30

ResNet-50 with the paper's heads and random weights learns from drawn pictures, under OIM and under
the balanced loss with L = 5532 identities, in every precision that is asked for, compiled or not;
all side by side, their steps taken in turn. Prints one JSON object.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from fdps.config import LossConfig, Recipe, load_recipe
from fdps.data import load_scenes
from fdps.data.identities import contiguous
from fdps.data.synthetic import SyntheticConfig, draw_dataset
from fdps.data.training.augment import Augmentation
from fdps.data.training.dataset import Batch, TrainingScenes, training_batches
from fdps.engine.processes import connect
from fdps.engine.run_log import environment
from fdps.engine.step import Learner
from fdps.models import build_criterion, build_model

N_PERSONS = 5532


@dataclass
class Variant:
    """One way to train, and what was measured of it."""

    name: str
    learner: Learner
    seconds: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def main() -> None:
    """Take the steps of all variants in turn, and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--short-side", type=int, default=300)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--precision", nargs="+", default=["32-true", "bf16-mixed"])
    parser.add_argument("--compile", action="store_true", help="each also compiled")
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        batches, data_s = read_batches(Path(folder), args)
    variants = build(args)
    for step, batch in enumerate(batches):
        for variant in variants:
            measure(variant, batch, step, is_counted=step > 0)
    print(json.dumps(figures(args, variants, data_s), indent=1))


def read_batches(root: Path, args: argparse.Namespace) -> tuple[list[Batch], float]:
    """Draw pictures and read them as training does; the batches, and seconds per batch."""
    config = SyntheticConfig(
        n_train_scenes=(args.steps + 1) * args.batch,
        n_test_scenes=2,
        width=args.short_side * 5 // 3,
        height=args.short_side,
    )
    draw_dataset(config, root)
    dataset = TrainingScenes(
        contiguous(load_scenes("folder", root, "train")), Augmentation(flip=0.5), seed=1
    )
    rows = [range(k * args.batch, (k + 1) * args.batch) for k in range(args.steps + 1)]
    start = time.perf_counter()
    batches = list(training_batches(dataset, rows, epoch=0, workers=0))
    seconds = (time.perf_counter() - start) / len(rows)
    moved = [
        (
            [image.to(args.device).float() / 255 for image in images],
            [{k: v if k == "seed" else v.to(args.device) for k, v in t.items()} for t in targets],
        )
        for images, targets in batches
    ]
    return moved, seconds


def build(args: argparse.Namespace) -> list[Variant]:
    """Return every loss in every precision, compiled where that is asked for."""
    base = load_recipe(
        Path("configs/cuhk_sysu/fdps_boim.toml"),
        [
            "model.backbone_weights=none",
            f"model.short_side=[{args.short_side}]",
            f"model.long_side={args.short_side * 5 // 3}",
            f"train.batch_size={args.batch}",
            f"train.device={args.device}",
        ],
    )
    variants = []
    for precision in args.precision:
        for is_compiled in [False, True] if args.compile else [False]:
            for loss in ("oim", "boim"):
                recipe = changed(base, loss, precision=precision, compile=is_compiled)
                torch.manual_seed(1)
                criterion = build_criterion(recipe.loss, N_PERSONS, recipe.model.embedding_dim)
                learner = Learner(
                    build_model(recipe.model), criterion, recipe, connect(recipe.train)
                )
                name = f"{loss} {precision}{' compiled' if is_compiled else ''}"
                variants.append(Variant(name, learner))
    return variants


def changed(recipe: Recipe, loss: str, **train: Any) -> Recipe:
    """A recipe with another loss and other fields of training."""
    other = LossConfig(name="oim") if loss == "oim" else LossConfig(name="boim")
    return replace(recipe, loss=other, train=replace(recipe.train, **train))


def measure(variant: Variant, batch: Batch, step: int, *, is_counted: bool) -> None:
    """Take a step, and time its parts; the first one warms up."""
    learner, parts = variant.learner, defaultdict[str, float](float)
    criterion = learner.criterion
    with ExitStack() as stack:
        for owner, method, part in (
            (learner.net, "forward", "forward"),
            (criterion, "terms", "re-ID loss"),
            (criterion, "update", "memory"),
            (learner.fabric, "backward", "backward"),
        ):
            stack.enter_context(timed(owner, method, part, parts))
        wait()
        start = time.perf_counter()
        learner.take_step(batch, step, 1000)
        wait()
        seconds = time.perf_counter() - start
    if not is_counted:
        return
    variant.seconds.append(seconds)
    parts["forward"] -= parts["re-ID loss"]  # which it calls
    parts["rest"] = seconds - sum(parts.values())
    for part, took in parts.items():
        variant.parts[part].append(took)


@contextmanager
def timed(owner: Any, method: str, part: str, parts: dict[str, float]) -> Any:
    """Add up the seconds in a method of one object."""
    original: Callable[..., Any] = getattr(owner, method)

    def clocked(*arguments: Any, **named: Any) -> Any:
        wait()
        start = time.perf_counter()
        try:
            return original(*arguments, **named)
        finally:
            wait()
            parts[part] += time.perf_counter() - start

    setattr(owner, method, clocked)
    try:
        yield
    finally:
        delattr(owner, method)


def wait() -> None:
    """Wait until the GPU has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def figures(args: argparse.Namespace, variants: list[Variant], data_s: float) -> dict[str, object]:
    """Medians, and what the balanced loss costs beside OIM in the same precision."""
    rows = {}
    for variant in variants:
        seconds = median(variant.seconds)
        shares = {part: round(median(s) / seconds, 4) for part, s in variant.parts.items()}
        rows[variant.name] = {
            "s_per_step": round(seconds, 4),
            "images_per_s": round(args.batch / seconds, 3),
            "shares": shares,
        }
    cost = {}
    for oim, boim in zip(variants[::2], variants[1::2], strict=True):
        extra = sum(
            median(boim.parts[part]) - median(oim.parts[part]) for part in ("re-ID loss", "memory")
        )
        cost[boim.name] = {
            "of loss and memory": round(extra / median(oim.seconds), 4),
            "of whole steps": round(
                median(b / a for a, b in zip(oim.seconds, boim.seconds, strict=True)) - 1, 4
            ),
        }
    return {
        "settings": vars(args),
        "reading_s_per_batch": round(data_s, 4),
        "variants": rows,
        "cost_of_boim": cost,
        **environment(),
    }


if __name__ == "__main__":
    main()
