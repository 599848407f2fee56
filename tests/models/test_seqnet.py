"""Two stages of region heads, one after the other."""

import copy
import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from fake.tiny import CONFIG, N_PERSONS, picture, target
from fdps.config import LossConfig
from fdps.losses import Criterion
from fdps.models import PersonSearchNet, build_system
from fdps.models.systems.seqnet import SequentialHeads

PEOPLE = target((5, 5, 30, 60, 0), (40, 8, 62, 60, 2))
SEQNET = {
    "system": "oim_base",
    "stages": "two",
    "person_score": "norm",
    "reid_features": "res4+res5",
}
LOSSES = ["rpn_score", "rpn_box", "first_person", "first_box", "person", "box", "reid"]


def build(**change: str) -> tuple[PersonSearchNet, Criterion]:
    torch.manual_seed(0)
    loss = LossConfig(queue_size=4)
    net, criterion = build_system(replace(CONFIG, **(SEQNET | change)), loss, N_PERSONS)
    return net, criterion


def seeded(*seeds: int) -> list[dict[str, Tensor]]:
    return [PEOPLE | {"seed": torch.tensor(seed)} for seed in seeds]


def stages(net: PersonSearchNet) -> SequentialHeads:
    assert isinstance(net.roi_heads, SequentialHeads)
    return net.roi_heads


def test_two_stages_teach_their_named_losses_and_reach_every_weight() -> None:
    net, criterion = build()
    out = net.train()([picture(), picture()], seeded(1, 2), criterion)
    assert list(out.losses) == LOSSES
    torch.stack([loss.value for loss in out.losses.values()]).sum().backward()
    first_stage = "backbone.stages.0."
    without = [n for n, p in net.named_parameters() if p.grad is None and first_stage not in n]
    assert without == []


def test_counting_gives_the_counts_of_training_and_changes_nothing() -> None:
    (net, criterion), pictures = build(), [picture(), picture(80, 64)]
    net.train()
    before = {name: value.clone() for name, value in net.named_buffers()}
    counts = net.count(pictures, seeded(1, 2), criterion)
    assert all(torch.equal(value, before[name]) for name, value in net.named_buffers())
    losses = net(pictures, seeded(1, 2), criterion).losses
    assert list(counts) == LOSSES
    assert {k: int(n) for k, n in counts.items()} == {
        k: int(m.n_samples) for k, m in losses.items()
    }


def test_the_second_stage_sees_boxes_that_the_first_one_moved() -> None:
    net, _ = build()
    heads = stages(net.eval())
    with torch.no_grad():
        heads.first.horizontal.bias.copy_(torch.tensor([5.0, 0.0]))  # half a width to the right
        nn.init.zeros_(heads.first.horizontal.weight)
        nn.init.zeros_(heads.first.vertical.weight)
    seen: list[Tensor] = []
    pool = heads.second.pool

    class Noting(nn.Module):
        def forward(self, features: Tensor, boxes: list[Tensor]) -> Tensor:
            seen.extend(boxes)
            return pool(features, boxes)

    heads.second.pool = Noting()
    features, regions = torch.randn(1, 96, 8, 8), torch.tensor([[16.0, 16, 48, 100]])
    heads.detect(features, [regions], [(128, 128)])
    torch.testing.assert_close(seen[0], regions + torch.tensor([16.0, 0, 16, 0]))


def test_the_score_of_a_detection_is_that_of_the_first_stage() -> None:
    net, _ = build()
    heads, image = stages(net.eval()), picture()
    (before,) = net.detect([image])
    with torch.no_grad():
        heads.second.heads.person.rescaler.bias.add_(3.0)
    (after,) = net.detect([image])
    assert len(before["boxes"]) > 0
    assert torch.equal(before["scores"], after["scores"])
    with torch.no_grad():
        heads.first.person.bias.add_(torch.tensor([0.0, 3.0]))
    (surer,) = net.detect([image])
    assert surer["scores"].max() > after["scores"].max()


def test_the_second_stage_learns_nothing_about_how_the_first_one_moves() -> None:
    (net, criterion) = build()
    out = net.train()([picture()], seeded(3), criterion)
    second = sum(out.losses[name].value for name in ("person", "box", "reid"))
    second.backward()
    first = stages(net).first
    assert all(p.grad is None or not p.grad.any() for p in first.parameters())


def test_a_stage_has_a_region_head_of_its_own_that_begins_alike() -> None:
    heads = stages(build()[0])
    first, second = heads.region_heads
    state = second.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in first.state_dict().items())
    with torch.no_grad():
        next(first.parameters()).add_(1)
    assert not torch.equal(next(first.parameters()), next(second.parameters()))


def test_the_least_score_holds_for_the_first_stage() -> None:
    net, _ = build()
    assert net.roi_heads.min_score == 0.0
    net.roi_heads.min_score = 1.1
    (found,) = net.eval().detect([picture()])
    assert found["boxes"].shape == (0, 4)
    assert found["embeddings"].shape == (0, 16)


def test_pictures_of_a_batch_are_kept_apart() -> None:
    net, _ = build()
    pictures = [picture(), picture(), picture()]
    together = net.eval().detect(pictures)
    for ours, one in zip(together, pictures, strict=True):
        (alone,) = net.detect([one])
        for name in alone:
            torch.testing.assert_close(ours[name], alone[name], rtol=0, atol=1e-4)


COMBINATIONS = [
    *itertools.product(
        ("oim_base", "fdps"), ("softmax", "norm", "memory"), ("one", "two"), ("oim", "boim")
    )
]


@pytest.mark.long
@pytest.mark.parametrize(("system", "score", "n_stages", "loss"), COMBINATIONS)
def test_decomposition_and_balanced_loss_attach_to_every_system(
    system: str, score: str, n_stages: str, loss: str
) -> None:
    config = replace(CONFIG, system=system, person_score=score, stages=n_stages)
    named = LossConfig(name=loss, queue_size=4, background_size=6)
    net, criterion = build_system(config, named, N_PERSONS)
    optimizer = torch.optim.SGD(net.train().parameters(), lr=1e-3)
    pictures, mixes = [picture(), picture()], [seeded(1, 2), [target(), target()], seeded(1, 2)]
    mixes[1] = [target((10, 10, 40, 50, -1)), target()]
    values = []
    for targets in mixes:
        out = net(pictures, targets, criterion)
        total = torch.stack([loss.value for loss in out.losses.values()]).sum()
        assert total.isfinite()
        total.backward()
        assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)
        optimizer.step()
        optimizer.zero_grad()
        values.append(total.item())
        criterion.update(*out.people)
    (found,) = copy.deepcopy(net).eval().detect([picture()])
    assert found["embeddings"].isfinite().all()
    assert ((found["scores"] >= 0) & (found["scores"] <= 1)).all()
