"""IGPN's detector: kernels that move over a scene, and relations; against loops in NumPy."""

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fake.pairs import LOSSES, ONE, OTHER, STRANGER, seeded, settle, total
from fake.tiny import CONFIG, N_PERSONS, picture, target
from fdps.config import LossConfig, TrainConfig
from fdps.engine.optimizer import build_optimizer
from fdps.errors import ConfigError
from fdps.losses import Criterion
from fdps.models import build_system
from fdps.models.systems.igpn import (
    InstanceGuidedNet,
    Relation,
    SiameseProposals,
    cross_correlation,
)
from fdps.models.weights import save_weights
from fdps.searcher import PairSearcher, load

IGPN = replace(CONFIG, system="igpn_detector", options={"channels": 8})
BOX = torch.tensor([5.0, 5, 30, 60])


def build(**change: Any) -> tuple[InstanceGuidedNet, Criterion]:
    """A network in which every relation matters."""
    torch.manual_seed(0)
    net, criterion = build_system(replace(IGPN, **change), LossConfig(queue_size=4), N_PERSONS)
    assert isinstance(net, InstanceGuidedNet)
    for module in net.modules():
        if isinstance(module, Relation):
            nn.init.normal_(module.adds.weight, std=0.1)
    return net, criterion


def rows_of(layer: nn.Linear, rows: np.ndarray) -> np.ndarray:
    weight, bias = (p.detach().double().numpy() for p in (layer.weight, layer.bias))
    return np.array([[w @ row + b for w, b in zip(weight, bias, strict=True)] for row in rows])


# Parts


@pytest.mark.parametrize(("n", "side"), [(0, 3), (1, 1), (2, 3), (3, 5)])
def test_a_kernel_is_moved_over_its_own_map_channel_by_channel(n: int, side: int) -> None:
    torch.manual_seed(1)
    maps, kernels = torch.randn(n, 2, 4, 6), torch.randn(n, 2, side, side)
    found, wanted = cross_correlation(maps, kernels), np.zeros((n, 2, 4, 6))
    for p, c, y, x in np.ndindex(n, 2, 4, 6):
        for v, u in np.ndindex(side, side):
            row, column = y + v - side // 2, x + u - side // 2
            if 0 <= row < 4 and 0 <= column < 6:
                wanted[p, c, y, x] += float(maps[p, c, row, column] * kernels[p, c, v, u])
    np.testing.assert_allclose(found.numpy(), wanted / side**2, atol=1e-5)


def test_what_is_sought_is_found_where_it_is() -> None:
    maps = torch.zeros(1, 1, 7, 9)
    maps[0, 0, 2:5, 5:8] = torch.tensor([[1.0, 2, 1], [0, 3, 0], [1, 0, 1]])
    found = cross_correlation(maps, maps[:, :, 2:5, 5:8])
    assert divmod(int(found.argmax()), 9) == (3, 6)


def test_the_region_of_the_query_becomes_the_kernel() -> None:
    net, _ = build()
    rpn = net.rpn
    assert isinstance(rpn, SiameseProposals)
    regions = torch.randn(2, 96, 6, 3)
    kernel = rpn.look(regions)
    assert kernel.shape == (2, 8, 3, 3)
    weight = rpn.of_query.weight[:, :, 0, 0].detach()
    # Three rows of two cells each, and three columns.
    cell = torch.einsum("kc,c->k", weight, regions[1, :, 2:4, 2].mean(dim=1)) + rpn.of_query.bias
    torch.testing.assert_close(kernel[1, :, 1, 2], cell)
    scene, hidden = torch.randn(2, 96, 4, 5), cross_correlation
    seen = rpn.query_conv(hidden(rpn.of_scene(scene), kernel)).relu()
    torch.testing.assert_close(rpn.ask(scene, kernel), rpn.query_logits(seen))


