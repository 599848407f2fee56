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
from torchvision.ops import clip_boxes_to_image

from fdps.models.backbone import Trunk
from fdps.models.norms import RowSums, statistics_kept
from fdps.models.roi_heads import DetectedTensors, RoIHeads, count_samples
from fdps.models.rpn import ProposalNetwork
from fdps.models.transform import PictureTransform, Size

Pictures = list[Float[Tensor, "3 _ _"]]
"""RGB in [0, 1], each of its own size."""


class TrainingOutputs(NamedTuple):
    """What one batch teaches."""

    losses: dict[str, Tensor]
    """Unweighted means: ``rpn_score``, ``rpn_box``, ``person``, ``box``, ``reid``."""
    counts: dict[str, Int64[Tensor, ""]]
    """Of each loss: the samples that it is a mean over, its weight beside other batches."""
    reid_terms: dict[str, Tensor]
    """The terms of the re-ID loss, for the log."""
    embeddings: Float[Tensor, "N D"]
    """Of the sampled people, for :meth:`PersonSearchNet.update`; no gradient."""
    person_ids: Int64[Tensor, " N"]
    """Their identities, or -1."""
    norm_sums: dict[str, RowSums]
    """Of each norm with running statistics, for :meth:`PersonSearchNet.update`."""


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
        transform: PictureTransform,
        backbone: Trunk,
        rpn: ProposalNetwork,
        roi_heads: RoIHeads,
    ) -> None:
        super().__init__()
        self.transform, self.backbone, self.rpn, self.roi_heads = (
            transform,
            backbone,
            rpn,
            roi_heads,
        )

    def forward(
        self, images: Pictures, targets: list[dict[str, Tensor]], size: Size | None = None
    ) -> TrainingOutputs:
        """Losses of a training batch. The memory stays as it is until :meth:`update`.

        Args:
            images: Pictures; without any, every loss is 0.
            targets: ``boxes`` (N, 4) and ``person_ids`` (N,) of each picture; N may be 0. Where
                there is a ``seed``, all that is drawn at random for a picture follows from it.
            size: Pad to this at least: that of the whole batch, of which this one is a part.
        """
        if not images:
            return self._nothing()
        batch, resized = self.transform(images, targets, size)
        features = self.backbone(batch.tensors)
        proposed = self.rpn(features, batch.image_sizes, batch.tensors.shape[-2:])
        rpn = self.rpn.losses(proposed, resized)
        regions = self.roi_heads.losses(features, self.roi_heads.pick(proposed.boxes, resized))
        return TrainingOutputs(
            {"rpn_score": rpn.score, "rpn_box": rpn.box, **regions.losses},
            {"rpn_score": rpn.n_anchors, "rpn_box": rpn.n_anchors, **regions.counts},
            regions.reid_terms,
            regions.embeddings,
            regions.person_ids,
            regions.norm_sums,
        )

    @torch.no_grad()
    def count(
        self, images: Pictures, targets: list[dict[str, Tensor]], size: Size | None = None
    ) -> dict[str, Int64[Tensor, ""]]:
        """The ``counts`` of :meth:`forward` alone, which seeds in the targets make repeatable.

        A loss that comes in parts needs its whole count before its first part. This takes the
        trunk and the proposals, not the region heads, and changes no statistics.
        """
        if not images:
            return self._nothing().counts
        with statistics_kept(self.backbone):
            batch, resized = self.transform(images, targets, size)
            features = self.backbone(batch.tensors)
        proposed = self.rpn(features, batch.image_sizes, batch.tensors.shape[-2:])
        n_anchors = self.rpn.losses(proposed, resized).n_anchors
        picked = self.roi_heads.pick(proposed.boxes, resized)
        return {"rpn_score": n_anchors, "rpn_box": n_anchors, **count_samples(picked)}

    def update(
        self,
        embeddings: Float[Tensor, "N D"],
        person_ids: Int64[Tensor, " N"],
        norm_sums: dict[str, RowSums],
    ) -> None:
        """Remember a whole batch, once per step: people, and statistics that move by the step.

        Args:
            embeddings: Of the people of all parts of the batch, in its order.
            person_ids: Likewise.
            norm_sums: Added up over all parts of the batch.
        """
        self.roi_heads.update(embeddings, person_ids, norm_sums)

    @torch.inference_mode()
    def detect(self, images: Pictures) -> list[DetectedTensors]:
        """Find and embed everybody; boxes in pixels of the given pictures, best first.

        Pictures that are padded to one size in any case (the next multiples of 32) give together
        what they give alone. In a larger batch a smaller picture sees more padding, which norms
        turn into features: its detections move a little.
        """
        batch, _ = self.transform(images, None)
        features = self.backbone(batch.tensors)
        proposed = self.rpn(features, batch.image_sizes, batch.tensors.shape[-2:])
        found = self.roi_heads.detect(features, proposed.boxes, batch.image_sizes)
        given = [(image.shape[-2], image.shape[-1]) for image in images]
        restored: list[DetectedTensors] = self.transform.restore(found, batch.image_sizes, given)
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

    def _nothing(self) -> TrainingOutputs:
        """What a batch without pictures teaches."""
        regions = self.roi_heads.nothing()
        zero = torch.zeros_like(regions.losses["reid"])
        none = torch.zeros_like(regions.counts["reid"])
        return TrainingOutputs(
            {"rpn_score": zero, "rpn_box": zero, **regions.losses},
            {"rpn_score": none, "rpn_box": none, **regions.counts},
            *regions[2:],
        )
