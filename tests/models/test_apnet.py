"""APNet: aligned regions, visible parts, and an inner product that compares what both show."""

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, normalize

from fake.tiny import CONFIG, N_PERSONS, picture, target
from fdps.config import LossConfig, ModelConfig
from fdps.errors import ConfigError
from fdps.losses import Criterion
from fdps.models import PersonSearchNet, build_system
from fdps.models.roi_align import RoIAlign
from fdps.models.sampling import CUTS, seeded
from fdps.models.systems import system_of
from fdps.models.systems.apnet import (
    BoxAligner,
    PartEmbedding,
    PartHeads,
    drawn_cuts,
    grow,
    limited,
    part_means,
    shrink,
    within,
)
from fdps.models.weights import load_weights, save_weights

PEOPLE = target((5, 5, 30, 60, 0), (40, 8, 62, 60, 2))
LOSSES = ["rpn_score", "rpn_box", "person", "box", "reid", "aligner"]
PARTS = 3


def config(**change: Any) -> ModelConfig:
    return replace(CONFIG, **({"system": "apnet", "options": {"parts": PARTS}} | change))


def build(loss: str = "oim", **change: Any) -> tuple[PersonSearchNet, Criterion]:
    torch.manual_seed(0)
    built: tuple[PersonSearchNet, Criterion] = build_system(
        config(**change), LossConfig(name=loss, queue_size=4, background_size=6), N_PERSONS
    )
    return built


def stage(net: PersonSearchNet) -> PartHeads:
    assert isinstance(net.roi_heads, PartHeads)
    return net.roi_heads


def say(net: PersonSearchNet, *missing: float) -> None:
    """Make the aligner say ``left top right bottom`` of every region."""
    left, top, right, bottom = missing
    aligner = stage(net).aligner
    for layer, bias in ((aligner.vertical, (top, bottom)), (aligner.horizontal, (left, right))):
        nn.init.zeros_(layer.weight)
        with torch.no_grad():
            layer.bias.copy_(torch.tensor(bias))


def with_seeds(*seeds: int, people: dict[str, Tensor] = PEOPLE) -> list[dict[str, Tensor]]:
    return [people | {"seed": torch.tensor(seed)} for seed in seeds]


def missing(*rows: tuple[float, float, float, float]) -> Tensor:
    return torch.tensor(rows).reshape(-1, 4)


NOTHING = (0.0, 0.0, 0.0, 0.0)


def test_a_whole_body_is_visible_everywhere_and_gives_plain_means_of_parts() -> None:
    maps = torch.randn(2, 5, 6, 3)
    means, visibility = part_means(maps, missing(NOTHING, NOTHING), PARTS)
    torch.testing.assert_close(visibility, torch.ones(2, PARTS))
    assert visibility.max() <= 1
    plain = adaptive_avg_pool2d(maps, (PARTS, 1))[..., 0].transpose(1, 2)
    torch.testing.assert_close(means, plain)


@pytest.mark.parametrize("n_parts", [2, 4, 6])
def test_of_a_half_body_the_lower_half_is_not_visible_and_counts_for_nothing(n_parts: int) -> None:
    maps = torch.randn(1, 5, 6, 3)
    maps[:, :, 3:] = 1e6
    means, visibility = part_means(maps, missing((0, 0, 0, 0.5)), n_parts)
    half = n_parts // 2
    torch.testing.assert_close(visibility[:, :half], torch.ones(1, half))
    assert not visibility[:, half:].any()
    assert not means[:, half:].any()
    assert means[:, :half].abs().max() < 10


def test_from_a_side_every_part_is_as_visible_as_the_region_is_wide() -> None:
    _, visibility = part_means(torch.randn(1, 2, 7, 4), missing((0.3, 0, 0, 0)), 7)
    torch.testing.assert_close(visibility, torch.full((1, 7), 0.7))


@pytest.mark.parametrize("n_parts", [1, 3, 7])
def test_means_and_visibilities_are_those_of_areas_summed_one_by_one(n_parts: int) -> None:
    maps, shares = torch.randn(4, 2, 5, 3), torch.rand(4, 4) * 0.45
    means, visibility = part_means(maps, shares, n_parts)
    for region in range(4):
        left, top, right, bottom = shares[region].double().tolist()
        for part in range(n_parts):
            area, total = 0.0, torch.zeros(2, dtype=torch.float64)
            for row, column in itertools.product(range(5), range(3)):
                begin = max(part / n_parts, row / 5, top)
                tall = max(min((part + 1) / n_parts, (row + 1) / 5, 1 - bottom) - begin, 0)
                wide = max(min((column + 1) / 3, 1 - right) - max(column / 3, left), 0)
                area += tall * wide
                total += tall * wide * maps[region, :, row, column].double()
            assert visibility[region, part].item() == pytest.approx(n_parts * area, abs=1e-5)
            if area > 1e-4:
                mean = (total / area).float()
                torch.testing.assert_close(means[region, part], mean, rtol=1e-3, atol=1e-4)