def test_a_relation_adds_what_a_row_asks_of_all_others() -> None:
    torch.manual_seed(2)
    relation = Relation(5, 3, 4)
    rows, others = torch.randn(2, 5), torch.randn(6, 3)
    assert torch.equal(relation(rows, others), rows)  # untrained it adds nothing
    nn.init.normal_(relation.adds.weight)
    nn.init.normal_(relation.adds.bias)
    asks = rows_of(relation.asks, rows.double().numpy())
    answers = rows_of(relation.answers, others.double().numpy())
    tells = rows_of(relation.tells, others.double().numpy())
    mixed = []
    for asked in asks:
        likeness = [math.exp(sum(asked * answer) / math.sqrt(4)) for answer in answers]
        parts = [a / sum(likeness) * t for a, t in zip(likeness, tells, strict=True)]
        mixed.append(sum(parts))
    wanted = rows.numpy() + rows_of(relation.adds, np.array(mixed))
    np.testing.assert_allclose(relation(rows, others).detach().numpy(), wanted, atol=1e-5)


def test_nobody_asks_nobody() -> None:
    relation = Relation(5, 5, 4)
    assert relation(torch.zeros(0, 5), torch.zeros(0, 5)).shape == (0, 5)


def test_people_are_related_with_each_other_and_the_query_with_the_scene() -> None:
    net, _ = build()
    query, people, scene = torch.randn(1, 16), torch.randn(3, 16), torch.randn(96, 4, 5)
    sought, found = net.related(query, people, scene)
    torch.testing.assert_close(found, net.local(people, people))
    places = scene.permute(1, 2, 0).reshape(20, 96)
    torch.testing.assert_close(sought, net.whole(query, places))
    with_another = net.related(query, torch.cat([people, torch.randn(1, 16)]), scene)[1]
    assert not torch.allclose(with_another[:3], found)


def test_a_network_that_is_not_trained_yet_detects_as_oim_base() -> None:
    net, criterion = build()
    plain, _ = build_system(replace(CONFIG, system="oim_base"), LossConfig(), N_PERSONS)
    state = settle(net, criterion, std=0.3).state_dict()
    plain.load_state_dict({name: state[name] for name in plain.state_dict()})
    image = picture()
    (ours,), (theirs,) = net.detect([image]), plain.eval().detect([image])
    assert len(theirs["boxes"]) > 0
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-5)


# Training


def test_every_weight_learns_from_a_pair() -> None:
    net, criterion = build()
    out = net.train()([picture(), picture()], seeded(ONE, OTHER), criterion)
    assert list(out.losses) == LOSSES
    assert int(out.losses["similarity"].n_samples) == 2
    total(out.losses).backward()
    without = [n for n, p in net.named_parameters() if p.grad is None and ".stages.0." not in n]
    assert without == []
    still = [
        name
        for part in (net.local, net.whole, net.rpn, net.similarity)
        for name, p in part.named_parameters()
        # What all who answer have in common changes no share.
        if not name.endswith("answers.bias") and float(p.grad.abs().max()) == 0
    ]
    assert still == []


MIXES = {
    "strangers": (ONE, STRANGER),
    "nobody": (target(), target()),
    "one picture": (ONE,),
    "three, one alone": (ONE, STRANGER, OTHER),
    "no picture": (),
    "twice in one picture": (target((5, 5, 30, 60, 0), (40, 8, 62, 60, 0)), ONE),
}


@pytest.mark.parametrize("mix", MIXES)
def test_losses_are_named_counted_and_finite_whoever_is_there(mix: str) -> None:
    net, criterion = build()
    net.train()
    pictures = [picture(64, 64 + 16 * k) for k in range(len(MIXES[mix]))]
    targets = seeded(*MIXES[mix])
    counts = net.count(pictures, targets, criterion)
    out = net(pictures, targets, criterion)
    assert list(out.losses) == list(counts) == LOSSES
    assert {k: int(n) for k, n in counts.items()} == {
        k: int(m.n_samples) for k, m in out.losses.items()
    }
    assert total(out.losses).isfinite()
    if pictures:
        total(out.losses).backward()
        learnt = [*net.similarity.parameters(), *net.local.parameters(), *net.whole.parameters()]
        assert all(p.grad is not None and p.grad.isfinite().all() for p in learnt)


@pytest.mark.parametrize(
    ("score", "n_stages"), [*itertools.product(("softmax", "norm", "memory"), ("one", "two"))]
)
def test_a_query_guides_every_way_of_scoring(score: str, n_stages: str) -> None:
    net, criterion = build(person_score=score, stages=n_stages)
    out = net.train()([picture(), picture()], seeded(ONE, OTHER), criterion)
    total(out.losses).backward()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)
    net.eval()
    found = net.compare(net.begin(picture()), BOX, net.begin(picture()))
    assert found["similarities"].isfinite().all()


