import copy
import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from fake.tiny import LOSS, picture, target, tiny_criterion, tiny_network
from fdps.config import LossConfig
from fdps.config.systems import SYSTEMS
from fdps.losses import Criterion
from fdps.models import PersonSearchNet
from fdps.models.norms import SyncedBatchNorm
from fdps.models.outputs import DetectedTensors, MeanLoss, TrainingOutputs
from fdps.models.rpn import Proposed

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


def total(losses: dict[str, MeanLoss]) -> Tensor:
    return torch.stack([loss.value for loss in losses.values()]).sum()


def assert_same(ours: DetectedTensors, theirs: DetectedTensors, *, scale: float = 1.0) -> None:
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
    out = net([picture(), picture(80, 64)], targets, tiny_criterion())
    assert list(out.losses) == LOSSES
    assert all(mean.value.shape == () and mean.value.isfinite() for mean in out.losses.values())
    ids = {int(i) for one in targets for i in one["person_ids"]}
    assert set(out.people.person_ids.tolist()) == ids
    assert (out.losses["reid"].value > 0) == bool(ids - {-1})
    assert (out.losses["box"].value > 0) == bool(ids)
    total(out.losses).backward()
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_training_hands_over_what_the_memory_needs() -> None:
    net, criterion = tiny_network().train(), tiny_criterion()
    embeddings, person_ids, overlaps = people = net([picture()], [PEOPLE], criterion).people
    assert overlaps.shape == person_ids.shape
    assert embeddings.shape == (len(person_ids), 16)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(len(embeddings)))
    assert not embeddings.requires_grad
    assert not criterion.memory.table.rows.any()  # update writes it, not forward
    criterion.update(*people)
    assert criterion.memory.table.rows.any(dim=1).tolist() == [True, False, True]


def test_a_network_holds_nothing_of_the_people_it_was_trained_on() -> None:
    net, criterion = tiny_network().train(), tiny_criterion()
    before = {name: value.shape for name, value in net.state_dict().items()}
    criterion.update(*net([picture()], [PEOPLE], criterion).people)
    assert {name: value.shape for name, value in net.state_dict().items()} == before
    assert not [name for name in before if "criterion" in name or "memory" in name]


def test_training_leaves_the_targets_as_they_were() -> None:
    net, given = tiny_network().train(), target((10, 10, 80, 120, 1))
    net([picture(128, 96)], [given], tiny_criterion())
    assert given["boxes"].tolist() == [[10, 10, 80, 120]]


@pytest.mark.parametrize("people", [PEOPLE, target((5, 5, 30, 60, 1)), target()])
def test_a_network_that_diverged_says_so_in_its_losses(people: dict[str, Tensor]) -> None:
    net = tiny_network().train()
    nn.init.constant_(net.rpn.head.conv.weight, torch.nan)  # proposes nothing any more
    out = net([picture()], [people], tiny_criterion())
    assert out.losses["rpn_score"].value.isnan()


@pytest.mark.long
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

    def forward(self, features: Tensor, sizes: object, padded: object) -> Proposed:
        none = torch.zeros(1, 0)
        whole = torch.tensor([[0.0, 0, 1500, 1500]])
        return Proposed([whole], none, none[..., None].expand(1, 0, 4), torch.zeros(0, 4))


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
        [(64, 80), (80, 64), (64, 128), (64, 70)],  # of different sizes, padded or not
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


@pytest.mark.long
@pytest.mark.parametrize(("system", "loss"), [*itertools.product(SYSTEMS, ("oim", "boim"))])
def test_every_system_with_every_loss_trains_and_detects(system: str, loss: str) -> None:
    net = tiny_network(system=system).train()
    criterion = tiny_criterion(LossConfig(name=loss, queue_size=4))
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    pictures, people = batch()
    values = []
    for _ in range(12):
        torch.manual_seed(0)  # nearly the same regions again; proposals move a little
        out = net(pictures, people, criterion)
        total(out.losses).backward()
        optimizer.step()
        optimizer.zero_grad()
        values.append(total(out.losses).item())
    assert min(values[3:]) < values[0]
    criterion.update(*out.people)
    (found,) = net.eval().detect([picture()])
    assert found["embeddings"].isfinite().all()
    assert len(found["boxes"]) > 0


