import pytest
import torch
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork

from fdps.models.rpn import ProposalHead, build_rpn


def small_rpn() -> RegionProposalNetwork:
    return build_rpn(
        8,
        anchor_sizes=(16, 32),
        anchor_ratios=(1.0, 2.0, 4.0),
        before_nms=(40, 20),
        after_nms=(12, 5),
    )


def picture(side: int = 96) -> ImageList:
    return ImageList(torch.zeros(1, 3, side, side), [(side, side)])


def test_anchors_have_the_given_areas_and_ratios() -> None:
    anchors = small_rpn().anchor_generator(picture(), [torch.zeros(1, 8, 6, 6)])[0]
    assert anchors.shape == (6 * 6 * 6, 4)
    # Half width and half height of area 16² or 32² and height = 1, 2 or 4 widths, rounded.
    half = torch.tensor([[8.0, 8], [16, 16], [6, 11], [11, 23], [4, 16], [8, 32]])
    assert torch.equal(anchors[:6], torch.cat([-half, half], dim=1))


def test_anchors_stand_one_stride_apart() -> None:
    anchors = small_rpn().anchor_generator(picture(), [torch.zeros(1, 8, 6, 6)])[0]
    right, below = anchors[6:12] - anchors[:6], anchors[36:42] - anchors[:6]
    assert right.unique(dim=0).tolist() == [[16, 0, 16, 0]]
    assert below.unique(dim=0).tolist() == [[0, 16, 0, 16]]


def test_head_predicts_per_anchor_and_position() -> None:
    scores, deltas = ProposalHead(8, 6)([torch.zeros(2, 8, 5, 7)])
    assert scores[0].shape == (2, 6, 5, 7)
    assert deltas[0].shape == (2, 24, 5, 7)


def test_head_starts_undecided() -> None:
    scores, deltas = ProposalHead(8, 6)([torch.zeros(1, 8, 5, 5)])
    assert scores[0].abs().max() == deltas[0].abs().max() == 0
    scores, _ = ProposalHead(8, 6)([torch.randn(1, 8, 5, 5)])
    assert 0 < scores[0].std() < 0.1


def test_head_returns_float32_under_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores, deltas = ProposalHead(8, 6)([torch.randn(1, 8, 5, 5)])
    assert scores[0].dtype == deltas[0].dtype == torch.float32


@pytest.mark.parametrize(("training", "n_proposals"), [(True, 12), (False, 5)])
def test_counts_differ_between_training_and_tests(training: bool, n_proposals: int) -> None:
    rpn = small_rpn().train(training)
    target = [{"boxes": torch.tensor([[5.0, 5, 30, 60]])}] if training else None
    proposals, losses = rpn(picture(), {"map": torch.randn(1, 8, 6, 6)}, target)
    assert len(proposals[0]) == n_proposals
    assert set(losses) == ({"loss_objectness", "loss_rpn_box_reg"} if training else set())


def test_candidates_differ_between_training_and_tests() -> None:
    rpn = small_rpn()
    assert rpn.train().pre_nms_top_n() == 40
    assert rpn.eval().pre_nms_top_n() == 20


def test_picture_without_people_teaches_background_only() -> None:
    rpn = small_rpn().train()
    nobody = [{"boxes": torch.zeros(0, 4)}]
    _, losses = rpn(picture(), {"map": torch.randn(1, 8, 6, 6)}, nobody)
    assert losses["loss_rpn_box_reg"] == 0
    assert 0 < losses["loss_objectness"] < 1
