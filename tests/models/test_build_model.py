from dataclasses import replace

import pytest
import torch
from torch import nn

from fake.tiny import CONFIG, picture, tiny_network
from fdps.config import LossConfig, ModelConfig
from fdps.losses import BalancedOIMLoss, OIMLoss
from fdps.models import PersonSearchNet, build_criterion, build_model
from fdps.models.norms import FixedBatchNorm1d, SyncedBatchNorm
from fdps.models.roi_align import RoIMaxPool
from fdps.models.sub_features import (
    Flattened,
    LearnedMarginals,
    MarginalDistribution,
    SharedMean,
    SharedPeak,
)

SUB_FEATURES = {
    "oim": SharedMean,
    "oim_base": SharedPeak,
    "flatten": Flattened,
    "parameter_base": LearnedMarginals,
    "fdps": MarginalDistribution,
}

BOIM = LossConfig(
    name="boim",
    temperature=0.1,
    momentum=0.25,
    queue_size=7,
    alpha=-2.0,
    sigma=0.75,
    beta=-0.5,
    use_dispersion=False,
    use_negatives=False,
)


def planned(config: ModelConfig) -> PersonSearchNet:
    """A network without memory behind its weights: large ones are planned at once."""
    with torch.device("meta"):
        return build_model(replace(config, backbone_weights="none"))


def n_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_network_of_the_paper_has_its_parameters() -> None:
    net = planned(ModelConfig())
    assert n_parameters(net.backbone) == 8_543_296
    assert n_parameters(net.rpn) == 9_515_083
    assert n_parameters(net.roi_heads.region_head) == 14_964_736
    heads = net.roi_heads.heads
    # Rows and columns: 2 outputs from 2048 · 7 each; mean: 2 from 2048; peak: 256 from 2048.
    assert n_parameters(heads.vertical) == n_parameters(heads.horizontal) == 2 * (2048 * 7 + 1)
    assert n_parameters(heads.person) == 2 * (2048 + 1)
    assert n_parameters(heads.embedding) == 2048 * 256 + 2 * 256
    assert heads.box_norm is not None
    assert n_parameters(heads.box_norm) == 8
    assert n_parameters(heads.sub_features) == 0


def test_the_systems_differ_in_their_sub_features_alone() -> None:
    shapes = {}
    for system, module in SUB_FEATURES.items():
        net = planned(ModelConfig(system=system))
        assert type(net.roi_heads.heads.sub_features) is module
        state = {k: v.shape for k, v in net.state_dict().items()}
        shapes[system] = {k: v for k, v in state.items() if "roi_heads.heads" not in k}
        assert net.roi_heads.heads.sub_features.dims.reid == 2048
    assert all(shape == shapes["fdps"] for shape in shapes.values())


def test_region_size_sizes_the_heads_rounded_up() -> None:
    heads = planned(ModelConfig(region_size=(13, 8))).roi_heads.heads
    assert heads.vertical.in_features == 2048 * 7
    assert heads.horizontal.in_features == 2048 * 4


def test_every_field_of_the_model_reaches_its_part() -> None:
    config = ModelConfig(
        backbone="mobilenet_v2",
        backbone_weights="none",
        frozen_stages=2,
        short_side=(48, 64),
        long_side=100,
        anchor_sizes=(10, 20),
        anchor_ratios=(1.5, 2.5, 3.5),
        rpn_before_nms=(40, 30),
        rpn_after_nms=(20, 10),
        rpn_nms_iou=0.65,
        rpn_foreground_iou=0.75,
        rpn_background_iou=0.35,
        rpn_anchors_per_image=99,
        rpn_positive_fraction=0.125,
        region_size=(6, 4),
        region_samples=3,
        regions_per_image=9,
        positive_fraction=0.25,
        foreground_iou=0.6,
        background_iou=0.4,
        reid_features="res4+res5",
        embedding_dim=12,
        box_norm=False,
        score_threshold=0.3,
        nms_iou=0.45,
        max_detections=17,
        embedded_box="detection",
    )
    assert isinstance(planned(ModelConfig(region_pooling="max")).roi_heads.pool, RoIMaxPool)
    net = build_model(config)
    assert net.backbone.frozen_stages == 2
    assert [(side.min_size, side.max_size) for side in net.transform.sides] == [
        ((48,), 100),
        ((64,), 100),
    ]
    assert (net.rpn.anchors.sizes, net.rpn.anchors.aspect_ratios) == (
        ((10, 20),),
        ((1.5, 2.5, 3.5),),
    )
    for name, value in vars(net.rpn.rules).items():
        assert value == getattr(config, f"rpn_{name}"), name
    assert (net.roi_heads.pool.size, net.roi_heads.pool.sampling_ratio) == ((6, 4), 3)
    for name, value in vars(net.roi_heads.rules).items():
        assert value == getattr(config, name), name
    assert net.roi_heads.heads.embedding.dim == 12
    assert [p.in_features for p in net.roi_heads.heads.embedding.projections] == [96, 1280]
    assert net.roi_heads.heads.box_norm is None
    assert net.roi_heads.min_score == 0.3


