from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from fdps.config import LossConfig, TwoStepConfig
from fdps.losses import Criterion
from fdps.models.reid import ReidNet, build_reid
from fdps.models.reid.network import People
from fdps.structures import BACKGROUND_ID, UNLABELLED

CONFIG = TwoStepConfig(
    detector="x",
    backbone="mobilenet_v2",
    backbone_weights="none",
    crop_size=(64, 32),
    embedding_dim=12,
)
LOSS = LossConfig(queue_size=4, identity_weight=1.0, triplet_weight=1.0)
IDS = [0, 0, 1, 1, UNLABELLED]


def build(loss: LossConfig = LOSS, **change: Any) -> tuple[ReidNet, Criterion]:
    torch.manual_seed(3)
    return build_reid(replace(CONFIG, **change), loss, 3)


def crops(n: int) -> list[Tensor]:
    return [torch.rand(3, 64, 32) for _ in range(n)]


def targets(ids: list[int], overlaps: list[float] | None = None) -> list[dict[str, Tensor]]:
    sure = overlaps or [1.0] * len(ids)
    return [
        {"person_ids": torch.tensor([i]), "overlaps": torch.tensor([o])}
        for i, o in zip(ids, sure, strict=True)
    ]


def test_a_batch_has_all_losses_with_what_they_are_means_over() -> None:
    net, criterion = build()
    out = net.train()(crops(5), targets(IDS), criterion)
    assert {name: int(loss.n_samples) for name, loss in out.losses.items()} == {
        "reid": 4,
        "identity": 4,
        "triplet": 4,
    }
    assert out.people.person_ids.tolist() == IDS
    assert not out.people.embeddings.requires_grad
    counted = net.count(crops(5), targets(IDS), criterion)
    assert counted == {name: loss.n_samples for name, loss in out.losses.items()}


def test_losses_without_weight_are_not_computed() -> None:
    net, criterion = build(LossConfig(queue_size=4))
    assert net.classifier is None
    assert net(crops(2), targets([0, 1]), criterion).losses.keys() == {"reid"}


@pytest.mark.parametrize("ids", [[UNLABELLED], [BACKGROUND_ID, BACKGROUND_ID], [0]])
def test_batches_that_teach_little_are_finite(ids: list[int]) -> None:
    net, criterion = build()
    out = net.train()(crops(len(ids)), targets(ids), criterion)
    total = torch.stack([loss.value for loss in out.losses.values()]).sum()
    total.backward()
    assert total.isfinite()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)
    assert BACKGROUND_ID not in out.people.person_ids  # nobody is remembered


def test_no_crops_are_no_loss() -> None:
    net, criterion = build()
    out = net([], [], criterion)
    assert {float(loss.value) for loss in out.losses.values()} == {0}
    assert net.count([], [], criterion).keys() == out.losses.keys()


def test_embeddings_have_unit_length_and_know_their_crop_alone() -> None:
    net, _ = build()
    net.eval()
    some = torch.stack(crops(4))
    rows = net.embed(some)
    assert torch.allclose(rows.norm(dim=1), torch.ones(4), atol=1e-6)
    assert torch.allclose(net.embed(some[2:3]), rows[2:3], atol=1e-5)
    assert net.embed(some[:0]).shape == (0, 12)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_what_is_embedded_is_the_pooled_map(pooling: str) -> None:
    net, _ = build(pooling=pooling)
    net.eval()
    some = torch.stack(crops(2))
    mean, std = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
    pixels = (some - mean[:, None, None]) / std[:, None, None]
    maps = net.region_head(net.backbone(pixels)).flatten(2)
    pooled = maps.mean(dim=2) if pooling == "mean" else maps.amax(dim=2)
    (vectors,) = net.vectors(some)
    assert torch.allclose(vectors, pooled, atol=1e-5)
    assert torch.allclose(net.embed(vectors), net.embed(some), atol=1e-5)


def test_a_kept_backbone_never_moves() -> None:
    net, criterion = build(features="kept")
    net.train()
    before = {k: v.clone() for k, v in net.backbone.state_dict().items()}
    out = net([torch.rand(1280) for _ in range(5)], targets(IDS), criterion)
    torch.stack([loss.value for loss in out.losses.values()]).sum().backward()
    assert not any(p.requires_grad for p in net.backbone.parameters())
    net.vectors(torch.stack(crops(2)))
    assert all(torch.equal(v, before[k]) for k, v in net.backbone.state_dict().items())
    assert net.embedding.training


def test_a_transformer_is_embedded_without_a_head_that_knows_nothing() -> None:
    pytest.importorskip("timm")
    net, _ = build(backbone="timm:vit_tiny_patch16_224", embedding_dim=8)
    net.eval()
    assert net.embed(torch.stack(crops(2))).shape == (2, 8)
    assert not [*net.region_head.parameters()]


def test_what_searching_needs_has_no_classifier() -> None:
    net, _ = build()
    names = net.searching_state()
    assert "embedding.projections.0.weight" in names
    assert not [name for name in names if name.startswith("classifier")]


def test_people_are_gathered_in_order() -> None:
    people = People.of(targets([4, -1], [0.5, 1.0]))
    assert people.ids.tolist() == [4, -1]
    assert people.overlaps.tolist() == [0.5, 1.0]
