import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import box_iou

from fdps.models.rpn import (
    ProposalHead,
    ProposalNetwork,
    ProposalRules,
    Proposed,
    build_rpn,
    objectness_loss,
)

Sizes = list[tuple[int, int]]
Targets = list[dict[str, Tensor]]

SIZES, RATIOS = (16, 32), (1.0, 2.0, 4.0)
RULES = ProposalRules(
    before_nms=(40, 20),
    after_nms=(12, 5),
    nms_iou=0.7,
    foreground_iou=0.7,
    background_iou=0.3,
    anchors_per_image=256,
    positive_fraction=0.5,
)


def small_rpn(rules: ProposalRules = RULES) -> ProposalNetwork:
    """With six anchors per position, and weights that make scores and boxes differ."""
    rpn = build_rpn(8, rules, anchor_sizes=SIZES, anchor_ratios=RATIOS)
    for layer in (rpn.head.conv, rpn.head.cls_logits, rpn.head.bbox_pred):
        nn.init.normal_(layer.weight, std=0.15)
        nn.init.normal_(layer.bias, std=0.15)
    return rpn


class Levels(nn.Module):
    """A head as torchvision's network asks for it."""

    def __init__(self, head: ProposalHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, levels: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        hidden = [self.head.conv(features).relu() for features in levels]
        return [self.head.cls_logits(h) for h in hidden], [self.head.bbox_pred(h) for h in hidden]


def reference(rpn: ProposalNetwork) -> RegionProposalNetwork:
    """torchvision's network, with the same weights and numbers."""
    rules = rpn.rules
    (train_before, test_before), (train_after, test_after) = rules.before_nms, rules.after_nms
    theirs = RegionProposalNetwork(
        AnchorGenerator((SIZES,), (RATIOS,)),
        Levels(copy.deepcopy(rpn.head)),
        fg_iou_thresh=rules.foreground_iou,
        bg_iou_thresh=rules.background_iou,
        batch_size_per_image=rules.anchors_per_image,
        positive_fraction=rules.positive_fraction,
        pre_nms_top_n={"training": train_before, "testing": test_before},
        post_nms_top_n={"training": train_after, "testing": test_after},
        nms_thresh=rules.nms_iou,
    )
    return theirs.train(rpn.training)


def picture_list(sizes: Sizes, padded: tuple[int, int]) -> ImageList:
    return ImageList(torch.zeros(len(sizes), 3, *padded), sizes)


def person(*box: float, seed: int | None = None) -> dict[str, Tensor]:
    found = {"boxes": torch.tensor(box, dtype=torch.float32).reshape(-1, 4)}
    return found if seed is None else {**found, "seed": torch.tensor(seed)}


def sampled(proposed: Proposed, targets: Targets) -> Tensor:
    """Which anchors the losses look at: those whose logit gets a gradient."""
    logits = proposed.logits.detach().clone().requires_grad_()
    small_rpn().losses(proposed._replace(logits=logits), targets)["rpn_score"].value.backward()
    assert logits.grad is not None
    return logits.grad != 0


def propose(n_pictures: int, grid: tuple[int, int] = (12, 12)) -> Proposed:
    """For square pictures of 16 times the grid."""
    padded = (16 * grid[0], 16 * grid[1])
    return small_rpn()(torch.randn(n_pictures, 8, *grid), [padded] * n_pictures, padded)


def one_per_anchor(proposed: Proposed, seed: int) -> dict[str, Tensor]:
    """So many people that all anchors show one: 128 anchors are sampled instead of 256."""
    return {"boxes": proposed.anchors + 0.25, "seed": torch.tensor(seed)}


def test_anchors_have_the_given_areas_and_ratios_one_stride_apart() -> None:
    # Half width and half height of area 16² or 32² and height = 1, 2 or 4 widths, rounded.
    half = torch.tensor([[8, 8], [16, 16], [6, 11], [11, 23], [4, 16], [8, 32]]).float()
    anchors = small_rpn()(torch.zeros(1, 8, 6, 6), [(90, 96)], (90, 96)).anchors
    assert anchors.shape == (6 * 6 * 6, 4)
    assert torch.equal(anchors[:6], torch.cat([-half, half], dim=1))
    right, below = anchors[6:12] - anchors[:6], anchors[36:42] - anchors[:6]
    assert right.unique(dim=0).tolist() == [[16, 0, 16, 0]]
    assert below.unique(dim=0).tolist() == [[0, 15, 0, 15]]


@pytest.mark.parametrize(
    ("sizes", "ratios", "grid", "padded"),
    [
        ((32, 64, 128, 256, 512), (0.5, 1.0, 2.0), (5, 7), (80, 112)),  # of the recipes
        ((24, 48, 96, 192, 384), (2.0, 2.5, 3.0), (3, 4), (64, 64)),
        (tuple(range(1, 200)), (1.0, 1.44, 49.0), (1, 2), (16, 32)),  # halves to round
        (SIZES, RATIOS, (4, 9), (71, 140)),  # a map that does not divide the picture
    ],
)
def test_anchors_are_those_of_torchvision(
    sizes: tuple[int, ...],
    ratios: tuple[float, ...],
    grid: tuple[int, int],
    padded: tuple[int, int],
) -> None:
    generator = AnchorGenerator((sizes,), (ratios,))
    (theirs,) = generator(picture_list([padded], padded), [torch.zeros(1, 8, *grid)])
    rpn = build_rpn(8, RULES, anchor_sizes=sizes, anchor_ratios=ratios)
    assert torch.equal(rpn(torch.zeros(1, 8, *grid), [padded], padded).anchors, theirs)


def test_anchors_stay_exact_in_a_network_of_half_precision() -> None:
    rpn = small_rpn().to(torch.bfloat16)
    features = torch.zeros(1, 8, 2, 40, dtype=torch.bfloat16)
    proposed = rpn(features, [(32, 640)], (32, 640))
    usual = small_rpn()(features.float(), [(32, 640)], (32, 640))
    assert torch.equal(proposed.anchors, usual.anchors)
    assert proposed.anchors[:, 2].max() == 39 * 16 + 16  # bf16 has no 640
    assert proposed.anchors.dtype == proposed.boxes[0].dtype == torch.float32


def test_head_predicts_per_anchor_and_position() -> None:
    logits, deltas = ProposalHead(8, 6)(torch.zeros(2, 8, 5, 7))
    assert logits.shape == (2, 5 * 7 * 6)
    assert deltas.shape == (2, 5 * 7 * 6, 4)


def test_head_starts_undecided() -> None:
    logits, deltas = ProposalHead(8, 6)(torch.zeros(1, 8, 5, 5))
    assert logits.abs().max() == deltas.abs().max() == 0
    logits, _ = ProposalHead(8, 6)(torch.randn(1, 8, 5, 5))
    assert 0 < logits.std() < 0.1


def test_head_returns_float32_under_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, deltas = ProposalHead(8, 6)(torch.randn(1, 8, 5, 5))
    assert logits.dtype == deltas.dtype == torch.float32


def test_weights_have_the_names_of_torchvision() -> None:
    layers = ("head.conv", "head.cls_logits", "head.bbox_pred")
    names = {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    assert set(small_rpn().state_dict()) == names


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("grid", "padded", "sizes", "counts"),
    [
        ((6, 6), (96, 96), [(96, 96)], ((40, 20), (12, 5))),
        ((6, 6), (96, 96), [(96, 96)] * 2, ((9999, 9999), (9999, 9999))),  # fewer than asked for
        ((7, 9), (112, 144), [(100, 140), (112, 64), (17, 40)], ((150, 90), (60, 30))),
        ((5, 11), (93, 180), [(90, 170), (33, 180)], ((150, 90), (60, 30))),  # stride 18 by 16
    ],
)
def test_proposals_are_those_of_torchvision(
    training: bool,
    memory: torch.memory_format,
    grid: tuple[int, int],
    padded: tuple[int, int],
    sizes: Sizes,
    counts: tuple[tuple[int, int], tuple[int, int]],
) -> None:
    before, after = counts
    rules = replace(RULES, before_nms=before, after_nms=after)
    rpn = small_rpn(rules).train(training)
    features = torch.randn(len(sizes), 8, *grid).contiguous(memory_format=memory)
    expected, _ = reference(rpn)(
        picture_list(sizes, padded), {"map": features}, [person()] * len(sizes)
    )
    boxes = rpn(features, sizes, padded).boxes
    assert len(boxes) == len(sizes)
    for ours, theirs in zip(boxes, expected, strict=True):
        assert len(ours) > 4
        assert torch.equal(ours, theirs)


def test_of_more_than_1000_candidates_torchvision_keeps_the_same_in_some_order() -> None:
    # From there on it sorts without stability, and a few scores are equal after the sigmoid.
    rpn = small_rpn(replace(RULES, before_nms=(2500, 2500), after_nms=(9999, 9999)))
    features, size = torch.randn(1, 8, 20, 24), (320, 384)
    (theirs,), _ = reference(rpn)(picture_list([size], size), {"map": features}, [person()])
    (ours,) = rpn(features, [size], size).boxes
    assert len(ours) > 1000
    assert sorted(ours.tolist()) == sorted(theirs.tolist())


def test_the_rules_decide_what_is_sampled_and_what_overlaps_too_much() -> None:
    rules = replace(RULES, anchors_per_image=64, positive_fraction=0.25)
    rpn, proposed = small_rpn(rules), propose(1)
    losses = rpn.losses(proposed, [one_per_anchor(proposed, seed=1)])
    assert losses["rpn_score"].n_samples == 16  # all anchors are people, a quarter of 64 is drawn
    counts = []
    for nms_iou in (0.3, 0.9):
        everything = replace(RULES, before_nms=(999, 999), after_nms=(999, 999), nms_iou=nms_iou)
        torch.manual_seed(0)
        counts.append(
            len(small_rpn(everything)(torch.randn(1, 8, 6, 6), [(96, 96)], (96, 96))[0][0])
        )
    assert counts[0] < counts[1]


@pytest.mark.parametrize(("training", "n_proposals"), [(True, 12), (False, 5)])
def test_counts_differ_between_training_and_tests(training: bool, n_proposals: int) -> None:
    rpn = small_rpn().train(training)
    (boxes,) = rpn(torch.randn(1, 8, 6, 6), [(96, 96)], (96, 96)).boxes
    assert len(boxes) == n_proposals


def test_proposals_come_best_first() -> None:
    rpn = small_rpn(replace(RULES, before_nms=(9999, 9999), after_nms=(9999, 9999))).eval()
    nn.init.zeros_(rpn.head.bbox_pred.weight)  # boxes are anchors, so each has a logit
    nn.init.zeros_(rpn.head.bbox_pred.bias)
    proposed = rpn(torch.randn(1, 8, 6, 6), [(960, 960)], (96, 96))
    (boxes,) = proposed.boxes
    same = (boxes[:, None] == proposed.anchors.clamp(min=0)).all(dim=2)
    logits = torch.where(same, proposed.logits, -torch.inf).amax(dim=1)
    assert len(boxes) > 100
    assert (logits.diff() <= 0).all()


@pytest.mark.parametrize("layer", ["conv", "cls_logits", "bbox_pred"])
def test_a_head_that_diverged_proposes_nothing(layer: str) -> None:
    rpn = small_rpn()
    nn.init.constant_(rpn.head.get_submodule(layer).weight, torch.nan)
    (boxes,) = rpn(torch.randn(1, 8, 6, 6), [(96, 96)], (96, 96)).boxes
    assert boxes.shape == (0, 4)


def test_proposals_have_no_gradient_but_what_losses_need_has() -> None:
    proposed = propose(2)
    assert not any(boxes.requires_grad for boxes in proposed.boxes)
    assert not proposed.anchors.requires_grad
    assert proposed.logits.requires_grad
    assert proposed.deltas.requires_grad


def test_training_goes_on_after_inference() -> None:
    rpn, features = small_rpn(), torch.randn(1, 8, 6, 6)
    with torch.inference_mode():
        before = rpn(features, [(96, 96)], (96, 96))
    after = rpn(features, [(96, 96)], (96, 96))
    losses = rpn.losses(after, [person(5, 5, 30, 60)])
    (losses["rpn_score"].value + losses["rpn_box"].value).backward()
    assert torch.equal(before.boxes[0], after.boxes[0])


def test_losses_and_gradients_are_those_of_torchvision_where_all_anchors_are_sampled() -> None:
    rpn = small_rpn()
    theirs = reference(rpn)
    # 150 anchors each: at most 256, so the draw decides nothing.
    features, sizes = torch.randn(3, 8, 5, 5), [(80, 80), (70, 75), (80, 60)]
    targets = [
        person(0, 1, 15, 16, 22, 6, 42, 58),  # the second has anchors of overlap .81 and .68
        person(10, 2, 12, 40, 9, 3, 14, 38, 30, 30, 40, 38),
        person(),
    ]
    images = picture_list(sizes, (80, 80))
    _, expected = theirs(images, {"map": features}, targets)
    sum(expected.values()).backward()
    losses = rpn.losses(rpn(features, sizes, (80, 80)), targets)
    (losses["rpn_score"].value + losses["rpn_box"].value).backward()
    kind = {"rtol": 1e-6, "atol": 1e-6}
    torch.testing.assert_close(losses["rpn_score"].value, expected["loss_objectness"], **kind)
    torch.testing.assert_close(losses["rpn_box"].value, expected["loss_rpn_box_reg"], **kind)
    assert losses["rpn_box"].value > 0.01
    assert 400 < losses["rpn_box"].n_samples < 3 * 150  # without the ignored ones
    pairs = zip(rpn.head.parameters(), theirs.head.parameters(), strict=True)
    for ours, other in pairs:
        torch.testing.assert_close(ours.grad, other.grad, **kind)


def test_picture_without_people_teaches_background_only() -> None:
    rpn, proposed = small_rpn(), propose(1)
    losses = rpn.losses(proposed, [person()])
    assert losses["rpn_box"].value == 0
    assert losses["rpn_box"].n_samples == 256
    (deltas,) = torch.autograd.grad(losses["rpn_box"].value, proposed.deltas, retain_graph=True)
    assert not deltas.any()
    (logits,) = torch.autograd.grad(losses["rpn_score"].value, proposed.logits)
    assert (logits > 0).sum() == 256  # every score is to fall


def test_without_anchors_losses_and_gradients_are_zero() -> None:
    logits, deltas = torch.zeros(1, 0, requires_grad=True), torch.zeros(1, 0, 4, requires_grad=True)
    nothing = Proposed([torch.zeros(0, 4)], logits, deltas, torch.zeros(0, 4))
    losses = small_rpn().losses(nothing, [person(5, 5, 30, 60)])
    (losses["rpn_score"].value + losses["rpn_box"].value).backward()
    assert losses["rpn_score"].value == losses["rpn_box"].value == losses["rpn_box"].n_samples == 0
    assert logits.grad is not None
    assert deltas.grad is not None


def test_limit_objectness_right_or_wrong_with_certainty_stays_finite() -> None:
    logits = torch.tensor([1e4])
    assert objectness_loss(logits, torch.tensor([True])) == 0
    assert objectness_loss(logits, torch.tensor([False])) == 1e4


def test_gradients_reach_every_weight_of_the_head() -> None:
    rpn = small_rpn()
    proposed = rpn(torch.randn(1, 8, 6, 6), [(96, 96)], (96, 96))
    losses = rpn.losses(proposed, [person(5, 5, 30, 60)])
    (losses["rpn_score"].value + losses["rpn_box"].value).backward()
    assert all(p.grad is not None and p.grad.any() for p in rpn.parameters())


@pytest.mark.parametrize("parts", [[1, 3], [2, 2], [1, 1, 1, 1], [4]])
def test_parts_of_a_batch_add_up_to_the_batch(parts: list[int]) -> None:
    rpn = small_rpn()
    features, sizes = torch.randn(4, 8, 12, 12), [(192, 192), (100, 180), (192, 90), (150, 150)]
    proposed = rpn(features, sizes, (192, 192))
    targets = [
        person(5, 5, 30, 60, seed=1),
        one_per_anchor(proposed, seed=2),
        person(seed=3),
        person(9, 50, 40, 140, 100, 3, 130, 90, seed=4),
    ]
    whole = rpn.losses(proposed, targets)
    (whole["rpn_score"].value + whole["rpn_box"].value).backward()
    expected = [p.grad for p in rpn.parameters()]
    assert whole["rpn_box"].n_samples == 3 * 256 + 128  # means of unequal weight

    rpn.zero_grad()
    torch.manual_seed(9)  # means nothing: pictures have seeds
    score, box = torch.zeros(()), torch.zeros(())
    for rows in torch.arange(4).split(parts):
        some = [sizes[row] for row in rows]
        part = rpn.losses(rpn(features[rows], some, (192, 192)), [targets[row] for row in rows])
        weight = part["rpn_box"].n_samples / whole["rpn_box"].n_samples
        (weight * (part["rpn_score"].value + part["rpn_box"].value)).backward()
        score, box = score + weight * part["rpn_score"].value, box + weight * part["rpn_box"].value
    torch.testing.assert_close(score, whole["rpn_score"].value, rtol=1e-6, atol=0)
    torch.testing.assert_close(box, whole["rpn_box"].value, rtol=1e-6, atol=0)
    for parameter, gradient in zip(rpn.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-5, atol=1e-7)


def test_the_sample_of_a_picture_follows_from_its_seed_alone() -> None:
    proposed, someone = propose(3), person(5, 5, 30, 60, seed=7)
    drawn = sampled(proposed, [someone, person(seed=8), person(seed=7)])
    assert drawn.sum(dim=1).tolist() == [256, 256, 256]
    torch.manual_seed(5)
    again = sampled(proposed, [one_per_anchor(proposed, seed=1), person(seed=9), someone])
    assert torch.equal(again[2], drawn[0])  # elsewhere in other company
    assert not torch.equal(drawn[1], drawn[2])  # another seed


def test_seeded_sampling_leaves_the_global_generator_alone() -> None:
    rpn, proposed = small_rpn(), propose(1)
    before = torch.get_rng_state()
    rpn.losses(proposed, [person(5, 5, 30, 60, seed=7)])
    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_seed_the_global_generator_draws() -> None:
    rpn, proposed, drawn = small_rpn(), propose(1), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(rpn.losses(proposed, [person(5, 5, 30, 60)])["rpn_score"].value.item())
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_and_cpu_train_on_the_same_anchors() -> None:
    proposed = propose(2)
    targets = [person(5, 5, 30, 60, seed=7), person(seed=8)]
    on_gpu = Proposed(
        [b.cuda() for b in proposed.boxes],
        *(part.detach().cuda() for part in (proposed.logits, proposed.deltas, proposed.anchors)),
    )
    moved = [{**t, "boxes": t["boxes"].cuda()} for t in targets]
    assert torch.equal(sampled(on_gpu, moved).cpu(), sampled(proposed, targets))


def test_a_least_score_leaves_out_proposals_in_tests_alone() -> None:
    torch.manual_seed(3)
    rpn, features = small_rpn().eval(), torch.randn(2, 8, 6, 8)
    sizes = [(96, 128), (90, 100)]
    every = rpn(features, sizes, (96, 128))
    least = every.logits.sigmoid().topk(3).values.max(dim=0).values[-1].item()
    rpn.min_score = least
    found = rpn(features, sizes, (96, 128))
    for some, few, logits in zip(every.boxes, found.boxes, found.logits, strict=True):
        assert torch.equal(few, some[: len(few)])  # the best, in the same order
        assert len(few) <= int((logits.sigmoid() >= least).sum())
    assert 0 < sum(map(len, found.boxes)) < sum(map(len, every.boxes))
    rpn.train()
    in_training = rpn(features, sizes, (96, 128)).boxes
    rpn.min_score = 0.0
    again = rpn(features, sizes, (96, 128)).boxes
    assert all(torch.equal(*pair) for pair in zip(in_training, again, strict=True))


def test_a_least_score_may_leave_no_proposal() -> None:
    rpn = small_rpn(replace(RULES, test_min_score=0.999999)).eval()
    (found,) = rpn(torch.zeros(1, 8, 6, 8), [(96, 128)], (96, 128)).boxes
    assert found.shape == (0, 4)


def test_tests_may_suppress_more_than_training() -> None:
    torch.manual_seed(3)
    features, sizes = torch.randn(1, 8, 6, 8), [(96, 128)]
    rpn = small_rpn(replace(RULES, before_nms=(40, 40), after_nms=(40, 40))).eval()
    (many,) = rpn(features, sizes, (96, 128)).boxes
    rpn.test_nms_iou = 0.3
    (few,) = rpn(features, sizes, (96, 128)).boxes
    overlaps = box_iou(few, few).fill_diagonal_(0)
    assert overlaps.max() <= 0.3
    assert torch.equal(few[0], many[0])
    assert len(few) < len(many)
    stricter = small_rpn(replace(RULES, test_nms_iou=0.3)).train()
    assert stricter.test_nms_iou == 0.3
    stricter.load_state_dict(rpn.state_dict())
    plain = small_rpn(RULES).train()
    plain.load_state_dict(rpn.state_dict())
    pair = (net(features, sizes, (96, 128)).boxes[0] for net in (stricter, plain))
    assert torch.equal(*pair)