def test_the_optimiser_gets_all_that_trains() -> None:
    net, _ = build()
    groups = build_optimizer(net, TrainConfig()).param_groups
    held = {id(p) for group in groups for p in group["params"]}
    assert held == {id(p) for p in net.parameters() if p.requires_grad}


# Search


@pytest.fixture
def net() -> InstanceGuidedNet:
    return settle(*build(), std=0.3)


@pytest.mark.parametrize("width", [80, 64])
def test_a_pair_is_seen_in_tests_as_in_training(net: InstanceGuidedNet, width: int) -> None:
    gallery, query = picture(64, width), picture()  # a narrower one is padded in a batch
    with torch.inference_mode():
        ready = net._prepare([gallery, query], seeded(ONE, OTHER), None)
        features, proposals, _, sizes = ready.inputs
        (found,) = net.roi_heads.detect(features[:1], proposals[:1], sizes[:1])
        (person,) = net.roi_heads.embed(features[2:3], [ready.pairs[0].box])
        sought, people = net.related(person, found["embeddings"], ready.scene(0))
        logits = net.similarity(sought.expand_as(people), people)
    pair = net.compare(net.begin(query), OTHER["boxes"][0], net.begin(gallery))
    assert len(pair["boxes"]) > 1
    assert float(pair["similarities"].max() - pair["similarities"].min()) > 1e-3
    if width == 80:  # what lies beside a picture in its batch reaches into the map's border
        torch.testing.assert_close(pair["scores"], found["scores"], rtol=0, atol=1e-5)
        similarities = logits.softmax(dim=1)[:, 1]
        torch.testing.assert_close(pair["similarities"], similarities, rtol=0, atol=1e-5)
    assert ready.scene(0).shape[1:] == (4, width // 16)


def test_who_is_sought_changes_what_is_proposed_and_how_alike_it_is(
    net: InstanceGuidedNet,
) -> None:
    gallery, query = net.begin(picture()), net.begin(picture(70, 90))
    one = net.compare(query, BOX, gallery)
    other = net.compare(query, torch.tensor([50.0, 10, 80, 65]), gallery)
    assert not torch.equal(one["similarities"], other["similarities"])
    sizes, kernel = [gallery.size], torch.randn(1, 8, 3, 3)
    nn.init.normal_(net.rpn.query_logits.weight, std=9.0)  # a query that matters more than people
    with torch.inference_mode():
        first, second = (
            net.rpn.guided(gallery.maps, sizes, gallery.padded, [0], some)[0].boxes[0]
            for some in (kernel, -kernel)
        )
    assert not torch.equal(first, second)


def test_nobody_found(net: InstanceGuidedNet) -> None:
    net.roi_heads.min_score = 1.1
    found = net.compare(net.begin(picture()), BOX, net.begin(picture()))
    assert found["boxes"].shape == (0, 4)
    assert found["similarities"].shape == (0,)


def test_weights_become_a_searcher_of_pairs(tmp_path: Path) -> None:
    config = replace(IGPN, options={"channels": 4, "kernel": 5})
    net, _ = build_system(config, LossConfig(), N_PERSONS)
    save_weights(net, config, LossConfig(), N_PERSONS, path := tmp_path / "weights.safetensors")
    searcher = load(path)
    assert isinstance(searcher, PairSearcher)
    image = (np.random.default_rng(1).random((64, 80, 3)) * 255).astype(np.uint8)
    found = searcher.compare(searcher.sought(image, BOX.numpy()), searcher.begun(image))
    assert found.boxes.dtype == found.similarities.dtype == np.float32


# Options


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"channels": 0}, "model.options.channels must be at least 1, got 0"),
        ({"kernel": 2}, "model.options.kernel must be odd and at least 1, got 2"),
        ({"similarity_weight": -1.0}, "model.options.similarity_weight must be at least 0"),
        ({"chanels": 8}, "did you mean model.options.channels"),
    ],
)
def test_options_outside_their_range_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        build_system(replace(IGPN, options=options), LossConfig(), N_PERSONS)
    assert told in f"{refused.value} {refused.value.hint}"
