"""Whether each system can learn at all: sixteen drawn scenes, by heart, within a minute or two."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fake.seen_again import with_queries
from fdps.config import LossConfig, ModelConfig, Recipe, TrainConfig
from fdps.data import load_scenes
from fdps.data.identities import contiguous
from fdps.data.synthetic import SyntheticConfig, draw_dataset
from fdps.engine.predict import predict
from fdps.engine.train import train
from fdps.evaluation import evaluate
from fdps.searcher import load
from fdps.structures import SceneSet

# Two hundred steps magnify the last bit of a sum: with other threads the same seed ends elsewhere.
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
        background_iou=0.3,
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
SYSTEMS: dict[str, dict[str, Mapping[str, Any]]] = {
    # Without its RoI pooling: people three positions high need finer boxes than whole positions.
    "OIM": {"model": {"system": "oim"}},
    "OIM-base": {},
    "NAE": {"model": BY_LENGTH},
    # Begun from a trained NAE, as published. Its scores are shares of the best in a picture.
    "NAE+": {"model": {**BY_LENGTH, "system": "nae_plus", "score_threshold": 0.7}},
    "HOIM": {
        "model": {"person_score": "memory", "reid_features": "res4+res5"},
        # Its focal losses are a quarter of a cross-entropy at most, and less once they are small.
        "loss": {"background_size": 32, "person_weight": 10.0, "reid_weight": 10.0},
        "train": {"epochs": 90, "milestones": (63.0, 80.0)},
    },
    "SeqNet": {"model": {**BY_LENGTH, "stages": "two"}, "loss": {"box_weight": 1.0}},
    "BINet": {"model": {"system": "binet", "options": {"patch_size": (64, 32)}}},
    "QEEPS": {"model": {"system": "qeeps"}, "train": {"sampling": "pairs"}},
    "APNet": {"model": {"system": "apnet"}},
    "OIMNet++": {"model": {"embedding_norm": "prototype"}, "loss": {"name": "loim"}},
    "FDPS": {"model": {"system": "fdps"}, "loss": {"name": "boim"}},
}
BEGINS_FROM = {"NAE+": "NAE"}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> SceneSet:
    """Sixteen scenes of eight people; queries are those who are seen in another one as well."""
    root = tmp_path_factory.mktemp("by_heart")
    config = SyntheticConfig(
        width=240,
        height=160,
        n_train_scenes=16,
        n_test_scenes=4,
        n_train_persons=8,
        n_test_persons=2,
        n_cameras=2,
    )
    draw_dataset(config, root)
    drawn = contiguous(load_scenes("folder", root, "train"))
    return with_queries(drawn)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("system", SYSTEMS)
def test_a_system_learns_sixteen_scenes_by_heart(
    system: str, scenes: SceneSet, shared_data: Path, tmp_path: Path
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
                run = tmp_path / f"{name}_{seed}"
                train(changed(model, name, seed, start_from), scenes, run)
                start_from = str(run)
        seconds = time.perf_counter() - started
        report = evaluate(predict(load(run), scenes), scenes)
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
