"""Whether the whole can learn at all: sixteen real frames, by heart, within five minutes."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from fake.seen_again import with_queries
from fdps.config import LossConfig, ModelConfig, Recipe, TrainConfig
from fdps.data import load_scenes
from fdps.data.identities import contiguous
from fdps.engine.predict import predict
from fdps.engine.train import train
from fdps.evaluation import evaluate
from fdps.searcher import load
from fdps.structures import SceneSet

# 256 steps magnify the last bit of a sum: with other threads the same seed may end with an
# mAP of 0.95 or of 1. Each has to come near, and one has to arrive.
SEEDS = (1, 2, 3)

RECIPE = Recipe(
    name="overfit",
    model=ModelConfig(
        backbone="mobilenet_v2",
        frozen_stages=2,
        short_side=(320,),
        long_side=400,
        anchor_sizes=(32, 64, 128),
        anchor_ratios=(2.0, 3.0),
        rpn_before_nms=(500, 500),
        rpn_after_nms=(150, 60),
        region_size=(14, 8),
        regions_per_image=32,
    ),
    # Sixteen people saturate the softmax of 1/30 early; at 0.1 it goes on pushing them apart, which
    # outlasts the step from the statistics of four pictures to running ones.
    loss=LossConfig(name="boim", queue_size=16, temperature=0.1),
    train=TrainConfig(
        epochs=64,
        batch_size=4,
        lr=0.02,
        trunk_lr_scale=0.1,
        milestones=(45.0, 57.0),
        decay=0.2,
        warmup_epochs=2.0,
        flip=0.0,
        workers=0,
        device="cpu",
    ),
)


def sixteen_frames(root: Path) -> SceneSet:
    """Frames in which nine people come and go; queries are those seen in another one as well."""
    frames = load_scenes("prw", root, "train").scenes[6:22]
    scenes = contiguous(SceneSet("sixteen", frames))
    return with_queries(scenes)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_sixteen_frames_are_learnt_by_heart(shared_data: Path, tmp_path: Path) -> None:
    weights = shared_data / "models" / "mobilenet_v2_imagenet.safetensors"
    if not weights.is_file() or not (shared_data / "prw_c6").is_dir():
        pytest.skip("no real frames or no ImageNet weights")
    scenes = sixteen_frames(shared_data / "prw_c6")
    model = replace(RECIPE.model, backbone_weights=str(weights))
    tried = []
    for seed in SEEDS:
        recipe = replace(RECIPE, model=model, train=replace(RECIPE.train, seed=seed))
        started = time.perf_counter()
        train(recipe, scenes, tmp_path / str(seed))
        seconds = time.perf_counter() - started
        report = evaluate(predict(load(tmp_path / str(seed)), scenes), scenes)
        tried.append(f"seed {seed}: {report.json()} after {seconds:.0f} s")
        assert len(report.search) == len(scenes.queries) > 30, tried
        assert report.search.mean_ap >= 0.9, tried
        assert report.detection.recall >= 0.9, tried
        if report.search.mean_ap >= 0.99 and report.detection.recall >= 0.99:
            return
    pytest.fail(f"no seed reached 0.99: {tried}")