def test_training_and_tests_take_other_picture_sizes() -> None:
    net = tiny_network(short_side=(32, 48, 64))
    seen = set()
    for training in (True, False):
        net.train(training)
        shapes = [net.transform([picture(96, 96)], None)[0].image_sizes[0] for _ in range(20)]
        seen.add((training, tuple(sorted(set(shapes)))))
    assert seen == {(True, ((32, 32), (48, 48), (64, 64))), (False, ((64, 64),))}


NORMS = ("train", "frozen", "sync")
BOIM = LossConfig(name="boim", queue_size=4)


def batch() -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Three pictures of different sizes, always the same; seeds make forward repeatable."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(64, 80), (80, 64), (64, 96)]
    pictures = [torch.rand(3, *size, generator=generator) for size in sizes]
    people = [PEOPLE, target(), target((10, 10, 40, 50, 1), (0, 3, 20, 60, -1))]
    return pictures, [one | {"seed": torch.tensor(k + 1)} for k, one in enumerate(people)]


def used(**change: object) -> tuple[PersonSearchNet, Criterion]:
    """A network in training and its loss, whose norms and memory remember something."""
    net, criterion = tiny_network(**change).train(), tiny_criterion(BOIM)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | SyncedBatchNorm):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    criterion.update(*net(*batch(), criterion).people)
    return net, criterion


def outputs(out: TrainingOutputs) -> dict[str, Tensor]:
    """All of it, flat."""
    losses = {name: loss.value for name, loss in out.losses.items()}
    counts = {f"n {name}": loss.n_samples for name, loss in out.losses.items()}
    terms = {f"term {name}": value for name, value in out.reid_terms.items()}
    return {**losses, **counts, **terms, **out.people._asdict()}


def taught(net: PersonSearchNet, criterion: Criterion, **change: object) -> dict[str, Tensor]:
    """Outputs, gradients and buffers of a step of a copy, but for the step itself."""
    net, criterion = copy.deepcopy((net, criterion))
    for name, value in change.items():
        setattr(net.backbone, name, value)
    out = net(*batch(), criterion)
    total(out.losses).backward()
    criterion.update(*out.people)
    gradients = {f"d {name}": p.grad for name, p in net.named_parameters() if p.grad is not None}
    buffers = dict(net.named_buffers()) | dict(criterion.named_buffers())
    return {**outputs(out), **gradients, **buffers}


