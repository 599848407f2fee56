"""SeqNet: find people first, then embed them where they were found.

Source: Li and Miao, Sequential end-to-end network for efficient person search, section 3.

The heads of a plain Faster R-CNN refine the proposals, and a second stage, with a region head of
its own, refines and embeds what the first one found. In training the second stage samples among
the refined boxes, which overlap the people better than proposals do. In tests the first score is
the score of a detection ("first classification score"), and because refined boxes overlap each
other more, the second suppression is more lenient.

Axes: B pictures, C channels, H and W size of the feature map, R regions, D embedding dimension.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from fdps.losses import Criterion
from fdps.models.box_coder import decode
from fdps.models.heads import BoxHeads, TaskHeads
from fdps.models.outputs import DetectedTensors, MeanLoss, RegionOutputs
from fdps.models.roi_heads import (
    BOX_WEIGHTS,
    Picked,
    RegionHeads,
    RegionInputs,
    RegionRules,
    RoIHeads,
    pick,
    select,
)
from fdps.models.sampling import PERSON


class SequentialHeads(RegionHeads):
    """Two stages of region heads, one after the other.

    Args:
        pool: Feature map and boxes to region maps.
        region_head: Region map to region map of half the size, of the first stage alone.
        first: Finds people in proposals.
        second: Refines and embeds them.
        rules: Sampling and selection of the first stage.
    """

    def __init__(
        self,
        pool: nn.Module,
        region_head: nn.Module,
        first: BoxHeads,
        second: RoIHeads,
        rules: RegionRules,
    ) -> None:
        super().__init__()
        self.pool, self.region_head, self.first, self.second = pool, region_head, first, second
        self.rules, self.LOSSES = rules, ("first_person", "first_box", *second.LOSSES)

    @property
    def heads(self) -> TaskHeads:  # type: ignore[override]
        """The heads that embed."""
        return self.second.heads

    @property
    def region_heads(self) -> list[nn.Module]:
        """The halves of the backbone that run on regions, for who compiles them."""
        return [self.region_head, *self.second.region_heads]

    @property
    def min_score(self) -> float:
        """Detections below are dropped; starts as the rule and may be changed."""
        return self.second.min_score

    @min_score.setter
    def min_score(self, score: float) -> None:
        self.second.min_score = score

    def losses(self, batch: RegionInputs, criterion: Criterion) -> RegionOutputs:
        """Train both stages, the second on what the first one makes of its samples.

        Args:
            batch: Features and proposals of the pictures, and what they show.
            criterion: The re-ID loss.
        """
        picked = pick(batch.proposals, batch.targets, self.rules)
        deltas, logits = self._look(batch.features, picked.regions)
        refined = self._refined(deltas, picked.regions, batch.sizes)
        taught = self.second.losses(batch._replace(proposals=refined), criterion)
        values = (self.first.person.loss(logits, picked.is_person), picked.box_loss(deltas))
        losses = {
            name: MeanLoss(value, picked.n_regions())
            for name, value in zip(self.LOSSES, values, strict=False)
        }
        return taught._replace(losses=losses | taught.losses)

    @torch.no_grad()
    def count(self, batch: RegionInputs, criterion: Criterion) -> dict[str, Int64[Tensor, ""]]:
        """Count the samples of every loss of :meth:`losses`; the first stage has to run for it."""
        picked: Picked = pick(batch.proposals, batch.targets, self.rules)
        deltas, _ = self._look(batch.features, picked.regions)
        refined = self._refined(deltas, picked.regions, batch.sizes)
        counts = dict.fromkeys(("first_person", "first_box"), picked.n_regions())
        return counts | self.second.count(batch._replace(proposals=refined), criterion)

    def detect(
        self,
        features: Float[Tensor, "B C H W"],
        proposals: list[Tensor],
        sizes: list[tuple[int, int]],
    ) -> list[DetectedTensors]:
        """Find and embed the people of every picture, best first.

        Args:
            features: Of the trunk.
            proposals: Of each picture.
            sizes: Height and width of each resized picture.
        """
        deltas, logits = self._look(features, proposals)
        counts = [len(regions) for regions in proposals]
        boxes = torch.split(decode(deltas, torch.cat(proposals), BOX_WEIGHTS), counts)
        scores = torch.split(logits.softmax(dim=1)[:, PERSON], counts)
        kept = [
            select(*picture, self.rules, self.min_score)
            for picture in zip(boxes, scores, sizes, strict=True)
        ]
        found, first_scores = [boxes for boxes, _, _ in kept], [scores for _, scores, _ in kept]
        return self.second.detect(features, found, sizes, first_scores)

    def embed(
        self, features: Float[Tensor, "B C H W"], boxes: list[Tensor]
    ) -> list[Float[Tensor, "_ D"]]:
        """Embed given boxes of every picture."""
        return self.second.embed(features, boxes)

    def _look(
        self, features: Tensor, regions: list[Tensor]
    ) -> tuple[Float[Tensor, "R 4"], Float[Tensor, "R 2"]]:
        """Run the first stage: deltas and logits."""
        taken = self.first.sub_features(self.region_head(self.pool(features, regions)))
        return self.first.deltas(taken), self.first.person(taken.person, None)

    def _refined(
        self, deltas: Tensor, regions: list[Tensor], sizes: list[tuple[int, int]]
    ) -> list[Tensor]:
        """Move regions as the first stage says; the second learns nothing about that."""
        boxes = decode(deltas.detach(), torch.cat(regions), BOX_WEIGHTS)
        parts = torch.split(boxes, [len(some) for some in regions])
        return [clip_boxes_to_image(*picture) for picture in zip(parts, sizes, strict=True)]