def test_what_is_cut_off_a_body_grows_back() -> None:
    bodies = torch.tensor([[10.0, 20, 50, 140], [0, 0, 7, 9], [3, 4, 300, 700]]).repeat(20, 1)
    cuts = drawn_cuts(bodies, 0.5, torch.Generator().manual_seed(1))
    torch.testing.assert_close(grow(shrink(bodies, cuts), cuts), bodies, rtol=1e-5, atol=1e-4)
    four = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).expand(len(bodies), 4)
    torch.testing.assert_close(grow(shrink(bodies, four), four), bodies, rtol=1e-5, atol=1e-4)


def test_half_a_body_is_missing_below_a_region_that_doubles() -> None:
    assert shrink(torch.tensor([[0.0, 0, 40, 100]]), missing((0, 0, 0, 0.5))).tolist() == [
        [0, 0, 40, 50]
    ]
    assert grow(torch.tensor([[0.0, 0, 40, 50]]), missing((0, 0, 0, 0.5))).tolist() == [
        [0, 0, 40, 100]
    ]


def test_half_of_the_cuts_are_from_below_none_is_from_above_and_shares_are_even() -> None:
    cuts = drawn_cuts(torch.zeros(4000, 4), 0.5, torch.Generator().manual_seed(2))
    assert ((cuts > 0).sum(dim=1) == 1).all()
    share = (cuts > 0).float().mean(dim=0)
    torch.testing.assert_close(share, torch.tensor([0.25, 0, 0.25, 0.5]), rtol=0, atol=0.03)
    sizes = cuts.amax(dim=1)
    assert sizes.max() < 0.5
    assert sizes.mean().item() == pytest.approx(0.25, abs=0.01)


def test_estimates_are_bounded() -> None:
    said = missing((-1, 0.1, 0.2, 0.1), (0.6, 0, 0.2, 5), (-3, -3, -3, -3))
    wanted = missing((0, 0.1, 0.2, 0.1), (0.375, 0, 0.125, 0.5), NOTHING)
    torch.testing.assert_close(limited(said, 0.5), wanted)


def test_people_at_the_border_teach_the_aligner_nothing() -> None:
    boxes = torch.tensor([[5.0, 5, 30, 60], [0, 5, 30, 60], [5, 5, 80, 60], [5, 5, 30, 63.5]])
    assert torch.equal(within(boxes, (64, 80)), boxes[:1])
    net, criterion = build()
    at_border = with_seeds(1, people=target((5, 5, 30, 64, 0), (40, 0, 62, 60, 2)))
    loss = net.train()([picture()], at_border, criterion).losses["aligner"]
    assert (loss.value.item(), loss.n_samples.item()) == (0.0, 0)


def embedding(channels: int = 5, share: int = 4) -> PartEmbedding:
    """An untrained one with norms that do something."""
    module = PartEmbedding(channels, share * (PARTS + 1), PARTS).eval()
    for norm in module.norms:
        assert isinstance(norm, nn.BatchNorm1d)
        nn.init.normal_(norm.bias)
    return module


def test_a_similarity_is_that_of_the_parts_that_both_show() -> None:
    module = embedding()
    peaks = [torch.randn(6, 5) for _ in range(PARTS + 1)]
    visibility = torch.rand(6, PARTS)
    visibility[0], visibility[1, 2], visibility[2, 1:] = 1, 0, 0
    with torch.no_grad():
        embeddings = module(peaks, visibility)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(6))
    rows = torch.stack(module.project(peaks).detach().double().chunk(PARTS + 1, dim=1))
    for one, other in itertools.product(range(6), range(6)):
        cosines = [
            float(row[one] @ row[other] / (row[one].norm() * row[other].norm())) for row in rows
        ]
        v, w = visibility[one].tolist(), visibility[other].tolist()
        both = sum(a * b for a, b in zip(v, w, strict=True))
        mean = sum(a * b * c for a, b, c in zip(v, w, cosines[1:], strict=True)) / both
        kappa = both / math.sqrt(sum(a * a for a in v) * sum(b * b for b in w))
        wanted = (cosines[0] + kappa * mean) / 2
        assert float(embeddings[one] @ embeddings[other]) == pytest.approx(wanted, abs=1e-5)


