"""Train ``street-people`` in small, with and without each of its parts, and compare.

    python benchmarks/street_people_parts.py --pictures data/street_people --out runs/parts \
        --root prw_c6

``--pictures`` is what ``street_people.py`` made. Every variant takes the same number of steps from
ImageNet weights on the same pictures, in the recipe of the first half at a smaller size:

* ``both``: a teacher for everybody, and identities of collages with the balanced loss;
* ``teacher alone``: no identities;
* ``identities alone``: no teacher; the photographs teach detection and fill the queue;
* ``OIM``: both, without the balance;
* ``OIM-base``: both, without the decomposition.

Prints a line for each run as it is finished, then a Markdown table with the mean over the seeds.
Runs that are finished are not trained again; an interrupted one goes on.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from models_table import measure

from fdps.cli.main import main as fdps
from fdps.data import load_scenes
from fdps.data.readers.folder import write_folder
from fdps.engine.run_log import environment
from fdps.errors import FdpsError

RECIPE = Path(__file__).parents[1] / "configs" / "street_people" / "street_people.toml"
SMALL = (
    *("model.short_side=[288]", "model.long_side=480", "model.regions_per_image=24"),
    *("train.mosaic_size=[288,432]", "train.epochs=1", "train.validate_every=0"),
)
VARIANTS = {
    "both": (),
    "teacher alone": ("loss.reid_weight=0.0",),
    "identities alone": ("loss.teacher_weight=0.0",),
    "OIM": ("loss.name=oim",),
    "OIM-base": ("model.system=oim_base",),
}
PARTS = ("photographs", "collages")


def main() -> None:
    """Make the smaller sets, train, score, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--root", type=Path, metavar="PRW", help="scored as well; never trained on")
    parser.add_argument("--backbone-weights", metavar="FILE", help="[default: the recipe's]")
    parser.add_argument("--scenes", type=int, default=1200, help="of each of the two sets")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=[*VARIANTS])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--precision", default="32-true")
    options = parser.parse_args()
    for name in PARTS:
        write_part(options.pictures / name, options.out / name, options.scenes)
    tested = {"collages": ("folder", options.pictures / "collages", "val", 0)}
    if options.root:
        tested["prw"] = ("prw", options.root, "test", 250)
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in range(1, options.seeds + 1):
        for variant in options.variants:
            run = options.out / f"{variant.replace(' ', '_')}-{seed}"
            train(run, variant, seed, options)
            rows.setdefault(variant, []).append(score(run, tested))
            print(json.dumps({"variant": variant, "seed": seed} | rows[variant][-1]), flush=True)
    columns = [*rows[options.variants[0]][0]]
    print(f"| variant | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for variant, found in rows.items():
        cells = (cell([row[column] for row in found]) for column in columns)
        print(f"| {variant} | {' | '.join(cells)} |")
    print(f"\n{json.dumps(environment())}")


def write_part(whole: Path, part: Path, n_scenes: int) -> None:
    """Write a random part of a training split, unless it is there."""
    if (part / "fdps.toml").exists():
        return
    scenes = load_scenes("folder", whole, "train")
    rows = np.random.default_rng(0).permutation(len(scenes.scenes))[:n_scenes]
    kept = tuple(scenes.scenes[row] for row in sorted(rows.tolist()))
    write_folder(part, {"train": replace(scenes, scenes=kept)}, name=part.name)


def train(run: Path, variant: str, seed: int, options: argparse.Namespace) -> None:
    """Train one variant, go on with it, or find that it is finished."""
    if (run / "weights.safetensors").exists():
        return
    sources = ", ".join(
        f'{{ kind = "folder", root = "{options.out / name}", split = "train" }}' for name in PARTS
    )
    settings = [*SMALL, *VARIANTS[variant], f"train.seed={seed}", f"data.train=[{sources}]"]
    settings.append(f"train.precision={options.precision}")
    settings.append(f"data.validation.root={options.pictures / 'collages'}")
    settings.append(f"data.test.root={options.pictures / 'collages'}")
    if options.backbone_weights:
        settings.append(f"model.backbone_weights={options.backbone_weights}")
    each = [word for setting in settings for word in ("--set", setting)]
    status = fdps(["train", str(RECIPE), "-o", str(run), "--quiet", *each])
    if status:
        sys.exit(status)


def score(run: Path, tested: dict[str, tuple[str, Path, str, int]]) -> dict[str, float]:
    """Return the figures of a run on all sets, by names that begin with the set's."""
    kept = run / "scores.json"
    if kept.exists():
        scores: dict[str, float] = json.loads(kept.read_text(encoding="utf-8"))
        return scores
    found = {}
    for name, (kind, root, split, gap) in tested.items():
        scenes = load_scenes(kind, root, split)
        found |= {f"{name} {k}": v for k, v in measure(str(run), scenes, None, gap).items()}
    kept.write_text(json.dumps(found), encoding="utf-8")
    return found


def cell(values: list[float]) -> str:
    """Write a mean, and the deviation over the seeds where there are several."""
    deviation = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{deviation}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    try:
        main()
    except FdpsError as error:
        sys.exit(f"error: {error}\n  {error.hint}".rstrip())
