"""NAE+: positions of regions are embedded, and their lengths are the attention."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, normalize
from torchvision.ops import box_iou

from fake.tiny import CONFIG, N_PERSONS, picture, target
from fdps.config import LossConfig
from fdps.errors import ConfigError
from fdps.losses import Criterion
from fdps.models import PersonSearchNet, build_system
from fdps.models.heads import HeadOutputs
from fdps.models.systems.nae_plus import (
    PixelEmbedding,
    PixelHeads,
    PixelScore,
    PixelStage,
    inside,
    nearest,
)
from fdps.models.weights import begin_from, save_weights

NAE_PLUS = replace(CONFIG, system="nae_plus", person_score="norm", reid_features="res4+res5")
LOSS = LossConfig(queue_size=4)
PEOPLE = target((5, 5, 30, 60, 0), (40, 8, 62, 60, 2))
LOSSES = ["rpn_score", "rpn_box", "person", "box", "reid"]


def build(**change: object) -> tuple[PersonSearchNet, Criterion]:
    torch.manual_seed(0)
    return build_system(replace(NAE_PLUS, **change), LOSS, N_PERSONS)


def heads_of(net: PersonSearchNet) -> PixelHeads:
    assert isinstance(net.roi_heads.heads, PixelHeads)
    return net.roi_heads.heads


def stage_of(net: PersonSearchNet) -> PixelStage:
    assert isinstance(net.roi_heads, PixelStage)
    return net.roi_heads


def looped(region: Tensor, box: Tensor, size: tuple[int, int]) -> np.ndarray:
    """The mask of one region, pixel by pixel, in float64."""
    x1, y1, x2, y2 = (float(v) for v in region)
    width, height = math.ceil(x2 - x1), math.ceil(y2 - y1)
    drawn = np.zeros((height, width))
    left, top = math.floor(max(x1, float(box[0])) - x1), math.floor(max(y1, float(box[1])) - y1)
    right, bottom = math.ceil(min(x2, float(box[2])) - x1), math.ceil(min(y2, float(box[3])) - y1)
    for y in range(height):
        for x in range(width):
            drawn[y, x] = left <= x <= right and top <= y <= bottom
    mask = np.zeros(size)
    for i in range(size[0]):
        for j in range(size[1]):
            y = max((i + 0.5) * height / size[0] - 0.5, 0)
            x = max((j + 0.5) * width / size[1] - 0.5, 0)
            for k, v in ((math.floor(y), 1 - y % 1), (math.floor(y) + 1, y % 1)):
                for m, w in ((math.floor(x), 1 - x % 1), (math.floor(x) + 1, x % 1)):
                    mask[i, j] += v * w * drawn[min(k, height - 1), min(m, width - 1)]
    return mask


def test_the_mask_is_that_of_a_loop_over_pixels() -> None:
    rows = torch.rand(40, 2, 4, generator=torch.Generator().manual_seed(0)) * 60
    corners, sides = rows[..., :2], rows[..., 2:] + 1
    regions, boxes = torch.cat([corners, corners + sides], dim=2).unbind(1)
    expected = np.stack([looped(r, b, (7, 5)) for r, b in zip(regions, boxes, strict=True)])
    ours = inside(regions, boxes, (7, 5))
    assert 0.1 < expected.mean() < 0.9
    np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=1e-4)


def test_the_mask_of_a_region_within_its_box_is_one_everywhere() -> None:
    region = torch.tensor([[10.5, 20.25, 43.0, 99.0]])
    wide = torch.tensor([[0.0, 0.0, 60.0, 120.0]])
    for box in (wide, region):
        torch.testing.assert_close(inside(region, box, (7, 7)), torch.ones(1, 7, 7))


@pytest.mark.parametrize("shift", [(-50, 0), (0, -50), (50, 0), (0, 50), (-50, -50)])
def test_the_mask_of_a_region_beside_its_box_is_zero(shift: tuple[int, int]) -> None:
    region = torch.tensor([[100.0, 100.0, 140.0, 130.0]])
    assert not inside(region, region + torch.tensor([*shift, *shift]), (7, 7)).any()


def test_the_mask_of_a_box_over_the_left_half_is_a_left_half() -> None:
    region, box = torch.tensor([[0.0, 0.0, 140.0, 70.0]]), torch.tensor([[0.0, 0.0, 69.0, 70.0]])
    (mask,) = inside(region, box, (7, 7))
    assert (mask[:, :3] == 1).all()
    assert (mask[:, 4:] == 0).all()


def test_a_region_looks_at_the_box_that_it_overlaps_most() -> None:
    regions = torch.tensor([[0.0, 0, 10, 10], [38, 8, 60, 60], [200, 200, 210, 210]])
    found = nearest(regions, PEOPLE["boxes"])
    best = box_iou(regions, PEOPLE["boxes"]).argmax(dim=1)
    torch.testing.assert_close(found, PEOPLE["boxes"][best])
    nobody = nearest(regions, torch.zeros(0, 4))
    assert not inside(regions, nobody, (7, 7)).any()
    assert inside(regions[:0], nobody[:0], (7, 7)).shape == (0, 7, 7)


def test_the_loss_is_binary_cross_entropy_over_positions() -> None:
    score = PixelScore(3)
    certainty, mask = torch.randn(4, 7, 7), torch.rand(4, 7, 7)
    logits = torch.stack([torch.zeros_like(certainty), certainty], dim=1)
    expected = binary_cross_entropy(certainty.double().sigmoid(), mask.double())
    torch.testing.assert_close(score.loss(logits, mask).double(), expected, rtol=0, atol=1e-6)
    assert score.loss(logits[:0], mask[:0]) == 0


def test_an_embedding_is_the_mean_direction_weighed_by_attention() -> None:
    net, _ = build()
    heads = heads_of(net.eval())
    aligned, features = torch.rand(3, 96, 8, 6), torch.rand(3, 1280, 4, 3)
    out = heads(aligned, features)
    whole = heads.embedding.project_maps([aligned, features]).double()
    expected = torch.zeros(3, whole.shape[1], dtype=torch.float64)
    norm = heads.person.rescaler
    for r in range(3):
        for i in range(4):
            for j in range(3):
                length = whole[r, :, i, j].norm()
                scaled = (length - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
                attention = (scaled * norm.weight + norm.bias).sigmoid()
                expected[r] += whole[r, :, i, j] / length * attention.double() / 12
    torch.testing.assert_close(
        out.embeddings.double(), normalize(expected, dim=1), rtol=0, atol=1e-5
    )
    torch.testing.assert_close(heads.embed(aligned, features), out.embeddings)
    short = heads.train()(aligned, features).embeddings.norm(dim=1)
    assert (short < 0.999).all()


def test_a_projection_is_a_convolution_of_one_pixel() -> None:
    embedding = PixelEmbedding((6, 4), 8, is_small=True).eval()
    small, large = torch.randn(2, 4, 4, 3), torch.randn(2, 6, 8, 6)
    parts = []
    for given, linear, norm in zip(
        (large, small), embedding.projections, embedding.norms, strict=True
    ):
        weight = linear.weight[:, :, None, None]
        part = torch.nn.functional.conv2d(given, weight)
        parts.append(part / math.sqrt(1 + norm.eps) * norm.weight[:, None, None])
    # Halving by bilinear sampling is the mean of four.
    parts[0] = torch.nn.functional.avg_pool2d(parts[0], 2)
    torch.testing.assert_close(embedding.project_maps([large, small]), torch.cat(parts, dim=1))


def test_equal_positions_embed_as_each_of_them() -> None:
    net, _ = build(reid_features="res5")
    heads = heads_of(net.eval())
    column = torch.rand(2, 1280, 1, 1)
    wide = heads.embed(torch.rand(2, 96, 8, 6), column.expand(2, 1280, 4, 3).contiguous())
    narrow = heads.embed(torch.rand(2, 96, 2, 2), column)
    torch.testing.assert_close(wide, narrow, rtol=0, atol=1e-6)


def test_the_best_region_of_each_picture_scores_one() -> None:
    net, _ = build()
    found = net.eval().detect([picture(), picture(80, 64)])
    for people in found:
        assert people["scores"][0] == 1
        assert (people["scores"] > 0).all()
        torch.testing.assert_close(
            people["embeddings"].norm(dim=1), torch.ones(len(people["boxes"]))
        )
    logits = torch.randn(5, 2, 4, 3)
    out = HeadOutputs(torch.zeros(5, 4), logits, torch.zeros(5, 16))
    first, none, last = stage_of(net).scores(out, [3, 0, 2])
    mean = logits.softmax(dim=1)[:, 1].mean(dim=(1, 2))
    torch.testing.assert_close(first, mean[:3] / mean[:3].max())
    torch.testing.assert_close(last, mean[3:] / mean[3:].max())
    assert none.shape == (0,)


def test_no_attention_at_all_is_no_division_by_zero() -> None:
    logits = torch.tensor([0.0, -1000.0])[None, :, None, None].expand(2, 2, 4, 3)
    out = HeadOutputs(torch.zeros(2, 4), logits, torch.zeros(2, 16))
    (scores,) = stage_of(build()[0]).scores(out, [2])
    assert (scores == 0).all()


@pytest.mark.parametrize("stages", ["one", "two"])
@pytest.mark.parametrize(
    "targets",
    [
        [PEOPLE, target((10, 10, 40, 50, 1))],
        [PEOPLE, target()],
        [target(), target()],
        [target((5, 5, 30, 60, -1)), target((10, 10, 40, 50, -1))],
    ],
    ids=["people", "people in one picture", "nobody", "unlabelled people"],
)
def test_every_mix_of_labels_teaches_a_finite_gradient(
    targets: list[dict[str, Tensor]], stages: str
) -> None:
    net, criterion = build(stages=stages)
    out = net.train()([picture(), picture()], targets, criterion)
    assert [*out.losses][-3:] == LOSSES[-3:]
    torch.stack([loss.value for loss in out.losses.values()]).sum().backward()
    gradients = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    last = "roi_heads.second" if stages == "two" else "roi_heads"
    for name in ("embedding.projections.0.weight", "person.rescaler.weight"):
        assert gradients[f"{last}.heads.{name}"].abs().max() > 0
    criterion.update(*out.people)


@pytest.mark.parametrize("norm", ["train", "frozen", "sync"])
def test_it_trains_with_every_kind_of_norm(norm: str) -> None:
    net, criterion = build(norm=norm)
    losses = net.train()([picture(), picture()], [PEOPLE, PEOPLE], criterion).losses
    assert [*losses] == LOSSES
    assert all(loss.value.isfinite() for loss in losses.values())


def test_a_trained_nae_goes_on_as_nae_plus(tmp_path: Path) -> None:
    config = replace(NAE_PLUS, system="oim_base")
    nae, _ = build_system(config, LOSS, N_PERSONS)
    save_weights(nae, config, LOSS, N_PERSONS, path := tmp_path / "nae.safetensors")
    net, _ = build()
    assert begin_from(net, str(path)) == []
    assert isinstance(net.roi_heads, PixelStage)
    for name, value in nae.state_dict().items():
        assert torch.equal(net.state_dict()[name], value), name


def test_raises_a_memory_that_is_to_score() -> None:
    with pytest.raises(ConfigError, match="must not be 'memory'"):
        build(person_score="memory")