def test_where_the_same_parts_are_visible_it_is_half_the_published_similarity() -> None:
    module = embedding()
    peaks = [torch.randn(2, 5) for _ in range(PARTS + 1)]
    rows = module.project(peaks).chunk(PARTS + 1, dim=1)
    whole, *parts = (torch.cosine_similarity(*row, dim=0) for row in rows)
    for n_seen in range(1, PARTS + 1):
        visibility = torch.tensor([[1.0] * n_seen + [0.0] * (PARTS - n_seen)] * 2)
        one, other = module(peaks, visibility)
        published = whole + torch.stack(parts[:n_seen]).mean()
        torch.testing.assert_close(2 * (one @ other), published)
    torch.testing.assert_close(module(peaks), module(peaks, torch.ones(2, PARTS)))
    one, other = module(peaks, torch.tensor([[1.0, 0, 0], [1.0, 1, 0]]))
    torch.testing.assert_close(2 * (one @ other), whole + parts[0] * 0.5**0.5)


def test_a_part_that_is_not_visible_moves_no_statistics() -> None:
    module = embedding().train()
    peaks = [torch.randn(4, 5) for _ in range(PARTS + 1)]
    seen = torch.tensor([[1.0, 1, 0], [1, 1, 0.2], [1, 0, 0.6], [1, 1, 0]])
    rows = module(peaks, seen)
    norm, wanted = module.norms[3], module.projections[3](peaks[3][1:3]).mean(dim=0)
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.running_mean is not None
    torch.testing.assert_close(norm.running_mean, 0.1 * wanted)
    assert not rows[0, 12:].any()
    assert rows[1, 12:].any()


def test_a_network_embeds_a_whole_body_as_plain_parts() -> None:
    net, _ = build(region_size=(12, 6))  # whose map has two rows for each part
    say(net.eval(), *NOTHING)
    heads, features = stage(net), torch.randn(1, 96, 8, 8)
    boxes = torch.tensor([[16.0, 8, 60, 100], [30, 20, 70, 110]])
    (found,) = heads.embed(features, [boxes])
    aligned = heads.pool(features, [boxes])
    parts = adaptive_avg_pool2d(heads.part_head(aligned), (PARTS, 1))[..., 0].unbind(2)
    whole = heads.region_head(aligned).mean(dim=(2, 3))
    torch.testing.assert_close(found, heads.heads.embedding([whole, *parts]))


def test_of_a_third_of_a_body_the_network_embeds_the_upper_part_of_the_whole_alone() -> None:
    net, _ = build(region_size=(12, 6), options={"parts": 3, "largest_cut": 0.8})
    say(net.eval(), 0, 0, 0, 2 / 3)
    heads, features = stage(net), torch.randn(1, 96, 8, 8)
    third, body = torch.tensor([[16.0, 0, 60, 40]]), torch.tensor([[16.0, 0, 60, 120]])
    (found,) = heads.embed(features, [third])
    assert found[0, 8:].abs().max() < 1e-6
    parts = adaptive_avg_pool2d(heads.part_head(heads.pool(features, [body])), (3, 1))[..., 0]
    whole = heads.region_head(heads.pool(features, [third])).mean(dim=(2, 3))
    (row,) = heads.heads.embedding.project([whole, *parts.unbind(2)])
    wanted = normalize(torch.stack([row[:4], row[4:8]]), dim=1).flatten() / 2**0.5
    torch.testing.assert_close(found[0, :8], wanted, rtol=1e-4, atol=1e-5)


def test_it_teaches_its_named_losses_and_reaches_every_weight() -> None:
    net, criterion = build()
    out = net.train()([picture(), picture()], with_seeds(1, 2), criterion)
    assert list(out.losses) == LOSSES
    torch.stack([loss.value for loss in out.losses.values()]).sum().backward()
    frozen = "backbone.stages.0."
    without = [n for n, p in net.named_parameters() if p.grad is None and frozen not in n]
    assert without == []


def test_the_aligner_learns_from_its_own_loss_alone() -> None:
    (net, criterion), image = build(), picture()
    criterion.update(*net.train()([image], with_seeds(3), criterion).people)
    losses = net([image], with_seeds(3), criterion).losses
    losses["reid"].value.backward(retain_graph=True)
    parameters = list(stage(net).aligner.parameters())
    assert all(p.grad is None for p in parameters)
    assert any(p.grad is not None and p.grad.any() for p in stage(net).part_head.parameters())
    losses["aligner"].value.backward()
    assert all(p.grad is not None for p in parameters)


