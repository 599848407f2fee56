"""The region proposal network of Faster R-CNN on one map of stride 16.

It proposes what torchvision's does, bit for bit; only where two scores are equal after the sigmoid
the logits decide, not an unstable sort. It is written out because training in several processes or
in parts of a batch must add up to training on the whole batch: here each picture has a seed that
says which anchors it trains on, and losses tell how many anchors they are a mean over.

Axes: B pictures, C channels, H and W size of the map, A anchors per position, R = H·W·A anchors per
picture, N sampled ones.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision.ops import clip_boxes_to_image, nms

from fdps.losses.detection import box_loss
from fdps.models.box_coder import decode, encode
from fdps.models.sampling import ANCHORS, PERSON, match, sample, seeded

FOREGROUND_IOU, BACKGROUND_IOU = 0.7, 0.3
ANCHORS_PER_PICTURE, POSITIVE_FRACTION = 256, 0.5
NMS_IOU = 0.7
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


class ProposalLosses(NamedTuple):
    """Two means over the sampled anchors of a batch.

    The mean over several batches is the mean of their means, each weighted by its ``n_anchors``.
    """

    score: Float[Tensor, ""]
    """Binary cross-entropy of person and background."""
    box: Float[Tensor, ""]
    """Smooth L1 of the positive anchors, divided by the number of all sampled anchors."""
    n_anchors: Int64[Tensor, ""]
    """How many anchors were sampled; without any, both losses are 0 with a zero gradient."""


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
        """Predict logits and deltas in the order of :func:`place_anchors`."""
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
        cell: Anchors of one position (:func:`cell_anchors`).
        before_nms: Most proposals of a picture before suppression, (training, test).
        after_nms: Most proposals of a picture after suppression, (training, test).
    """

    cell: Int64[Tensor, "A 4"]

    def __init__(
        self,
        head: nn.Module,
        cell: Int64[Tensor, "A 4"],
        *,
        before_nms: tuple[int, int],
        after_nms: tuple[int, int],
    ) -> None:
        super().__init__()
        self.head, self.before_nms, self.after_nms = head, before_nms, after_nms
        # Whole numbers stay exact where the network is cast to half precision.
        self.register_buffer("cell", cell, persistent=False)

    def forward(
        self,
        features: Float[Tensor, "B C H W"],
        sizes: list[tuple[int, int]],
        padded: tuple[int, int],
    ) -> Proposed:
        """Propose boxes in pixels of the resized pictures.

        In training mode the training numbers of ``before_nms`` and ``after_nms`` hold.

        Args:
            features: Of the trunk.
            sizes: Height and width of each resized picture.
            padded: Height and width of the batch, which the map covers.
        """
        logits, deltas = self.head(features)
        H, W = features.shape[-2:]
        anchors = place_anchors(self.cell, (H, W), (padded[0] // H, padded[1] // W))
        return Proposed(self._select(logits, deltas, anchors, sizes), logits, deltas, anchors)

    def losses(self, proposed: Proposed, targets: list[dict[str, Tensor]]) -> ProposalLosses:
        """Sample anchors of every picture and compare what the head says with the annotations.

        Args:
            proposed: From :meth:`forward`.
            targets: ``boxes`` (N, 4) of each picture, in its resized pixels; N may be 0. ``seed``,
                a whole number, fixes which anchors are drawn, whatever else is in the batch;
                without it they come from torch's global generator.
        """
        picked = [_pick(proposed.anchors, target) for target in targets]
        rows, is_person, wanted = (list(column) for column in zip(*picked, strict=True))
        logits = [row[r] for row, r in zip(proposed.logits, rows, strict=True)]
        # People come first among the sampled.
        deltas = [row[r[: len(w)]] for row, r, w in zip(proposed.deltas, rows, wanted, strict=True)]
        n_anchors = sum(map(len, rows))
        return ProposalLosses(
            objectness_loss(torch.cat(logits), torch.cat(is_person)),
            box_loss(torch.cat(deltas), torch.cat(wanted), n_anchors, beta=BOX_BETA),
            torch.tensor(n_anchors, device=proposed.logits.device),
        )

    @torch.no_grad()
    def _select(
        self, logits: Tensor, deltas: Tensor, anchors: Tensor, sizes: list[tuple[int, int]]
    ) -> list[Tensor]:
        """Decode the best anchors of each picture and keep the best boxes that differ."""
        mode = 0 if self.training else 1
        best, rows = logits.topk(min(self.before_nms[mode], logits.shape[1]), dim=1)
        chosen = deltas.take_along_dim(rows[..., None], dim=1)
        boxes = decode(chosen.flatten(0, 1), anchors[rows.flatten()], BOX_WEIGHTS)
        return [
            _distinct(*picture)[: self.after_nms[mode]]
            for picture in zip(boxes.view_as(chosen), best, sizes, strict=True)
        ]


def cell_anchors(sizes: tuple[int, ...], ratios: tuple[float, ...]) -> Int64[Tensor, "A 4"]:
    """Anchors around the origin, corners rounded to whole pixels; sizes vary fastest.

    Args:
        sizes: Square roots of areas, pixels.
        ratios: Height over width.

    Example:
        >>> cell_anchors((16, 32), (4.0,)).tolist()
        [[-4, -16, 4, 16], [-8, -32, 8, 32]]
    """
    side = torch.tensor(sizes, dtype=torch.float32)
    root = torch.tensor(ratios, dtype=torch.float32).sqrt()[:, None]
    # 1 / root first, as torchvision does: the rounding of a half hangs on the last bit.
    half = torch.stack([(1 / root) * side, root * side], dim=-1).reshape(-1, 2) / 2
    return torch.cat([-half, half], dim=1).round().long()


def place_anchors(
    cell: Int64[Tensor, "A 4"], grid: tuple[int, int], stride: tuple[int, int]
) -> Float[Tensor, "R 4"]:
    """Repeat the anchors of one position over a map: rows, then columns, then anchors.

    Args:
        cell: Around the origin, where the first position lies.
        grid: Height and width of the map.
        stride: Pixels from one position to the next, downwards and to the right.

    Example:
        >>> place_anchors(torch.tensor([[-1, -2, 1, 2]]), (1, 2), (8, 8)).tolist()
        [[-1.0, -2.0, 1.0, 2.0], [7.0, -2.0, 9.0, 2.0]]
    """
    steps = [
        torch.arange(n, device=cell.device) * step for n, step in zip(grid, stride, strict=True)
    ]
    y, x = torch.meshgrid(*steps, indexing="ij")
    centres = torch.stack([x, y, x, y], dim=-1)
    return (centres[:, :, None] + cell).reshape(-1, 4).float()


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
    *,
    anchor_sizes: tuple[int, ...],
    anchor_ratios: tuple[float, ...],
    before_nms: tuple[int, int],
    after_nms: tuple[int, int],
) -> ProposalNetwork:
    """Build the proposal network for a single feature level.

    Args:
        channels: Of the trunk.
        anchor_sizes: Square roots of anchor areas, pixels.
        anchor_ratios: Height over width.
        before_nms: Proposals kept before suppression, (training, test).
        after_nms: Proposals kept after suppression, (training, test).
    """
    cell = cell_anchors(anchor_sizes, anchor_ratios)
    head = ProposalHead(channels, len(cell))
    return ProposalNetwork(head, cell, before_nms=before_nms, after_nms=after_nms)


@torch.no_grad()
def _pick(anchors: Tensor, target: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of the anchors to train on, which are people, and the true deltas of those."""
    people = target["boxes"]
    found = match(
        anchors,
        people,
        foreground_iou=FOREGROUND_IOU,
        background_iou=BACKGROUND_IOU,
        best_of_each=True,
    )
    generator = seeded(target.get("seed"), ANCHORS)
    rows = sample(found.label, ANCHORS_PER_PICTURE, POSITIVE_FRACTION, generator)
    is_person = found.label[rows] == PERSON
    positive = rows[is_person]
    return rows, is_person, encode(people[found.person[positive]], anchors[positive], BOX_WEIGHTS)


def _distinct(boxes: Tensor, logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Clip to the picture, drop what is empty or not a number, suppress overlaps; best first."""
    boxes = clip_boxes_to_image(boxes, size)
    sides = boxes[:, 2:] - boxes[:, :2]
    good = (sides >= MIN_SIDE_PX).all(dim=1) & ~logits.isnan()
    boxes, logits = boxes[good], logits[good]
    return boxes[nms(boxes, logits, NMS_IOU)]
