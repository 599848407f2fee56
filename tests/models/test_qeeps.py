"""A query that guides the search: excitation, proposals and a similarity that is learnt."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fake.pairs import LOSSES, ONE, OTHER, STRANGER, seeded, settle, total
from fake.tiny import CONFIG, N_PERSONS, picture, target
from fdps.config import LossConfig, Recipe, TrainConfig
from fdps.engine.optimizer import build_optimizer, parts_of
from fdps.engine.processes import connect
from fdps.engine.step import Learner
from fdps.errors import ConfigError
from fdps.losses import Criterion
from fdps.models import build_system
from fdps.models.guidance import Gate, GuidedProposals, SimilarityHead
from fdps.models.outputs import MeanLoss, RegionOutputs
from fdps.models.roi_heads import RegionInputs
from fdps.models.systems.qeeps import Pair, QueryGuidedNet, _means, _Prepared, pair_up
from fdps.models.weights import save_weights
from fdps.searcher import PairSearcher, load
from fdps.structures import PairEmbedder

QEEPS = replace(CONFIG, system="qeeps")


def build(*, loss: str = "oim", **change: Any) -> tuple[QueryGuidedNet, Criterion]:
    """A network in which every gate matters."""
    torch.manual_seed(0)
    losses = LossConfig(name=loss, queue_size=4, background_size=6)
    net, criterion = build_system(replace(QEEPS, **change), losses, N_PERSONS)
    assert isinstance(net, QueryGuidedNet)
    for module in net.modules():
        if isinstance(module, Gate):
            nn.init.normal_(module.excite.weight, std=0.5)
    return net, criterion


# Parts


def test_a_gate_is_squeeze_and_excitation_with_a_doubled_sigmoid() -> None:
    gate = Gate(6, 3, 2)
    for parameter in gate.parameters():
        nn.init.normal_(parameter)
    seen = torch.randn(4, 6)
    wanted = np.zeros((4, 3))
    inner, outer = (
        (layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy())
        for layer in (gate.squeeze, gate.excite)
    )
    for row, values in enumerate(seen.double().numpy()):
        hidden = [max(0.0, float(w @ values + b)) for w, b in zip(*inner, strict=True)]
        for channel, (w, b) in enumerate(zip(*outer, strict=True)):
            wanted[row, channel] = 2 / (1 + np.exp(-(w @ np.array(hidden) + b)))
    np.testing.assert_allclose(gate(seen)[..., 0, 0].detach().numpy(), wanted, rtol=1e-5)


@pytest.mark.parametrize("excited_stages", [1, 3])
def test_a_network_begins_as_the_one_without_excitation(excited_stages: int) -> None:
    options = {"excited_stages": excited_stages}
    net, criterion = build_system(replace(QEEPS, options=options), LossConfig(), N_PERSONS)
    plain, _ = build_system(replace(CONFIG, system="oim_base"), LossConfig(), N_PERSONS)
    state = settle(net, criterion, std=3.0).state_dict()
    plain.load_state_dict({name: state[name] for name in plain.state_dict()})
    image = picture()
    (ours,), (theirs,) = net.eval().detect([image]), plain.eval().detect([image])
    assert len(theirs["boxes"]) > 0
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-5)


def test_a_mean_leaves_out_the_padding() -> None:
    maps = torch.arange(2 * 3 * 4 * 6, dtype=torch.float32).reshape(2, 3, 4, 6)
    found = _means(maps, [(64, 96), (33, 49)], (64, 96))
    torch.testing.assert_close(found[0], maps[0].mean(dim=(1, 2)))
    # 33 of 64 rows reach into the third of four, 49 of 96 columns into the fourth of six.
    torch.testing.assert_close(found[1], maps[1, :, :3, :4].mean(dim=(1, 2)))


def test_partners_share_an_identity_and_the_query_is_that_person() -> None:
    targets = seeded(ONE, STRANGER, OTHER, target())
    first, second = pair_up(targets)
    assert (first.gallery, first.query, first.person_id) == (0, 2, 2)
    assert torch.equal(first.box, OTHER["boxes"][:1])
    assert (second.gallery, second.query, second.person_id) == (2, 0, 2)
    assert torch.equal(second.box, ONE["boxes"][1:])


def test_nobody_is_a_partner_without_an_identity() -> None:
    nameless = target((5, 5, 30, 60, -1))
    assert pair_up(seeded(nameless, nameless, STRANGER, ONE, target())) == []
    assert pair_up([ONE]) == []
    assert pair_up([]) == []


def test_the_seed_of_the_gallery_draws_among_all_shared_people() -> None:
    def drawn(seed: int) -> list[Pair]:
        three = [ONE, target((0, 0, 9, 9, 0)), target((0, 0, 9, 9, 2), (9, 9, 20, 20, 0))]
        return pair_up([one | {"seed": torch.tensor(seed)} for one in three])

    seen = {(pair.query, pair.person_id) for seed in range(30) for pair in drawn(seed)[:1]}
    assert seen == {(1, 0), (2, 2), (2, 0)}
    assert [pair[:2] for pair in drawn(7)] == [pair[:2] for pair in drawn(7)]


def proposals(net: QueryGuidedNet, features: Tensor, sought: Tensor) -> list[Tensor]:
    rows = [1] if len(sought) else []
    proposed, _ = net.rpn.guided(features, [(64, 80)] * 2, (64, 80), rows, sought)
    return proposed.boxes


def test_a_query_that_knows_nothing_changes_no_proposal() -> None:
    net, _ = build()
    net.eval()
    nn.init.zeros_(net.rpn.query_logits.weight)
    features = torch.randn(2, 96, 4, 5)
    plain = net.rpn(features, [(64, 80)] * 2, (64, 80)).boxes
    for found in (
        proposals(net, features, torch.randn(1, 96)),
        proposals(net, features, torch.zeros(0, 96)),
    ):
        assert [len(boxes) for boxes in found] == [len(boxes) for boxes in plain]
        for ours, theirs in zip(found, plain, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_a_query_puts_its_anchors_first_and_leaves_other_pictures_alone() -> None:
    net, _ = build()
    net.eval()
    nn.init.zeros_(net.rpn.query_logits.weight)
    with torch.no_grad():
        net.rpn.query_logits.bias.copy_(torch.tensor([9.0, -9.0, -9.0, -9.0]))
    features = torch.randn(2, 96, 4, 5)
    before = proposals(net, features, torch.zeros(0, 96))
    after = proposals(net, features, torch.randn(1, 96))
    assert torch.equal(before[0], after[0])
    # The first anchor of each position is the smallest: 16 px, as tall as wide.
    sides = after[1][:, 2:] - after[1][:, :2]
    assert float(sides.max()) < 24


def test_the_query_loss_is_the_cross_entropy_of_the_sampled_anchors() -> None:
    net, _ = build(rpn_anchors_per_image=500)  # all of them
    anchors = torch.tensor([[0.0, 0, 20, 40], [1, 0, 20, 41], [50, 50, 60, 70], [5, 0, 25, 40]])
    logits = torch.tensor([[2.0, -1.0, 0.5, 7.0]])
    person = target((0, 0, 20, 40, 2))
    loss = net.rpn.query_loss(logits, anchors, [person])
    # The last overlaps by 0.6, between background and person: it is left out.
    terms = [np.log1p(np.exp(-2.0)), np.log1p(np.exp(1.0)), np.log1p(np.exp(0.5))]
    assert loss.value.item() == pytest.approx(np.mean(terms), rel=1e-5)
    assert int(loss.n_samples) == 3


def test_the_similarity_learns_to_tell_people_apart() -> None:
    torch.manual_seed(1)
    head = SimilarityHead(16)
    people = nn.functional.normalize(torch.randn(20, 16), dim=1)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)

    def drawn() -> tuple[Tensor, Tensor, Tensor]:
        who, beside = torch.randint(20, (64,)), torch.randint(20, (64,))
        beside = torch.where(torch.arange(64) < 32, who, beside)
        seen = [people[w] + 0.05 * torch.randn(64, 16) for w in (who, beside)]
        return *(nn.functional.normalize(s, dim=1) for s in seen), (who == beside).long()

    for _ in range(150):
        query, gallery, same = drawn()
        loss = nn.functional.cross_entropy(head(query, gallery), same)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    query, gallery, same = drawn()
    with torch.no_grad():
        guessed = head.eval()(query, gallery).argmax(dim=1)
    assert (guessed == same).float().mean() > 0.95


def test_the_similarity_takes_any_number_of_rows() -> None:
    head = SimilarityHead(4)
    for n in (0, 1, 2):
        logits = head(torch.randn(n, 4, requires_grad=True), torch.randn(n, 4))
        assert logits.shape == (n, 2)
        logits.sum().backward()


# Training


@pytest.mark.parametrize("excited_stages", [1, 2, 3])
def test_every_weight_learns_from_a_pair(excited_stages: int) -> None:
    net, criterion = build(options={"excited_stages": excited_stages})
    out = net.train()([picture(), picture()], seeded(ONE, OTHER), criterion)
    assert list(out.losses) == LOSSES
    assert int(out.losses["similarity"].n_samples) == 2
    total(out.losses).backward()
    without = [n for n, p in net.named_parameters() if p.grad is None and ".stages.0." not in n]
    assert without == []


def test_queries_are_people_of_the_batch_that_are_remembered_too() -> None:
    net, criterion = build()
    out = net.train()([picture(), picture()], seeded(ONE, OTHER), criterion)
    alone = net([picture(), picture()], seeded(ONE, STRANGER), criterion)
    assert out.people.overlaps[-2:].tolist() == [1.0, 1.0]
    assert out.people.person_ids[-2:].tolist() == [2, 2]
    assert int(out.losses["person"].n_samples) == int(alone.losses["person"].n_samples) + 2


MIXES = {
    "pair": (ONE, OTHER),
    "strangers": (ONE, STRANGER),
    "nobody": (target(), target()),
    "no identity": (target((5, 5, 30, 60, -1)), target((10, 5, 35, 60, -1))),
    "one picture": (ONE,),
    "three, one alone": (ONE, STRANGER, OTHER),
    "no picture": (),
    "same picture twice": (ONE, ONE),
    "twice in one picture": (target((5, 5, 30, 60, 0), (40, 8, 62, 60, 0)), ONE),
}


@pytest.mark.parametrize("mix", MIXES)
def test_losses_are_named_counted_and_finite_whoever_is_there(mix: str) -> None:
    net, criterion = build()
    net.train()
    pictures, targets = (
        [picture(64, 64 + 16 * k) for k in range(len(MIXES[mix]))],
        seeded(*MIXES[mix]),
    )
    before = {name: value.clone() for name, value in net.named_buffers()}
    counts = net.count(pictures, targets, criterion)
    assert all(torch.equal(value, before[name]) for name, value in net.named_buffers())
    out = net(pictures, targets, criterion)
    assert list(out.losses) == list(counts) == LOSSES
    assert {k: int(n) for k, n in counts.items()} == {
        k: int(m.n_samples) for k, m in out.losses.items()
    }
    assert total(out.losses).isfinite()
    if pictures:
        total(out.losses).backward()
        assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)
        assert all(p.grad is not None for p in net.similarity.parameters())
    criterion.update(*out.people)


COMBINATIONS = [*itertools.product(("softmax", "norm", "memory"), ("one", "two"), ("oim", "boim"))]


@pytest.mark.parametrize(("score", "n_stages", "loss"), COMBINATIONS)
def test_a_query_guides_every_way_of_scoring(score: str, n_stages: str, loss: str) -> None:
    net, criterion = build(loss=loss, person_score=score, stages=n_stages)
    out = net.train()([picture(), picture()], seeded(ONE, OTHER), criterion)
    total(out.losses).backward()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)
    net.eval()
    found = net.compare(net.begin(picture()), torch.tensor([5.0, 5, 30, 60]), net.begin(picture()))
    assert found["similarities"].isfinite().all()


def test_the_weight_of_a_loss_of_its_own_is_an_option() -> None:
    net, criterion = build(options={"similarity_weight": 0.5})
    whole, _ = build()
    pictures = [picture(), picture()]
    half = net.train()(pictures, seeded(ONE, OTHER), criterion).losses
    full = whole.train()(pictures, seeded(ONE, OTHER), criterion).losses
    assert half["similarity"].value.item() == pytest.approx(full["similarity"].value.item() / 2)
    assert half["query_score"].value.item() == pytest.approx(full["query_score"].value.item())


def test_a_crowd_counts_no_more_than_one_person() -> None:
    net, _ = build()
    net.eval()
    rows = nn.functional.normalize(torch.randn(6, 16), dim=1)
    queries = [target((10, 5, 35, 60, 2)), target((40, 8, 62, 60, 2))]
    nothing = torch.zeros(())
    ready = _Prepared(
        losses={},
        query_score=MeanLoss(nothing, nothing.long()),
        inputs=RegionInputs(torch.zeros(4, 1, 1, 1), [], [ONE, OTHER, *queries], [(16, 16)] * 4),
        pairs=[Pair(0, 1, OTHER["boxes"][:1], 2), Pair(1, 0, ONE["boxes"][1:], 2)],
        padded=(16, 16),
    )
    # Of the first picture person 0 was sampled twice and person 1 once, then 2 of the second; the
    # other person of the second was not sampled, and the last two rows are the queries.
    regions = RegionOutputs(
        losses={},
        reid_terms={},
        embeddings=rows,
        person_ids=torch.tensor([0, 0, 2, 2, 2, 2]),
        overlaps=torch.ones(6),
        people=torch.tensor([0, 0, 1, 2, 4, 5]),
    )
    weight, bias = (p.detach().double().numpy() for p in net.similarity.decide.parameters())

    def surprise(query: int, row: int, *, same: bool) -> float:
        apart = (rows[query] - rows[row]).square().double().numpy()
        other, person = weight @ (apart / np.sqrt(1 + 1e-5)) + bias
        return float(np.logaddexp(other, person) - (person if same else other))

    first = [surprise(4, 0, same=False), surprise(4, 1, same=False), surprise(4, 2, same=True)]
    wanted = (np.mean(first) + surprise(5, 3, same=True)) / 2
    found = net._similarity_loss(ready, regions)
    assert found.value.item() == pytest.approx(wanted, rel=1e-5)
    assert int(found.n_samples) == 2


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_optimiser_gets_all_that_trains(optimizer: str) -> None:
    net, _ = build()
    groups = build_optimizer(net, TrainConfig(optimizer=optimizer)).param_groups
    held = {id(p) for group in groups for p in group["params"]}
    assert held == {id(p) for p in net.parameters() if p.requires_grad}
    parts = [id(p) for part in parts_of(net).values() for p in part.parameters()]
    assert sorted(parts) == sorted(id(p) for p in net.parameters())


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("norm", ["train", "frozen", "sync"])
def test_a_learner_takes_a_step(norm: str, accumulate: int) -> None:
    train = TrainConfig(batch_size=4, accumulate=accumulate, device="cpu", sampling="pairs")
    recipe = Recipe(model=replace(QEEPS, norm=norm), loss=LossConfig(queue_size=4), train=train)
    net, criterion = build_system(recipe.model, recipe.loss, N_PERSONS)
    learner = Learner(net, criterion, recipe, connect(train))
    pictures = [picture() for _ in range(4)]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    values = learner.take_step((pictures, seeded(ONE, OTHER, target(), STRANGER)), 500, 1000)
    assert all(np.isfinite(values[name]) for name in LOSSES)
    moved = {name for name, value in net.state_dict().items() if not value.equal(before[name])}
    assert {"similarity.decide.weight", "rpn.query_conv.weight"} <= moved
    assert any(name.startswith("excitations.0") for name in moved)


# Search


@pytest.fixture(params=[1, 3])
def net(request: pytest.FixtureRequest) -> QueryGuidedNet:
    return settle(*build(options={"excited_stages": request.param}), std=3.0)


def test_a_pair_is_seen_in_tests_as_in_training(net: QueryGuidedNet) -> None:
    gallery, query = picture(), picture()
    with torch.inference_mode():
        ready = net._prepare([gallery, query], seeded(ONE, OTHER), None)
        features, proposals, _, sizes = ready.inputs
        (found,) = net.roi_heads.detect(features[:1], proposals[:1], sizes[:1])
        (person,) = net.roi_heads.embed(features[2:3], [ready.pairs[0].box])
        logits = net.similarity(person.expand_as(found["embeddings"]), found["embeddings"])
    pair = net.compare(net.begin(query), OTHER["boxes"][0], net.begin(gallery))
    assert len(pair["boxes"]) > 1
    assert float(pair["scores"].max() - pair["scores"].min()) > 1e-3
    assert float(pair["similarities"].max() - pair["similarities"].min()) > 1e-3
    torch.testing.assert_close(pair["scores"], found["scores"], rtol=0, atol=1e-5)
    similarities = logits.softmax(dim=1)[:, 1]
    torch.testing.assert_close(pair["similarities"], similarities, rtol=0, atol=1e-5)
    assert ((pair["similarities"] >= 0) & (pair["similarities"] <= 1)).all()


def test_who_is_sought_changes_what_is_found(net: QueryGuidedNet) -> None:
    gallery, query = net.begin(picture()), net.begin(picture(70, 90))
    one = net.compare(query, torch.tensor([5.0, 5, 30, 60]), gallery)
    other = net.compare(query, torch.tensor([50.0, 10, 80, 65]), gallery)
    elsewhere = net.compare(net.begin(picture()), torch.tensor([5.0, 5, 30, 60]), gallery)
    assert not torch.equal(one["similarities"], other["similarities"])
    assert not torch.equal(one["scores"], elsewhere["scores"])


def test_boxes_are_in_pixels_of_the_given_pictures(net: QueryGuidedNet) -> None:
    small, query = picture(), net.begin(picture())
    large = nn.functional.interpolate(small[None], scale_factor=2)[0]
    box = torch.tensor([5.0, 5, 30, 60])
    found = net.compare(query, box, net.begin(large))
    assert float(found["boxes"][:, 2].max()) > 80
    assert (found["boxes"] >= 0).all()
    assert (found["boxes"][:, 2:] <= torch.tensor([160.0, 128])).all()


def test_nobody_found(net: QueryGuidedNet) -> None:
    net.roi_heads.min_score = 1.1
    found = net.compare(net.begin(picture()), torch.tensor([5.0, 5, 30, 60]), net.begin(picture()))
    assert found["boxes"].shape == (0, 4)
    assert found["similarities"].shape == (0,)


def test_weights_become_a_searcher_of_pairs_and_a_plain_one(tmp_path: Path) -> None:
    config = replace(QEEPS, options={"excited_stages": 2, "reduction": 8})
    net, _ = build_system(config, LossConfig(), N_PERSONS)
    save_weights(net, config, LossConfig(), N_PERSONS, path := tmp_path / "weights.safetensors")
    searcher = load(path)
    assert isinstance(searcher, PairSearcher)
    assert isinstance(searcher, PairEmbedder)
    image = (np.random.default_rng(1).random((64, 80, 3)) * 255).astype(np.uint8)
    box = np.array([5, 5, 30, 60], dtype=np.float32)
    found = searcher.compare(searcher.sought(image, box), searcher.begun(image))
    assert found.boxes.dtype == found.similarities.dtype == np.float32
    assert len(searcher.detect(image)) == len(searcher.detect(image).embeddings) > 0


# Options


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"reduction": 0}, "model.options.reduction must be at least 1, got 0"),
        ({"excited_stages": 0}, "model.options.excited_stages must be at least 1, got 0"),
        ({"similarity_weight": -1.0}, "model.options.similarity_weight must be at least 0"),
        ({"excited_stages": 9}, "must be at most 4, the stages of mobilenet_v2, got 9"),
    ],
)
def test_options_outside_their_range_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        build_system(replace(QEEPS, options=options), LossConfig(), N_PERSONS)


def test_the_parts_of_a_plain_proposal_network_keep_their_names() -> None:
    net, _ = build()
    assert isinstance(net.rpn, GuidedProposals)
    names = set(net.state_dict())
    plain, _ = build_system(CONFIG, LossConfig(), N_PERSONS)
    assert {name for name in plain.state_dict() if name.startswith("rpn.")} <= names