class KnowsTheCuts(nn.Module):
    """Says that nothing is missing of sampled regions, and of lessons what is."""

    def __init__(self, cuts: Tensor) -> None:
        super().__init__()
        self.cuts = cuts

    def forward(self, aligned: Tensor) -> Tensor:
        if len(aligned) != 2 * len(self.cuts):
            return torch.zeros(len(aligned), 4)
        return torch.cat([torch.zeros_like(self.cuts), self.cuts])


def test_an_aligner_that_knows_the_cuts_has_no_loss_and_one_that_says_nothing_a_known_one() -> None:
    net, criterion = build()
    say(net.train(), *NOTHING)
    loss = net([picture()], with_seeds(3), criterion).losses["aligner"]
    cuts = drawn_cuts(PEOPLE["boxes"], 0.5, seeded(torch.tensor(3), CUTS))
    wanted = sum((2 * share) ** 2 / 2 for share in cuts.double().flatten().tolist())
    assert loss.n_samples.item() == 4  # two whole people and a cut of each
    assert loss.value.item() == pytest.approx(wanted / 4, rel=1e-5)
    stage(net).aligner = KnowsTheCuts(cuts)
    known = net([picture()], with_seeds(3), criterion).losses["aligner"]
    assert known.value.item() == 0.0


def test_the_weight_of_the_aligner_is_an_option() -> None:
    values = []
    for weight in (1.0, 2.5):
        net, criterion = build(options={"parts": PARTS, "aligner_weight": weight})
        torch.manual_seed(1)
        losses = net.train()([picture()], with_seeds(3), criterion).losses
        values.append(losses["aligner"].value.item())
    assert values[1] == pytest.approx(2.5 * values[0])


def test_an_aligner_learns_what_is_cut_off() -> None:
    """Features that tell the place in a picture tell what is missing of one body in it."""
    features = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, 8)] * 2, indexing="ij"))
    body = torch.tensor([[40.0, 20, 80, 120]]).expand(64, 4)
    cuts = drawn_cuts(body, 0.5, torch.Generator().manual_seed(1))
    aligned = RoIAlign((4, 4), 16)(features[None], [shrink(body, cuts)])
    aligner = BoxAligner(nn.AvgPool2d(2), 2, (2, 2))
    optimizer = torch.optim.Adam(aligner.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        (aligner(aligned) - cuts).square().sum().backward()
        optimizer.step()
    grown = grow(shrink(body, cuts), limited(aligner(aligned), 0.5))
    assert (grown - body).abs().max() < 8  # pixels; up to 50 are missing


def test_draws_follow_the_seed() -> None:
    net, criterion = build()
    image = picture()

    def value(seed: int) -> float:
        losses = net.train()([image], with_seeds(seed), criterion).losses
        return losses["aligner"].value.item()

    assert value(5) == value(5)
    assert value(5) != value(6)
    boxes = PEOPLE["boxes"]
    draws = [drawn_cuts(boxes, 0.5, seeded(torch.tensor(7), CUTS)) for _ in range(2)]
    assert torch.equal(*draws)
    assert drawn_cuts(boxes, 0.5, None).shape == (2, 4)


def test_counting_gives_the_counts_of_training_and_changes_nothing() -> None:
    (net, criterion), pictures = build(), [picture(), picture(80, 64)]
    net.train()
    before = {name: value.clone() for name, value in net.named_buffers()}
    targets = [*with_seeds(1), *with_seeds(2, people=target((5, 5, 30, 60, -1), (0, 0, 9, 9, 1)))]
    counts = net.count(pictures, targets, criterion)
    assert all(torch.equal(value, before[name]) for name, value in net.named_buffers())
    losses = net(pictures, targets, criterion).losses
    assert list(counts) == list(losses) == LOSSES
    assert {k: int(n) for k, n in counts.items()} == {
        k: int(m.n_samples) for k, m in losses.items()
    }
    assert counts["aligner"] == 6
    nothing = net([], [], criterion)
    assert list(nothing.losses) == list(net.count([], [], criterion)) == LOSSES
    assert nothing.people.embeddings.shape == (0, 16)


@pytest.mark.long
@pytest.mark.parametrize("loss", ["oim", "boim"])
@pytest.mark.parametrize("stages", ["one", "two"])
@pytest.mark.parametrize("norm", ["train", "frozen"])
def test_every_mix_of_labels_is_learnt_from(loss: str, stages: str, norm: str) -> None:
    net, criterion = build(loss, stages=stages, norm=norm)
    optimizer = torch.optim.SGD(net.train().parameters(), lr=1e-3)
    pictures = [picture(), picture()]
    mixes = [
        with_seeds(1, 2),
        [target(), target()],
        [target((10, 10, 40, 50, -1)), target()],
        with_seeds(1, 2),
    ]
    for targets in mixes:
        out = net(pictures, targets, criterion)
        total = torch.stack([loss.value for loss in out.losses.values()]).sum()
        assert total.isfinite()
        total.backward()
        assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)
        optimizer.step()
        optimizer.zero_grad()
        criterion.update(*out.people)
    assert all(value.isfinite().all() for value in net.buffers())
    (found,) = net.eval().detect([picture()])
    assert found["embeddings"].shape == (len(found["boxes"]), 16)
    assert found["embeddings"].isfinite().all()


