"""What lies between the graphs follows the rules of the network in PyTorch."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from fdps.models.box_coder import decode as decode_tensors
from fdps.models.roi_heads import RegionRules
from fdps.models.roi_heads import select as select_tensors
from fdps.models.rpn import ProposalRules, build_rpn
from fdps.runtime.proposals import (
    REGION_WEIGHTS,
    Suppression,
    clipped,
    decode,
    grid_anchors,
    propose,
    select,
    suppress,
)

SIZE, PADDED = (90, 120), (96, 128)


@pytest.mark.parametrize(
    ("before", "after", "min_score", "max_iou"),
    [
        (1000, 1000, 0.0, 0.7),  # everything that differs
        (20, 5, 0.0, 0.7),  # both limits on numbers hold
        (1000, 1000, 0.6, 0.5),  # the sure ones, which overlap little
        (1000, 1000, 0.999999, 0.7),  # nobody
    ],
)
def test_proposals_are_those_of_the_network(
    before: int, after: int, min_score: float, max_iou: float
) -> None:
    rules = ProposalRules((9, before), (9, after), 0.7, 0.7, 0.3, 256, 0.5, min_score, max_iou)
    rpn = build_rpn(8, rules, anchor_sizes=(16, 32), anchor_ratios=(1.0, 2.0)).eval()
    for layer in (rpn.head.conv, rpn.head.cls_logits, rpn.head.bbox_pred):
        nn.init.normal_(layer.weight, std=0.3)  # type: ignore[arg-type, union-attr]
    features = torch.randn(1, 8, 6, 8)
    with torch.no_grad():
        wanted = rpn(features, [SIZE], PADDED)
    cells = rpn.anchors.cell_anchors[0].numpy()
    anchors = grid_anchors(cells, (6, 8), PADDED)
    np.testing.assert_array_equal(anchors, wanted.anchors.numpy())
    found = propose(
        wanted.logits[0].numpy(),
        wanted.deltas[0].numpy(),
        anchors,
        SIZE,
        before=before,
        rules=Suppression(min_score, max_iou, after),
    )
    np.testing.assert_allclose(found, wanted.boxes[0].numpy(), atol=1e-4)


def test_boxes_are_decoded_as_the_network_does() -> None:
    deltas, references = torch.randn(50, 4) * 5, torch.rand(50, 4) * 50
    references[:, 2:] += references[:, :2] + 1
    deltas[0, 2] = 100.0  # more than a box may grow
    wanted = decode_tensors(deltas, references, REGION_WEIGHTS).numpy()
    np.testing.assert_allclose(
        decode(deltas.numpy(), references.numpy(), REGION_WEIGHTS), wanted, rtol=1e-5, atol=1e-4
    )


def test_detections_are_selected_as_the_network_does() -> None:
    corner = torch.rand(200, 2) * 100 - 10
    boxes = torch.cat([corner, corner + torch.rand(200, 2) * 60], dim=1)
    boxes[:5, 2:] = boxes[:5, :2] + 0.5  # half a pixel wide
    scores = torch.rand(200)
    rules = RegionRules(1, 0.5, 0.5, 0.5, 0.0, 0.4, 20, "proposal")
    wanted_boxes, wanted_scores, wanted_rows = select_tensors(boxes, scores, SIZE, rules, 0.3)
    inside = clipped(boxes.numpy(), SIZE)
    rows = select(inside, scores.numpy(), SIZE, Suppression(0.3, 0.4, 20))
    assert rows.tolist() == wanted_rows.tolist()
    np.testing.assert_allclose(inside[rows], wanted_boxes.numpy())
    np.testing.assert_array_equal(scores.numpy()[rows], wanted_scores.numpy())


def test_nothing_is_suppressed_to_nothing() -> None:
    none = np.zeros((0, 4), dtype=np.float32)
    assert suppress(none, none[:, 0], max_iou=0.5, most=5).shape == (0,)


def test_a_score_that_is_not_a_number_proposes_nothing() -> None:
    anchors = np.array([[0, 0, 20, 40], [40, 0, 60, 40]], dtype=np.float32)
    logits = np.array([math.nan, 1.0], dtype=np.float32)
    rules = Suppression(0.0, 0.7, 10)
    found = propose(logits, np.zeros_like(anchors), anchors, SIZE, before=10, rules=rules)
    np.testing.assert_array_equal(found, anchors[1:])
