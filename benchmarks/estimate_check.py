"""Compare what ``fdps doctor --recipe`` estimates with what a training takes.

    python benchmarks/estimate_check.py            # small recipes, a few steps each, some minutes
    python benchmarks/estimate_check.py --paper    # and the paper's own: 15 GiB, ten minutes more

Every training runs in a process of its own, on drawn scenes and with random weights. Its memory is
the peak of that process without what Python and the libraries took before it began; its time the
fastest of the steps after the first, since the estimate takes the fastest pass, too: what else runs
on the machine only slows them down. Prints one JSON object per recipe and a table.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdps.config import Recipe, load_recipe
from fdps.data import load_scenes
from fdps.data.identities import contiguous
from fdps.data.synthetic import SyntheticConfig, draw_dataset
from fdps.engine.estimate import Estimate, estimate
from fdps.engine.run_log import environment
from fdps.engine.train import train

SMALL, PAPER = Path("configs/prw_c6/fdps_boim.toml"), Path("configs/prw/fdps_boim.toml")
IN_SHORT = ("train.epochs=1", "train.log_every=1", "train.workers=0", "train.device=cpu")


@dataclass(frozen=True)
class Case:
    """A recipe, what is changed in it, the size of the scenes, and how many steps it takes."""

    recipe: Path
    settings: tuple[str, ...]
    width: int
    height: int
    steps: int = 6

    def read(self) -> Recipe:
        """The recipe as it is tried."""
        settings = ["model.backbone_weights=none", *IN_SHORT, *self.settings]
        return load_recipe(self.recipe, settings)


_MOBILE = ("train.batch_size=4", "model.long_side=600")
_RESNET = ("train.batch_size=2", "model.short_side=[320]", "model.regions_per_image=32")
CASES = {
    "MobileNetV2 480×600, 4 pictures": Case(
        SMALL, (*_MOBILE, "train.precision=32-true"), 1000, 800
    ),
    "the same in bf16": Case(SMALL, _MOBILE, 1000, 800),
    "the same in bf16, 2 micro-batches": Case(SMALL, (*_MOBILE, "train.accumulate=2"), 1000, 800),
    "the same, trunk computed again": Case(
        SMALL, (*_MOBILE, "train.precision=32-true", "train.recompute_trunk=true"), 1000, 800
    ),
    "the same with AdamW and a mean": Case(
        SMALL,
        (*_MOBILE, "train.precision=32-true", "train.optimizer=adamw", "train.ema=0.99"),
        1000,
        800,
    ),
    "ResNet-18 320×400, 2 pictures": Case(PAPER, (*_RESNET, "model.backbone=resnet18"), 1000, 800),
    "ResNet-50 320×400, 2 pictures": Case(PAPER, _RESNET, 1000, 800, steps=4),
}
THE_PAPER = {"ResNet-50 900×1500, 5 pictures": Case(PAPER, (), 1500, 900, steps=3)}


def main() -> None:
    """Estimate and train every case, and print both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paper", action="store_true", help="the paper's own recipe, too")
    parser.add_argument("--only", help="cases with this in their name")
    parser.add_argument("--train", nargs=2, metavar=("CASE", "SCENES"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    cases = CASES | THE_PAPER
    if args.train:
        name, scenes = args.train
        print(json.dumps(trained(cases[name], Path(scenes))))
        return
    print(json.dumps(environment()))
    rows = []
    for name, case in (cases if args.paper else CASES).items():
        if args.only is None or args.only in name:
            rows.append(compared(name, case))
            print(json.dumps(rows[-1]), flush=True)
    print_table(rows)


def compared(name: str, case: Case) -> dict[str, Any]:
    """Estimated and measured memory and time of a case."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = case.read()
        n_scenes = case.steps * recipe.train.batch_size
        config = SyntheticConfig(
            n_train_scenes=n_scenes, n_test_scenes=2, width=case.width, height=case.height
        )
        draw_dataset(config, Path(folder))
        found: Estimate = estimate(
            recipe,
            n_scenes=n_scenes,
            n_persons=len(load_scenes("folder", Path(folder), "train").person_ids),
            picture_size=(case.width, case.height),
            available_gib=None,
        )
        command = [sys.executable, __file__, "--train", name, folder]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    measured = json.loads(out.splitlines()[-1])
    return {
        "case": name,
        "estimated_gib": found.total_gib - found.memory.program_gib,
        "measured_gib": measured["peak_gib"] - measured["before_gib"],
        "estimated_s": found.step_s,
        "measured_s": measured["step_s"],
        "program_gib": measured["before_gib"],
    }


def trained(case: Case, scenes: Path) -> dict[str, float]:
    """Train a case in this very process."""
    recipe, data = case.read(), contiguous(load_scenes("folder", scenes, "train"))
    before = peak_gib()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        train(recipe, data, run)
        lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    seconds = [
        recipe.train.batch_size / line["images_per_s"] for line in lines if "images_per_s" in line
    ]
    return {
        "before_gib": before,
        "peak_gib": peak_gib(),
        "step_s": min(seconds[1:]),
    }


def peak_gib() -> float:
    """Most memory that this process has held so far, as Linux tells it.

    Not by ``getrusage``, where a process begins with the peak of the one that started it.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**20


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print the rows as Markdown, as docs/guides/doctor.md has them."""
    print("\n| recipe | estimated GiB | measured | ratio | estimated s | measured | ratio |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        cells = [row["case"]]
        for unit in ("gib", "s"):
            a, b = row[f"estimated_{unit}"], row[f"measured_{unit}"]
            cells += [f"{a:.3g}", f"{b:.3g}", f"{a / b:.2f}"]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
