"""The region proposal network of Faster R-CNN on one map of stride 16.

It proposes what torchvision's does, bit for bit; only where two scores are equal after the sigmoid
the logits decide, not an unstable sort. It is written out because training in several processes or
in parts of a batch must add up to training on the whole batch: here each picture has a seed that
says which anchors it trains on, and losses tell how many anchors they are a mean over.

Axes: B pictures, C channels, H and W size of the map, A anchors per position, R = H·W·A anchors per
picture, N sampled ones.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import nms

from fdps.losses.detection import box_loss
from fdps.models.box_coder import decode, encode
from fdps.models.outputs import MeanLoss
from fdps.models.sampling import ANCHORS, PERSON, match, sample, seeded

MIN_SIDE_PX = 1e-3
BOX_WEIGHTS = (1.0, 1.0, 1.0, 1.0)
BOX_BETA = 1 / 9


class Proposed(NamedTuple):
    """Proposals of a batch, and what :meth:`ProposalNetwork.losses` compares with annotations."""

    boxes: list[Float[Tensor, "_ 4"]]
    """Proposals of each picture, best first, within the resized picture; no gradient."""
    logits: Float[Tensor, "B R"]
    """That an anchor shows a person, before the sigmoid."""
    deltas: Float[Tensor, "B R 4"]
    """From anchor to box, as :func:`fdps.models.box_coder.encode` writes them."""
    anchors: Float[Tensor, "R 4"]
    """The same in each picture."""


@dataclass(frozen=True)
class ProposalRules:
    """How anchors are sampled for training and proposals selected.

    Pairs are of training and test. Fields are those of ``ModelConfig`` without their ``rpn_``.
    """

    before_nms: tuple[int, int]
    after_nms: tuple[int, int]
    nms_iou: float
    foreground_iou: float
    background_iou: float
    anchors_per_image: int
    positive_fraction: float
    test_min_score: float = 0.0
    test_nms_iou: float | None = None


class ProposalHead(nn.Module):
    """Predict a score and box deltas for every anchor.

    The convolutions run in the precision of the training step (autocast); their results become
    float32 before they are decoded, because boxes computed in bfloat16 are pixels off.

    Args:
        channels: Of the feature map.
        n_anchors: Per position.
    """

    def __init__(self, channels: int, n_anchors: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.cls_logits = nn.Conv2d(channels, n_anchors, kernel_size=1)
        self.bbox_pred = nn.Conv2d(channels, 4 * n_anchors, kernel_size=1)
        for layer in (self.conv, self.cls_logits, self.bbox_pred):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(
        self, features: Float[Tensor, "B C H W"]
    ) -> tuple[Float[Tensor, "B R"], Float[Tensor, "B R 4"]]:
        """Predict logits and deltas for rows of the map, then columns, then anchors."""
        hidden = self.conv(features).relu()
        logits, deltas = self.cls_logits(hidden).float(), self.bbox_pred(hidden).float()
        return (
            logits.permute(0, 2, 3, 1).flatten(1),
            deltas.permute(0, 2, 3, 1).reshape(len(deltas), -1, 4),
        )


class ProposalNetwork(nn.Module):
    """Propose where people may be.

    Args:
        head: Feature map to logits and deltas.
        anchors: Of a single level.
        rules: Sampling and selection. In training mode the training numbers hold.

    Attributes:
        min_score: Tests leave out proposals whose score, in [0, 1], is lower; starts as the rule
            and may be changed.
        test_nms_iou: In tests a proposal that overlaps a better one by more is dropped; starts as
            the rule and may be changed.
    """

    LOSSES = ("rpn_score", "rpn_box")

    def __init__(self, head: nn.Module, anchors: AnchorGenerator, rules: ProposalRules) -> None:
        super().__init__()
        self.head, self.anchors, self.rules = head, anchors, rules
        self.min_score = rules.test_min_score
        self.test_nms_iou = rules.nms_iou if rules.test_nms_iou is None else rules.test_nms_iou

    def forward(
        self,
        features: Float[Tensor, "B C H W"],
        sizes: list[tuple[int, int]],
        padded: tuple[int, int],
    ) -> Proposed:
        """Propose boxes in pixels of the resized pictures.

        Args:
            features: Of the trunk.
            sizes: Height and width of each resized picture.
            padded: Height and width of the batch, which the map covers.
        """
        logits, deltas = self.head(features)
        anchors = self._place((features.shape[-2], features.shape[-1]), padded, features.device)
        boxes = self._select(logits, logits, deltas, anchors, sizes)
        return Proposed(boxes, logits, deltas, anchors)

    def losses(self, proposed: Proposed, targets: list[dict[str, Tensor]]) -> dict[str, MeanLoss]:
        """Sample anchors of every picture and compare what the head says with the annotations.

        Args:
            proposed: From :meth:`forward`.
            targets: ``boxes`` (N, 4) of each picture, in its resized pixels; N may be 0. Anchors
                near ``ignored`` (M, 4), where there is one, are not background. ``seed``,
                a whole number, fixes which anchors are drawn, whatever else is in the batch;
                without it they come from torch's global generator.

        Returns:
            ``rpn_score``, the binary cross-entropy of person and background, and ``rpn_box``, the
            smooth L1 loss of the positive anchors; both divided by the number of sampled anchors.
        """
        picked = [self._pick(proposed.anchors, target) for target in targets]
        rows, is_person, wanted = (list(column) for column in zip(*picked, strict=True))
        logits = [row[r] for row, r in zip(proposed.logits, rows, strict=True)]
        # People come first among the sampled.
        deltas = [row[r[: len(w)]] for row, r, w in zip(proposed.deltas, rows, wanted, strict=True)]
        n_anchors = sum(map(len, rows))
        score = objectness_loss(torch.cat(logits), torch.cat(is_person))
        box = box_loss(torch.cat(deltas), torch.cat(wanted), n_anchors, beta=BOX_BETA)
        count = torch.tensor(n_anchors, device=proposed.logits.device)
        return {"rpn_score": MeanLoss(score, count), "rpn_box": MeanLoss(box, count)}

    @torch.no_grad()
    def _pick(self, anchors: Tensor, target: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Draw rows of the anchors to train on; which are people; the true deltas of those."""
        people = target["boxes"]
        found = match(
            anchors,
            people,
            foreground_iou=self.rules.foreground_iou,
            background_iou=self.rules.background_iou,
            best_of_each=True,
            ignored=target.get("ignored"),
        )
        rows = sample(
            found.label,
            self.rules.anchors_per_image,
            self.rules.positive_fraction,
            seeded(target.get("seed"), ANCHORS),
        )
        is_person = found.label[rows] == PERSON
        positive = rows[is_person]
        deltas = encode(people[found.person[positive]], anchors[positive], BOX_WEIGHTS)
        return rows, is_person, deltas

    def _place(
        self, grid: tuple[int, int], padded: tuple[int, int], device: torch.device
    ) -> Float[Tensor, "R 4"]:
        """Repeat the anchors of one position over the map, in whole pixels."""
        # The generator keeps the type that it was last given: float32 also where the network runs
        # in half precision, whose whole numbers end at 2048.
        self.anchors.set_cell_anchors(torch.float32, device)
        strides = [
            torch.tensor(pixels // n, device=device) for pixels, n in zip(padded, grid, strict=True)
        ]
        anchors: Tensor = self.anchors.grid_anchors([[*grid]], [strides])[0]
        return anchors

    @torch.no_grad()
    def _select(
        self,
        ranks: Tensor,
        logits: Tensor,
        deltas: Tensor,
        anchors: Tensor,
        sizes: list[tuple[int, int]],
    ) -> list[Tensor]:
        """Decode the anchors of highest rank in each picture and keep the best boxes that differ.

        All is done for the whole batch but the suppression: one call for several pictures compares
        boxes of different pictures, too, or moves them apart and so rounds their overlaps.
        """
        mode = 0 if self.training else 1
        best, rows = ranks.topk(min(self.rules.before_nms[mode], ranks.shape[1]), dim=1)
        chosen = deltas.take_along_dim(rows[..., None], dim=1)
        decoded = decode(chosen.flatten(0, 1), anchors[rows.flatten()], BOX_WEIGHTS)
        boxes = _clipped(decoded.view_as(chosen), sizes)
        good = ((boxes[..., 2:] - boxes[..., :2]) >= MIN_SIDE_PX).all(dim=2) & ~best.isnan()
        nms_iou = self.rules.nms_iou
        if not self.training:
            nms_iou = self.test_nms_iou
            good &= logits.take_along_dim(rows, dim=1) >= _logit(self.min_score)
        after = self.rules.after_nms[mode]
        return [
            _distinct(some[kept], rank[kept], nms_iou)[:after]
            for some, rank, kept in zip(boxes, best, good, strict=True)
        ]


def objectness_loss(
    logits: Float[Tensor, " N"], is_person: Bool[Tensor, " N"]
) -> Float[Tensor, ""]:
    """Binary cross-entropy, mean over the sampled anchors.

    Returns:
        At least 0; 0 with a zero gradient without anchors.

    Example:
        >>> objectness_loss(torch.zeros(3), torch.tensor([True, False, True])).item()
        0.6931471824645996
    """
    total = binary_cross_entropy_with_logits(logits, is_person.to(logits), reduction="sum")
    return total / max(len(logits), 1)


def build_rpn(
    channels: int,
    rules: ProposalRules,
    *,
    anchor_sizes: tuple[int, ...],
    anchor_ratios: tuple[float, ...],
) -> ProposalNetwork:
    """Build the proposal network for a single feature level.

    Args:
        channels: Of the trunk.
        rules: Sampling and selection.
        anchor_sizes: Square roots of anchor areas, pixels.
        anchor_ratios: Height over width.
    """
    anchors = AnchorGenerator((anchor_sizes,), (anchor_ratios,))
    (n_anchors,) = anchors.num_anchors_per_location()
    return ProposalNetwork(ProposalHead(channels, n_anchors), anchors, rules)


def _distinct(boxes: Tensor, ranks: Tensor, nms_iou: float) -> Tensor:
    """Suppress overlaps; best first."""
    return boxes[nms(boxes, ranks, nms_iou)]


def _clipped(boxes: Float[Tensor, "B N 4"], sizes: list[tuple[int, int]]) -> Float[Tensor, "B N 4"]:
    """Clip the boxes of every picture to its height and width."""
    limits = boxes.new_tensor([[width, height, width, height] for height, width in sizes])
    return torch.minimum(boxes.clamp(min=0), limits[:, None])


def _logit(score: float) -> float:
    """Return what the sigmoid turns into a score in [0, 1)."""
    return math.log(score / (1 - score)) if score > 0 else -math.inf
