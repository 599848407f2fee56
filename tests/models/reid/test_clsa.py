from dataclasses import replace
from typing import Any

import pytest
import torch

from fdps.config import LossConfig, TwoStepConfig
from fdps.errors import ConfigError
from fdps.models.reid import build_reid
from fdps.models.reid.clsa import CLSANet, alignment
from fdps.models.reid.network import People

CONFIG = TwoStepConfig(
    detector="x",
    system="clsa",
    options={"channels": 16},
    backbone="mobilenet_v2",
    backbone_weights="none",
    crop_size=(64, 32),
    embedding_dim=12,
)
LOSS = LossConfig(queue_size=4, identity_weight=1.0)


def build(loss: LossConfig = LOSS, **change: Any) -> CLSANet:
    torch.manual_seed(3)
    net, _ = build_reid(replace(CONFIG, **change), loss, 3)
    assert isinstance(net, CLSANet)
    return net


def test_every_level_has_its_share_and_its_classifier() -> None:
    net = build().eval()
    seen = net.look(torch.rand(5, 3, 64, 32))
    assert [vector.shape for vector in seen.vectors] == [(5, 16)] * 3
    assert seen.embeddings.shape == (5, 12)
    assert [logits.shape for logits in net.logits(seen)] == [(5, 3)] * 3


def test_a_deeper_level_reaches_the_shallower_ones_and_not_the_other_way() -> None:
    net = build().eval()
    crops = torch.rand(2, 3, 64, 32)
    before = [v.detach() for v in net.vectors(crops)]
    with torch.no_grad():  # what the deepest stage alone says
        for parameter in net.region_head.parameters():
            parameter.mul_(1.5)
    deeper = net.vectors(crops)
    assert not any(torch.allclose(a, b) for a, b in zip(before, deeper, strict=True))
    with torch.no_grad():
        net.pyramid.layer_blocks[0][0].weight.mul_(2)  # of the shallowest level alone
    shallower = net.vectors(crops)
    assert not torch.allclose(shallower[0], deeper[0])
    assert torch.equal(shallower[2], deeper[2])


def test_alignment_is_the_divergence_of_softened_views() -> None:
    ours, deepest = torch.randn(4, 5, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    p, q = (deepest / 3).softmax(1), (ours / 3).softmax(1)
    expected = 9 * (p * (p / q).log()).sum(1).mean()
    assert alignment(ours, deepest, temperature=3.0).item() == pytest.approx(
        expected.item(), rel=1e-5
    )
    assert alignment(ours, ours, temperature=3.0).item() == pytest.approx(0, abs=1e-6)
    assert alignment(ours[:0], deepest[:0], temperature=3.0).item() == 0


def test_the_deepest_view_is_a_target_and_does_not_move() -> None:
    ours = torch.randn(4, 5, requires_grad=True)
    deepest = torch.randn(4, 5, requires_grad=True)
    alignment(ours, deepest, temperature=2.0).backward()
    assert ours.grad is not None
    assert ours.grad.abs().sum() > 0
    assert deepest.grad is None


def test_identity_and_alignment_are_means_over_levels() -> None:
    net = build(options={"channels": 16, "alignment_weight": 0.5}).eval()
    people = People(torch.tensor([0, 1, -1]), torch.ones(3))
    seen = net.look(torch.rand(3, 3, 64, 32))
    values, logits = net.losses(seen, people), net.logits(seen)
    apart = [alignment(z, logits[-1], temperature=3.0).item() for z in logits[:2]]
    assert values["alignment"].item() == pytest.approx(0.25 * sum(apart), rel=1e-5)
    assert values.keys() == {"identity", "alignment"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"options": {"levels": 5}}, r"model\.options\.levels must be in 2\.\.4, got 5"),
        ({"options": {"temperature": 0.0}}, r"model\.options\.temperature must be in 0\.1"),
        ({"options": {"depth": 2}}, r"unknown recipe key model\.options\.depth"),
        ({"embedding_dim": 16}, r"must be a multiple of model\.options\.levels \(3\), got 16"),
        ({"backbone": "timm:vit_tiny_patch16_224"}, "whose last stages each halve the map"),
    ],
)
def test_what_cannot_be_built(change: dict[str, Any], words: str) -> None:
    if str(change.get("backbone", "")).startswith("timm"):
        pytest.importorskip("timm")
    with pytest.raises(ConfigError, match=words):
        build(**change)


def test_without_a_classifier_there_is_nothing_to_align() -> None:
    with pytest.raises(ConfigError, match="which aligns classifiers"):
        build(LossConfig(queue_size=4))
