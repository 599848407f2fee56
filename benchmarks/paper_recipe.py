"""Run the paper's own recipe for a few steps: ResNet-50, 900×1500, batch 5.

    python benchmarks/paper_recipe.py                       # three steps, ten predictions, CPU
    python benchmarks/paper_recipe.py --device cuda --steps 200 --precision bf16-mixed

The pictures are drawn scenes of 1500×900 pixels, the weights random: this measures seconds and
memory, and that the recipe runs, nothing else. Prints one JSON object.
"""

import argparse
import json
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from fdps.config import Recipe, load_recipe
from fdps.data import load_scenes
from fdps.data.identities import contiguous
from fdps.data.synthetic import SyntheticConfig, draw_dataset
from fdps.engine.predict import predict
from fdps.engine.run_log import environment
from fdps.engine.train import train
from fdps.models import build_model
from fdps.searcher import load
from fdps.structures import SceneSet


def main() -> None:
    """Train, predict, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", type=Path, default=Path("configs/prw/fdps_boim.toml"))
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=10, help="to predict")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="32-true")
    args = parser.parse_args()
    recipe = short_recipe(args)
    with tempfile.TemporaryDirectory() as folder:
        scenes = draw(Path(folder) / "scenes", recipe, args)
        run = Path(folder) / "run"
        train(recipe, contiguous(scenes[0]), run, stream=None)
        steps = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        start = time.perf_counter()
        predictions = predict(load(run, device=args.device), scenes[1])
        seconds = (time.perf_counter() - start) / len(scenes[1])
    figures = {
        "parameters": parameters(recipe),
        "training_s_per_step": [recipe.train.batch_size / step["images_per_s"] for step in steps],
        "losses": {k: steps[-1][k] for k in ("rpn_score", "rpn_box", "person", "box", "reid")},
        "prediction_s_per_picture": seconds,
        "detections": len(predictions.scores),
        "peak_memory_gib": peak_memory(args.device),
    }
    print(json.dumps({"recipe": str(args.recipe), **environment(), **figures}, indent=1))


def short_recipe(args: argparse.Namespace) -> Recipe:
    """Make one epoch exactly as long as asked, without weights that need a network."""
    recipe = load_recipe(
        args.recipe,
        [
            "model.backbone_weights=none",
            "train.epochs=1",
            f"train.log_every={max(args.steps // 10, 1)}",
            f"train.device={args.device}",
            f"train.precision={args.precision}",
        ],
    )
    return replace(recipe, model=replace(recipe.model, score_threshold=0.0))


def draw(root: Path, recipe: Recipe, args: argparse.Namespace) -> tuple[SceneSet, SceneSet]:
    """Draw as many scenes as the steps and predictions need."""
    config = SyntheticConfig(
        n_train_scenes=args.steps * recipe.train.batch_size,
        n_test_scenes=args.pictures,
        width=1500,
        height=900,
    )
    draw_dataset(config, root)
    return load_scenes("folder", root, "train"), load_scenes("folder", root, "test")


def parameters(recipe: Recipe) -> dict[str, int]:
    """Parameters of the parts."""
    net = build_model(recipe.model)
    parts = {
        "stem": net.backbone,
        "rpn": net.rpn,
        "res5": net.roi_heads.region_head,
        "heads": net.roi_heads.heads,
    }
    return {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}


def peak_memory(device: str) -> float:
    """Most memory this process held, GiB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
