import itertools

import pytest
import torch
from torch import Tensor, nn

from fake.tiny import LOSS, picture, target, tiny_network
from fdps.config import LossConfig
from fdps.models import PersonSearchNet
from fdps.models.roi_heads import Found
from fdps.models.sub_features import SYSTEMS

LOSSES = ["rpn_score", "rpn_box", "person", "box", "reid"]
PEOPLE = target((5, 5, 30, 60, 0), (40, 8, 62, 60, 2))


class Refuses(nn.Module):
    """Stands where nothing may be asked."""

    def forward(self, *arguments: object) -> None:
        raise AssertionError("was asked")


def in_place(**change: object) -> PersonSearchNet:
    """A network that detects its proposals where they are."""
    net = tiny_network(**change)
    norm = net.roi_heads.heads.box_norm
    assert norm is not None
    nn.init.zeros_(norm.weight)
    return net


def total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack([*losses.values()]).sum()


def assert_same(ours: Found, theirs: Found, *, scale: float = 1.0) -> None:
    for name in ("scores", "embeddings"):
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-4)
    torch.testing.assert_close(ours["boxes"], theirs["boxes"] * scale, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    "targets",
    [
        [PEOPLE, target((10, 10, 40, 50, 1))],
        [PEOPLE, target()],  # one picture without people
        [target(), target()],  # nobody at all
        [target((5, 5, 30, 60, -1)), target((10, 10, 40, 50, -1))],  # nobody with an identity
    ],
    ids=["people", "people in one picture", "nobody", "unlabelled people"],
)
def test_training_gives_the_named_losses_and_a_finite_gradient(
    targets: list[dict[str, Tensor]],
) -> None:
    net = tiny_network().train()
    out = net([picture(), picture(80, 64)], targets)
    assert list(out.losses) == LOSSES
    assert all(loss.shape == () and loss.isfinite() for loss in out.losses.values())
    ids = {int(i) for one in targets for i in one["person_ids"]}
    assert set(out.person_ids.tolist()) == ids
    assert (out.losses["reid"] > 0) == bool(ids - {-1})
    assert (out.losses["box"] > 0) == bool(ids)
    total(out.losses).backward()
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_training_hands_over_what_the_memory_needs() -> None:
    net = tiny_network().train()
    out = net([picture()], [PEOPLE])
    assert out.embeddings.shape == (len(out.person_ids), 16)
    torch.testing.assert_close(out.embeddings.norm(dim=1), torch.ones(len(out.embeddings)))
    assert not out.embeddings.requires_grad
    assert not net.roi_heads.criterion.memory.table.rows.any()  # the loop writes it, not forward
    net.roi_heads.criterion.update(out.embeddings, out.person_ids)
    assert net.roi_heads.criterion.memory.table.rows.any(dim=1).tolist() == [True, False, True]


def test_training_leaves_the_targets_as_they_were() -> None:
    net, given = tiny_network().train(), target((10, 10, 80, 120, 1))
    net([picture(128, 96)], [given])
    assert given["boxes"].tolist() == [[10, 10, 80, 120]]


@pytest.mark.parametrize("people", [PEOPLE, target((5, 5, 30, 60, 1)), target()])
def test_a_network_that_diverged_says_so_in_its_losses(people: dict[str, Tensor]) -> None:
    net = tiny_network().train()
    nn.init.constant_(net.rpn.head.conv.weight, torch.nan)  # proposes nothing any more
    out = net([picture()], [people])
    assert out.losses["rpn_score"].isnan()


@pytest.mark.parametrize(("height", "width"), [(64, 80), (90, 64), (333, 250), (17, 40)])
def test_detections_lie_inside_the_given_picture_best_first(height: int, width: int) -> None:
    (found,) = tiny_network().detect([picture(height, width)])
    x1, y1, x2, y2 = found["boxes"].unbind(1)
    assert len(x1) > 0
    assert ((x1 >= 0) & (x1 < x2) & (x2 <= width)).all()
    assert ((y1 >= 0) & (y1 < y2) & (y2 <= height)).all()
    assert (found["scores"].diff() <= 0).all()
    assert ((found["scores"] >= 0) & (found["scores"] <= 1)).all()
    torch.testing.assert_close(found["embeddings"].norm(dim=1), torch.ones(len(x1)))


