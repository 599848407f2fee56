"""The region proposal network: torchvision's, with the numbers of the C4 family.

Axes: B pictures, C channels, H and W size of the map, A anchors per position.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.rpn import RegionProposalNetwork

FOREGROUND_IOU, BACKGROUND_IOU = 0.7, 0.3
ANCHORS_PER_PICTURE, POSITIVE_FRACTION = 256, 0.5
NMS_IOU = 0.7


class ProposalHead(nn.Module):
    """Score and box deltas of every anchor.

    Written out because the outputs must be float32: torchvision decodes boxes in the dtype it is
    given, and bf16 boxes are off by several pixels.

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
        self, levels: list[Float[Tensor, "B C H W"]]
    ) -> tuple[list[Float[Tensor, "B A H W"]], list[Float[Tensor, "B A4 H W"]]]:
        """Predict per level, as :class:`RegionProposalNetwork` asks for it."""
        hidden = [self.conv(features).relu() for features in levels]
        return (
            [self.cls_logits(h).float() for h in hidden],
            [self.bbox_pred(h).float() for h in hidden],
        )


def build_rpn(
    channels: int,
    *,
    anchor_sizes: tuple[int, ...],
    anchor_ratios: tuple[float, ...],
    before_nms: tuple[int, int],
    after_nms: tuple[int, int],
) -> RegionProposalNetwork:
    """Build the proposal network for a single feature level.

    Args:
        channels: Of the trunk.
        anchor_sizes: Square roots of anchor areas, pixels.
        anchor_ratios: Height over width.
        before_nms: Proposals kept before suppression, (training, test).
        after_nms: Proposals kept after suppression, (training, test).
    """
    head = ProposalHead(channels, len(anchor_sizes) * len(anchor_ratios))
    return RegionProposalNetwork(
        AnchorGenerator((anchor_sizes,), (anchor_ratios,)),
        head,
        FOREGROUND_IOU,
        BACKGROUND_IOU,
        ANCHORS_PER_PICTURE,
        POSITIVE_FRACTION,
        {"training": before_nms[0], "testing": before_nms[1]},
        {"training": after_nms[0], "testing": after_nms[1]},
        NMS_IOU,
    )
