"""Whether each system can learn at all: sixteen drawn scenes, by heart, within a minute or two."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake.seen_again import with_queries
from fdps.boxes import iou
from fdps.config import LossConfig, ModelConfig, Recipe, TrainConfig
from fdps.data import load_scenes
from fdps.data.identities import contiguous
from fdps.data.synthetic import SyntheticConfig, draw_dataset
from fdps.engine.predict import predict
from fdps.engine.train import train
from fdps.evaluation import evaluate
from fdps.searcher import load
from fdps.structures import Boxes, SceneSet

# Two hundred steps magnify the last bit of a sum: on another processor a seed ends elsewhere. The
# first seed should do; the others are there for a processor that has bad luck with it.
SEEDS = (1, 2, 3)

RECIPE = Recipe(
    name="by_heart",
    model=ModelConfig(
        system="oim_base",
        backbone="mobilenet_v2",
        frozen_stages=2,
        short_side=(160,),
        long_side=240,
        anchor_sizes=(16, 32, 64),
        anchor_ratios=(2.2, 3.5),
        rpn_before_nms=(300, 300),
        rpn_after_nms=(80, 40),
        region_size=(8, 4),
        regions_per_image=24,
        embedding_dim=128,
    ),
    loss=LossConfig(queue_size=16, temperature=0.1),
    train=TrainConfig(
        epochs=60,
        batch_size=4,
        lr=0.02,
        trunk_lr_scale=0.1,
        milestones=(42.0, 53.0),
        decay=0.2,
        warmup_epochs=2.0,
        flip=0.0,
        workers=0,
        decoded_gib=0.1,
        device="cpu",
    ),
)

BY_LENGTH = {"person_score": "norm", "reid_features": "res4+res5"}
# All but FDPS, which learns real frames by heart in test_overfit.py.
SYSTEMS: dict[str, dict[str, Mapping[str, Any]]] = {
    # Without its RoI pooling: people three positions high need finer boxes than whole positions.
    "OIM": {"model": {"system": "oim"}},
    "OIM-base": {},
    # Its score learns slowly beside boxes that weigh 10.
    "NAE": {"model": BY_LENGTH, "loss": {"box_weight": 3.0}},
    # Begun from a trained NAE, as published. Its scores are shares of the best in a picture.
    "NAE+": {"model": {**BY_LENGTH, "system": "nae_plus", "score_threshold": 0.7}},
    "HOIM": {
        # Its scores tell people from background long before they pass a half.
        "model": {
            "person_score": "memory",
            "reid_features": "res4+res5",
            "score_threshold": 0.2,
        },
        # Its focal losses are a quarter of a cross-entropy at most, and less once they are small.
        "loss": {"background_size": 32, "person_weight": 10.0, "reid_weight": 10.0},
        "train": {"epochs": 90, "milestones": (63.0, 80.0)},
    },
    # As published, nothing norms the boxes of the first stage. At seven times the published rate
    # their weight of 10 would swamp the first score, which is that of the detections.
    "SeqNet": {
        "model": {**BY_LENGTH, "stages": "two"},
        "loss": {"box_weight": 1.0, "first_box_weight": 1.0},
    },
    "BINet": {"model": {"system": "binet", "options": {"patch_size": (64, 32)}}},
    "QEEPS": {"model": {"system": "qeeps"}, "train": {"sampling": "pairs"}},
    "IGPN": {
        "model": {"system": "igpn_detector", "options": {"channels": 64}},
        "train": {"sampling": "pairs"},
    },
    "APNet": {"model": {"system": "apnet"}},
    "OIMNet++": {"model": {"embedding_norm": "prototype"}, "loss": {"name": "loim"}},
}
BEGINS_FROM = {"NAE+": "NAE"}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> SceneSet:
    """Sixteen scenes of eight people; queries are those who are seen in another one as well."""
    root = tmp_path_factory.mktemp("by_heart")
    config = SyntheticConfig(
        width=240,
        height=160,
        n_train_scenes=64,
        n_test_scenes=4,
        n_train_persons=8,
        n_test_persons=2,
        n_cameras=2,
    )
    draw_dataset(config, root)
    drawn = load_scenes("folder", root, "train").scenes
    clear = tuple(scene for scene in drawn if everybody_is_clear(scene.boxes))[:16]
    assert len(clear) == 16
    return with_queries(contiguous(SceneSet("by_heart", clear)))


def everybody_is_clear(boxes: Boxes) -> bool:
    """Tell whether nobody is a speck, a sliver at the border, or hidden behind somebody else.

    A map of stride 16 shows such people in two or three positions, and suppression takes one of two
    who overlap: few of them decide over a mAP, and they do so by chance.
    """
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    overlaps = iou(boxes, boxes) - np.eye(len(boxes))
    return bool(width.min() >= 14 and height.min() >= 40 and overlaps.max() < 0.3)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the runs of all systems: one may begin from the run of another."""
    return tmp_path_factory.mktemp("runs")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("system", SYSTEMS)
def test_a_system_learns_sixteen_scenes_by_heart(
    system: str, scenes: SceneSet, shared_data: Path, runs: Path
) -> None:
    weights = shared_data / "models" / "mobilenet_v2_imagenet.safetensors"
    if not weights.is_file():
        pytest.skip("no ImageNet weights")
    model = replace(RECIPE.model, backbone_weights=str(weights))
    tried = []
    for seed in SEEDS:
        started, start_from = time.perf_counter(), ""
        for name in (BEGINS_FROM.get(system), system):
            if name is not None:
                run = runs / f"{name}_{seed}"
                if not run.exists():
                    train(changed(model, name, seed, start_from), scenes, run)
                start_from = str(run)
        seconds = time.perf_counter() - started
        report = evaluate(predict(load(run), scenes), scenes, score_threshold=0.0)
        tried.append(f"seed {seed}: {report.json()} after {seconds:.0f} s")
        assert len(report.search) == len(scenes.queries) > 30, tried
        if report.search.mean_ap >= 0.95:
            return
    pytest.fail(f"no seed reached a mAP of 0.95: {tried}")


def changed(model: ModelConfig, system: str, seed: int, start_from: str) -> Recipe:
    """The recipe of a system, which may begin from the run of another."""
    changes = SYSTEMS[system]
    return replace(
        RECIPE,
        model=replace(model, **changes.get("model", {})),
        loss=replace(RECIPE.loss, **changes.get("loss", {})),
        train=replace(RECIPE.train, seed=seed, start_from=start_from, **changes.get("train", {})),
    )
