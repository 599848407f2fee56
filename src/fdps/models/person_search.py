"""The person-search network. Read this file first.

A picture goes through five parts: ``transform`` (resize, normalise, batch) → ``backbone`` (feature
map of stride 16) → ``rpn`` (proposals) → ``roi_heads`` (boxes, scores, embeddings) → back to the
pixels of the given picture. Training, detecting and embedding a query are three short paths.

Axes: H and W of a picture, N boxes, D embedding dimension.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import clip_boxes_to_image

from fdps.models.backbone import Trunk
from fdps.models.roi_heads import Found, RoIHeads

Pictures = list[Float[Tensor, "3 _ _"]]
"""RGB in [0, 1], each of its own size."""


class TrainingOutputs(NamedTuple):
    """What one batch teaches."""

    losses: dict[str, Tensor]
    """Unweighted: ``rpn_score``, ``rpn_box``, ``person``, ``box``, ``reid``."""
    reid_terms: dict[str, Tensor]
    """The terms of the re-ID loss, for the log."""
    embeddings: Float[Tensor, "N D"]
    """Of the sampled people, for the memory of the re-ID loss; no gradient."""
    person_ids: Int64[Tensor, " N"]
    """Their identities, or -1."""


class PersonSearchNet(nn.Module):
    """Faster R-CNN that embeds the people it finds.

    Args:
        transform: Resizes and normalises pictures, and maps boxes back.
        backbone: Picture to feature map.
        rpn: Feature map to proposals.
        roi_heads: Feature map and proposals to losses, detections or embeddings.
    """

    def __init__(
        self,
        transform: GeneralizedRCNNTransform,
        backbone: Trunk,
        rpn: RegionProposalNetwork,
        roi_heads: RoIHeads,
    ) -> None:
        super().__init__()
        self.transform, self.backbone, self.rpn, self.roi_heads = (
            transform,
            backbone,
            rpn,
            roi_heads,
        )

    def forward(self, images: Pictures, targets: list[dict[str, Tensor]]) -> TrainingOutputs:
        """Losses of a training batch.

        Args:
            images: Pictures.
            targets: ``boxes`` (N, 4) and ``person_ids`` (N,) of each picture; N may be 0.
        """
        batch, resized = self.transform(images, targets)
        features = self.backbone(batch.tensors)
        proposals, rpn_losses = self.rpn(batch, {"stride 16": features}, resized)
        regions = self.roi_heads.losses(features, proposals, resized)
        losses = {
            "rpn_score": rpn_losses["loss_objectness"],
            "rpn_box": rpn_losses["loss_rpn_box_reg"],
            **regions.losses,
        }
        return TrainingOutputs(losses, regions.reid_terms, regions.embeddings, regions.person_ids)

    @torch.inference_mode()
    def detect(self, images: Pictures) -> list[Found]:
        """Find and embed everybody; boxes in pixels of the given pictures, best first.

        Pictures that are padded to one size in any case (the next multiples of 32) give together
        what they give alone. In a larger batch a smaller picture sees more padding, which norms
        turn into features: its detections move a little.
        """
        batch, _ = self.transform(images, None)
        features = self.backbone(batch.tensors)
        proposals, _ = self.rpn(batch, {"stride 16": features}, None)
        found = self.roi_heads.detect(features, proposals, batch.image_sizes)
        given = [(image.shape[-2], image.shape[-1]) for image in images]
        restored: list[Found] = self.transform.postprocess(found, batch.image_sizes, given)
        for people, size in zip(restored, given, strict=True):
            # On the way back, rounding takes boxes at the border a hair beyond it.
            people["boxes"] = clip_boxes_to_image(people["boxes"], size)
        return restored

    @torch.inference_mode()
    def embed(
        self, images: Pictures, boxes: list[Float[Tensor, "_ 4"]]
    ) -> list[Float[Tensor, "_ D"]]:
        """Embed given people; no proposals are made.

        Args:
            images: Pictures.
            boxes: People of each picture, in its pixels; may be empty.
        """
        batch, resized = self.transform(images, [{"boxes": b} for b in boxes])
        features = self.backbone(batch.tensors)
        return self.roi_heads.embed(features, [target["boxes"] for target in resized])