def assert_same_bits(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


@contextmanager
def buffers_kept(net: PersonSearchNet) -> Iterator[None]:
    before = {name: value.clone() for name, value in net.named_buffers()}
    yield
    assert_same_bits(dict(net.named_buffers()), before)


def test_with_seeds_nothing_else_is_random() -> None:
    net, criterion = used(short_side=(48, 64))
    torch.manual_seed(1)
    pictures, targets = batch()
    first = outputs(net(pictures, targets, criterion))
    torch.manual_seed(2)
    assert_same_bits(outputs(net(pictures, targets, criterion)), first)
    reseeded = [one | {"seed": one["seed"] + 7} for one in targets]
    others = outputs(net(pictures, reseeded, criterion))
    assert not any(torch.equal(others[name], first[name]) for name in LOSSES)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("size", [None, (128, 160)])
def test_counting_gives_the_counts_of_training_and_changes_nothing(
    norm: str, size: tuple[int, int] | None
) -> None:
    (net, criterion), given = used(norm=norm), batch()
    with buffers_kept(net):
        counts = net.count(*given, criterion, size)
    assert not any(value.requires_grad for value in counts.values())
    losses = copy.deepcopy(net)(*given, criterion, size).losses
    assert list(counts) == list(losses) == LOSSES
    assert {k: v.item() for k, v in counts.items()} == {
        name: loss.n_samples.item() for name, loss in losses.items()
    }
    assert all(value.dtype == torch.int64 for value in counts.values())
    assert counts["rpn_score"] == counts["rpn_box"] > counts["person"] == counts["box"]
    assert counts["person"] > counts["reid"] > 0


def test_counting_asks_no_region_head() -> None:
    net, criterion = used()
    net.roi_heads.region_head = net.roi_heads.heads = net.roi_heads.pool = Refuses()
    assert net.count(*batch(), criterion)["person"] > 0


def test_counting_does_not_disturb_what_is_learnt() -> None:
    net, criterion = used()
    plain = taught(net, criterion)
    net.count(*batch(), criterion)
    assert_same_bits(taught(net, criterion), plain)


@pytest.mark.parametrize("loss", [LOSS, BOIM])
@pytest.mark.parametrize("norm", ["train", "frozen"])
def test_without_pictures_there_is_nothing_to_learn(loss: LossConfig, norm: str) -> None:
    net, criterion = tiny_network(norm=norm).train(), tiny_criterion(loss)
    with buffers_kept(net):
        nothing = net([], [], criterion)
        counts = net.count([], [], criterion)
    assert [mean.value.item() for mean in nothing.losses.values()] == [0] * 5
    assert [mean.n_samples.item() for mean in nothing.losses.values()] == [0] * 5
    assert [value.item() for value in counts.values()] == [0] * 5
    assert not total(nothing.losses).requires_grad
    something = net(*batch(), criterion)
    assert list(nothing.losses) == list(counts) == list(something.losses)
    assert list(nothing.reid_terms) == list(something.reid_terms)
    for name, value in outputs(something).items():
        assert outputs(nothing)[name].dtype == value.dtype, name
    assert nothing.people.embeddings.shape == (0, 16)
    criterion.update(*nothing.people)
    assert not any(value.any() for value in criterion.memory.buffers())


def test_without_pictures_the_terms_are_those_of_the_memory() -> None:
    net, criterion = used()
    terms = net([], [], criterion).reid_terms
    assert terms["w"] == net(*batch(), criterion).reid_terms["w"] != 1
    assert {value.item() for name, value in terms.items() if name != "w"} == {0}


def test_a_size_pads_the_batch_and_is_seen_by_the_network() -> None:
    (net, criterion), given = used(), batch()
    need = tuple(net.transform(*given)[0].tensors.shape[-2:])
    plain = outputs(net(*given, criterion))
    assert_same_bits(outputs(net(*given, criterion, need)), plain)
    assert_same_bits(outputs(net(*given, criterion, (32, 32))), plain)
    larger = outputs(net(*given, criterion, (160, 160)))
    assert not any(torch.equal(larger[name], plain[name]) for name in LOSSES)


def test_frozen_norms_keep_the_pictures_of_a_batch_apart() -> None:
    (net, criterion), (pictures, targets) = used(norm="frozen"), batch()
    size = net.transform.size_of(pictures, targets)
    whole = net(pictures, targets, criterion, size)
    parts = [net(pictures[k : k + 1], targets[k : k + 1], criterion, size) for k in range(3)]
    joined = torch.cat([part.people.embeddings for part in parts])
    torch.testing.assert_close(joined, whole.people.embeddings, rtol=0, atol=1e-5)
    ids = torch.cat([part.people.person_ids for part in parts])
    assert torch.equal(ids, whole.people.person_ids)
    for name, loss in whole.losses.items():
        some = [part.losses[name] for part in parts]
        n = sum(mean.n_samples for mean in some)
        assert n == loss.n_samples
        mean = sum(mean.value * mean.n_samples for mean in some) / n
        torch.testing.assert_close(mean, loss.value, rtol=1e-4, atol=1e-6)


def test_frozen_norms_stay_as_they_are_and_learn_weight_and_bias() -> None:
    net, criterion = used(norm="frozen")
    with buffers_kept(net):
        total(net(*batch(), criterion).losses).backward()
    for norm in (net.roi_heads.heads.embedding.norms[0], net.roi_heads.heads.box_norm):
        assert norm.weight.grad is not None
        assert norm.weight.grad.any()
        assert norm.bias.grad.any()


def test_synchronised_norms_of_one_process_are_the_usual_ones() -> None:
    usual, criterion = used(norm="train")
    synced = tiny_network(norm="sync").train()
    synced.load_state_dict(usual.state_dict())
    assert_same_bits(taught(synced, criterion), taught(usual, criterion))


@pytest.mark.parametrize("norm", NORMS)
def test_maps_that_are_computed_again_teach_the_same_bits(norm: str) -> None:
    net, criterion = used(norm=norm)
    assert_same_bits(taught(net, criterion, is_recomputed=True), taught(net, criterion))


def test_same_seed_same_network() -> None:
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(tiny_network().state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])