def norms(norm: str) -> tuple[list[nn.Module], list[nn.Module]]:
    """The batch norms of the backbone and those of the heads, of whatever kind."""
    net = tiny_network(norm=norm, reid_features="res4+res5")
    kinds = nn.BatchNorm1d | nn.BatchNorm2d | SyncedBatchNorm
    heads = [m for m in net.roi_heads.heads.modules() if isinstance(m, kinds)]
    return [m for m in net.modules() if isinstance(m, kinds) and m not in heads], heads


def test_norms_as_they_are() -> None:
    backbone, heads = norms("train")
    assert {type(norm) for norm in backbone} == {nn.BatchNorm2d}
    assert [type(norm) for norm in heads] == [nn.BatchNorm1d] * 3  # two of embeddings, one of boxes


def test_frozen_norms_are_folded_in_the_backbone_and_fixed_in_the_heads() -> None:
    backbone, heads = norms("frozen")
    assert backbone == []
    assert [type(norm) for norm in heads] == [FixedBatchNorm1d] * 3


def test_synchronised_norms_are_all_of_them() -> None:
    backbone, heads = norms("sync")
    assert {type(norm) for norm in (*backbone, *heads)} == {SyncedBatchNorm}
    assert len(backbone) == len(norms("train")[0])
    assert len(heads) == 3


def test_state_dicts_of_usual_and_synchronised_norms_are_interchangeable() -> None:
    usual, synced = tiny_network(norm="train"), tiny_network(norm="sync")
    synced.load_state_dict(usual.state_dict())
    image = picture()
    (ours,), (theirs,) = synced.detect([image]), usual.detect([image])
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_convolutions_lie_in_channels_last_memory() -> None:
    net = build_model(CONFIG)
    wide = [m.weight for m in net.modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1)]
    assert all(w.is_contiguous(memory_format=torch.channels_last) for w in wide)


def test_oim_gets_its_fields() -> None:
    loss = build_criterion(replace(BOIM, name="oim"), 3, 8)
    assert isinstance(loss, OIMLoss)
    assert (loss.temperature, loss.memory.table.momentum) == (0.1, 0.25)
    assert loss.memory.table.rows.shape == (3, 8)
    assert loss.memory.queue.rows.shape == (7, 8)


def test_boim_gets_its_fields() -> None:
    loss = build_criterion(BOIM, 3, 8)
    assert isinstance(loss, BalancedOIMLoss)
    assert (loss.temperature, loss.memory.table.momentum) == (0.1, 0.25)
    assert (loss.alpha, loss.sigma, loss.beta) == (-2.0, 0.75, -0.5)
    assert (loss.dispersion, loss.use_negatives) == (None, False)
    assert loss.memory.queue.rows.shape == (7, 8)


@pytest.mark.parametrize("dispersion", [False, True])
@pytest.mark.parametrize("negatives", [False, True])
def test_the_rows_of_table_2(dispersion: bool, negatives: bool) -> None:
    loss = build_criterion(replace(BOIM, use_dispersion=dispersion, use_negatives=negatives), 3, 8)
    assert isinstance(loss, BalancedOIMLoss)
    assert (loss.dispersion is not None, loss.use_negatives) == (dispersion, negatives)
