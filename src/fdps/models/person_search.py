"""The person-search network. Read this file first.

A picture goes through five parts: ``transform`` (resize, normalise, batch) → ``backbone`` (feature
map of stride 16) → ``rpn`` (proposals) → ``roi_heads`` (boxes, scores, embeddings) → back to the
pixels of the given picture. Training, detecting and embedding a query are three short paths.

Axes: H and W of a picture, N boxes, D embedding dimension.
"""

from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import clip_boxes_to_image

from fdps.losses import Criterion
from fdps.models.backbone import Trunk
from fdps.models.norms import statistics_kept
from fdps.models.outputs import (
    DetectedTensors,
    EmbeddedPeople,
    MeanLoss,
    RegionOutputs,
    TrainingOutputs,
)
from fdps.models.roi_heads import TEACHER_LOSSES, RegionHeads, RegionInputs
from fdps.models.rpn import ProposalNetwork
from fdps.models.trainable import TrainableNet
from fdps.models.transform import PictureTransform, Size

Pictures = list[Float[Tensor, "3 _ _"]]
"""RGB in [0, 1], each of its own size."""


class PersonSearchNet(TrainableNet):
    """Faster R-CNN that embeds the people it finds.

    Args:
        transform: Resizes and normalises pictures, and maps boxes back.
        backbone: Picture to feature map.
        rpn: Feature map to proposals.
        roi_heads: Feature map and proposals to losses, detections or embeddings.
    """

    FURTHER_LOSSES: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        transform: PictureTransform,
        backbone: Trunk,
        rpn: ProposalNetwork,
        roi_heads: RegionHeads,
    ) -> None:
        super().__init__()
        self.transform, self.backbone = transform, backbone
        self.rpn, self.roi_heads = rpn, roi_heads

    @property
    def region_heads(self) -> list[nn.Module]:
        """The halves of the backbone that run on regions, for who compiles them."""
        return self.roi_heads.region_heads

    def size_of(self, images: Pictures, targets: list[dict[str, Tensor]]) -> Size:
        """Return the height and width to which a batch is padded; it has at least one picture."""
        return self.transform.size_of(images, targets)

    def forward(
        self,
        images: Pictures,
        targets: list[dict[str, Tensor]],
        criterion: Criterion,
        size: Size | None = None,
    ) -> TrainingOutputs:
        """Compute the losses of a training batch.

        Args:
            images: Pictures; without any, every loss is 0.
            targets: ``boxes`` (N, 4) and ``person_ids`` (N,) of each picture; N may be 0. Where
                there is a ``seed``, all that is drawn at random for a picture follows from it.
                There may be ``teacher`` (N, D), the embeddings of a teacher, and ``ignored``
                (M, 4), boxes that are neither people nor background.
            criterion: The re-ID loss. It stays as it is until its ``update``.
            size: Pad to this at least: that of the whole batch, of which this one is a part.
        """
        if not images:
            return self._nothing(criterion)
        batch, resized = self.transform(images, targets, size)
        features = self.features(batch)
        proposed = self.rpn(features, batch.image_sizes, batch.tensors.shape[-2:])
        proposals = self.rpn.losses(proposed, resized)
        inputs = RegionInputs(features, proposed.boxes, resized, batch.image_sizes)
        regions = self.roi_heads.losses(inputs, criterion)
        further = self.further_losses(batch.tensors, resized, regions, criterion)
        return TrainingOutputs(
            losses=proposals | regions.losses | further,
            reid_terms=regions.reid_terms,
            people=regions.remembered(),
        )

    def further_losses(
        self,
        pictures: Float[Tensor, "B 3 H W"],
        targets: list[dict[str, Tensor]],
        regions: RegionOutputs,
        criterion: Criterion,
    ) -> dict[str, MeanLoss]:
        """Compute what a system learns besides; by default nothing.

        A system that learns more names its losses in ``FURTHER_LOSSES`` and overrides this method
        and :meth:`count_further`.

        Args:
            pictures: The resized and normalised batch.
            targets: ``boxes`` and ``person_ids`` of each picture, in its pixels.
            regions: What the region heads made of it.
            criterion: The re-ID loss.
        """
        return {}

    def count_further(
        self, targets: list[dict[str, Tensor]], criterion: Criterion
    ) -> dict[str, Int64[Tensor, ""]]:
        """Count the samples of every loss of :meth:`further_losses`, from the annotations alone."""
        return {}

    @torch.no_grad()
    def count(
        self,
        images: Pictures,
        targets: list[dict[str, Tensor]],
        criterion: Criterion,
        size: Size | None = None,
    ) -> dict[str, Int64[Tensor, ""]]:
        """Count the samples of every loss of :meth:`forward`; seeds in the targets repeat them.

        A loss that comes in parts needs its whole count before its first part. This takes the
        trunk, the proposals and all stages of the region heads but the last, and changes no
        statistics.
        """
        if not images:
            none = torch.zeros((), dtype=torch.int64, device=self._device)
            return dict.fromkeys(self._loss_names(criterion), none)
        with statistics_kept(self):
            batch, resized = self.transform(images, targets, size)
            features = self.features(batch)
            proposed = self.rpn(features, batch.image_sizes, batch.tensors.shape[-2:])
            proposals = self.rpn.losses(proposed, resized)
            inputs = RegionInputs(features, proposed.boxes, resized, batch.image_sizes)
            regions = self.roi_heads.count(inputs, criterion)
        further = self.count_further(resized, criterion)
        return {name: loss.n_samples for name, loss in proposals.items()} | regions | further

    @torch.inference_mode()
    def detect(self, images: Pictures) -> list[DetectedTensors]:
        """Find and embed everybody; boxes in pixels of the given pictures, best first.

        Several pictures give what each of them gives alone, up to rounding: a network sees padding,
        so those that are padded to one size (the next multiples of 32) are looked at together, and
        others after them.
        """
        found: dict[int, DetectedTensors] = {}
        for rows in self.transform.alike(images):
            found |= zip(rows, self._detect([images[row] for row in rows]), strict=True)
        return [found[row] for row in range(len(images))]

    def _detect(self, images: Pictures) -> list[DetectedTensors]:
        """Find and embed everybody in pictures that are padded to one size."""
        batch, _ = self.transform(images, None)
        features = self.features(batch)
        proposed = self.rpn(features, batch.image_sizes, batch.tensors.shape[-2:])
        found = self.roi_heads.detect(features, proposed.boxes, batch.image_sizes)
        given = [(image.shape[-2], image.shape[-1]) for image in images]
        return self.restored(found, batch.image_sizes, given)

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
        features = self.features(batch)
        return self.roi_heads.embed(features, [target["boxes"] for target in resized])

    def features(self, batch: ImageList) -> Float[Tensor, "B C H W"]:
        """Compute the map of every picture of a batch; a system may do so in its own way.

        Args:
            batch: Resized and normalised pictures, padded to one size.
        """
        features: Tensor = self.backbone(batch.tensors)
        return features

    def restored(
        self, found: list[DetectedTensors], sizes: list[Size], given: list[Size]
    ) -> list[DetectedTensors]:
        """Take detections back to the pixels of the given pictures.

        Args:
            found: Of each picture, in pixels of the resized one.
            sizes: Height and width of the resized pictures.
            given: Those of the given pictures.
        """
        restored: list[DetectedTensors] = self.transform.restore(found, sizes, given)
        for people, size in zip(restored, given, strict=True):
            # On the way back, rounding takes boxes at the border a hair beyond it.
            people["boxes"] = clip_boxes_to_image(people["boxes"], size)
        return restored

    def _nothing(self, criterion: Criterion) -> TrainingOutputs:
        """Return what a batch without pictures teaches."""
        embeddings = torch.zeros((0, self.roi_heads.heads.embedding.dim), device=self._device)
        person_ids = torch.zeros(0, dtype=torch.int64, device=self._device)
        nothing = MeanLoss(embeddings.sum(), person_ids.sum())
        return TrainingOutputs(
            losses=dict.fromkeys(self._loss_names(criterion), nothing),
            reid_terms=criterion.terms(embeddings, person_ids)._asdict(),
            people=EmbeddedPeople(embeddings, person_ids, embeddings.sum(dim=1)),
        )

    def _loss_names(self, criterion: Criterion) -> tuple[str, ...]:
        taught = () if criterion.teacher is None else TEACHER_LOSSES
        return (*self.rpn.LOSSES, *self.roi_heads.LOSSES, *self.FURTHER_LOSSES, *taught)

    @property
    def _device(self) -> torch.device:
        return next(self.parameters()).device