def test_under_bf16_embeddings_stay_float32_and_losses_finite() -> None:
    net, criterion = build()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = net.train()([picture()], with_seeds(1), criterion)
        (found,) = net.eval().embed([picture()], [PEOPLE["boxes"]])
    assert all(loss.value.isfinite() for loss in out.losses.values())
    assert out.people.embeddings.dtype == found.dtype == torch.float32
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))


def test_two_stages_keep_the_losses_of_both() -> None:
    net, criterion = build(stages="two")
    losses = net.train()([picture()], with_seeds(1), criterion).losses
    named = ["rpn_score", "rpn_box", "first_person", "first_box", "person", "box", "reid"]
    assert list(losses) == [*named, "aligner"]
    assert list(net([], [], criterion).losses) == [*named, "aligner"]
    assert len(net.roi_heads.region_heads) == 4


@pytest.mark.parametrize("embedded_box", ["proposal", "detection"])
def test_pictures_of_a_batch_are_kept_apart(embedded_box: str) -> None:
    net, _ = build(embedded_box=embedded_box)
    with torch.no_grad():
        stage(net).aligner.vertical.weight.mul_(100)  # so that regions do grow
    pictures = [picture(), picture(), picture()]
    together = net.eval().detect(pictures)
    for ours, one in zip(together, pictures, strict=True):
        (alone,) = net.detect([one])
        for name in alone:
            torch.testing.assert_close(ours[name], alone[name], rtol=0, atol=1e-4)


def test_detections_and_queries_of_the_same_box_are_embedded_alike() -> None:
    net, _ = build(embedded_box="detection")
    image = picture()
    (found,) = net.eval().detect([image])
    (embedded,) = net.embed([image], [found["boxes"]])
    torch.testing.assert_close(embedded, found["embeddings"], rtol=0, atol=1e-4)
    (none,) = net.embed([image], [torch.zeros(0, 4)])
    assert none.shape == (0, 16)


def test_each_region_head_is_its_own_and_begins_alike() -> None:
    states = [head.state_dict() for head in stage(build()[0]).region_heads]
    assert len(states) == 3
    for name, value in states[0].items():
        assert all(torch.equal(value, state[name]) for state in states)
        assert len({state[name].data_ptr() for state in states}) == 3


def test_weights_are_saved_and_loaded(tmp_path: Path) -> None:
    net, _ = build()
    save_weights(net, config(), LossConfig(), N_PERSONS, path := tmp_path / "weights.safetensors")
    loaded, _ = load_weights(path)
    image, boxes = picture(), PEOPLE["boxes"]
    (ours,), (theirs,) = net.eval().embed([image], [boxes]), loaded.embed([image], [boxes])
    assert torch.equal(ours, theirs)
    assert stage(loaded).options.parts == PARTS


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"options": {"parts": 0}}, r"model\.options\.parts must be at least 1, got 0"),
        ({"options": {"largest_cut": 1.0}}, r"model\.options\.largest_cut must be above 0 and be"),
        ({"options": {"aligner_weight": -1.0}}, r"model\.options\.aligner_weight must be finite"),
        ({"options": {"parts": 4}}, r"embedding_dim must be divisible by .* \(5\), got 16"),
        ({"person_score": "norm"}, r"person_score must be softmax with system 'apnet', got 'norm'"),
        ({"reid_features": "res4+res5"}, r"reid_features must be res5 with system 'apnet'"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        system_of(config(**change))