def test_boxes_at_the_border_do_not_leave_it_by_rounding() -> None:
    # 1573 · (1500 / 1573) is 1573.0001 in float32.
    net = in_place(short_side=(1500,), long_side=1500, region_size=(2, 2))
    net.rpn, net.backbone = WholePicture(), nn.AvgPool2d(16, 16)
    net.roi_heads.region_head = nn.Identity()
    net.roi_heads.pool = Pooled()
    (found,) = net.detect([torch.zeros(3, 1573, 1573)])
    assert found["boxes"].tolist() == [[0, 0, 1573, 1573]]


class WholePicture(nn.Module):
    """Proposes the picture itself."""

    def forward(self, images: object, features: object, targets: object) -> object:
        return [torch.tensor([[0.0, 0, 1500, 1500]])], {}


class Pooled(nn.Module):
    """One empty region map of the size that the heads expect."""

    def forward(self, features: Tensor, boxes: list[Tensor]) -> Tensor:
        return torch.zeros(1, 1280, 1, 1)


def test_boxes_are_in_pixels_of_the_given_picture() -> None:
    net, small = in_place(), picture(64, 80)
    # Every pixel four times: halved on the way in, it is the same picture.
    large = small.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    (from_small,), (from_large,) = net.detect([small]), net.detect([large])
    assert_same(from_large, from_small, scale=2)


@pytest.mark.parametrize(
    "sizes",
    [
        [(64, 80), (64, 80), (64, 80)],
        [(64, 80), (64, 96), (64, 70)],  # all of them are padded to 64 × 96, alone too
    ],
)
def test_a_batch_gives_what_its_pictures_give_alone(sizes: list[tuple[int, int]]) -> None:
    net = tiny_network()
    pictures = [picture(*size) for size in sizes]
    together = net.detect(pictures)
    for ours, one in zip(together, pictures, strict=True):
        assert_same(ours, net.detect([one])[0])


@pytest.mark.parametrize("reid_features", ["res5", "res4+res5"])
def test_embedding_a_detection_gives_its_embedding(reid_features: str) -> None:
    net = in_place(reid_features=reid_features)
    pictures = [picture(64, 80), picture(64, 96)]
    found = net.detect(pictures)
    embedded = net.embed(pictures, [one["boxes"] for one in found])
    for ours, one in zip(embedded, found, strict=True):
        torch.testing.assert_close(ours, one["embeddings"], rtol=0, atol=1e-4)


def test_embedding_asks_for_no_proposals() -> None:
    net = tiny_network()
    net.rpn = Refuses()
    with pytest.raises(AssertionError, match="was asked"):
        net.detect([picture()])
    nobody, two = net.embed([picture(), picture()], [torch.zeros(0, 4), PEOPLE["boxes"]])
    assert nobody.shape == (0, 16)
    torch.testing.assert_close(two.norm(dim=1), torch.ones(2))


def test_embedding_depends_on_the_box() -> None:
    net = tiny_network()
    (embedded,) = net.embed([picture()], [PEOPLE["boxes"]])
    assert not torch.isclose(embedded[0], embedded[1]).any()


def test_the_score_threshold_may_leave_nobody() -> None:
    (found,) = tiny_network(score_threshold=1.0).detect([picture()])
    assert found["boxes"].shape == (0, 4)
    assert found["embeddings"].shape == (0, 16)


@pytest.mark.parametrize(("system", "loss"), [*itertools.product(SYSTEMS, ("oim", "boim"))])
def test_every_system_with_every_loss_trains_and_detects(system: str, loss: str) -> None:
    net = tiny_network(LossConfig(name=loss, queue_size=4), system=system).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4)
    pictures, targets = [picture(), picture()], [PEOPLE, target((10, 10, 40, 50, -1))]
    values = []
    for _ in range(2):
        torch.manual_seed(0)  # the same regions again
        out = net(pictures, targets)
        total(out.losses).backward()
        optimizer.step()
        optimizer.zero_grad()
        values.append(total(out.losses).item())
    assert values[1] < values[0]
    net.roi_heads.criterion.update(out.embeddings, out.person_ids)
    (found,) = net.eval().detect([picture()])
    assert found["embeddings"].isfinite().all()
    assert len(found["boxes"]) > 0


def test_training_and_tests_take_other_picture_sizes() -> None:
    net = tiny_network(short_side=(32, 48, 64))
    seen = set()
    for training in (True, False):
        net.train(training)
        shapes = [net.transform([picture(96, 96)])[0].image_sizes[0] for _ in range(20)]
        seen.add((training, tuple(sorted(set(shapes)))))
    assert seen == {(True, ((32, 32), (48, 48), (64, 64))), (False, ((64, 64),))}


def test_same_seed_same_network() -> None:
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(tiny_network(LOSS).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])
