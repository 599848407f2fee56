"""Region heads: from proposals to losses, to detections, or to the embeddings of given boxes.

Axes: B pictures, C channels, H and W size of the feature map, R regions, P of which show a person,
D embedding dimension.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image, nms

from fdps.losses import Criterion
from fdps.losses.detection import box_loss, classification_loss
from fdps.models.box_coder import decode, encode
from fdps.models.heads import TaskHeads
from fdps.models.outputs import DetectedTensors, EmbeddedPeople, MeanLoss, TrainingOutputs
from fdps.models.sampling import PERSON, REGIONS, match, sample, seeded
from fdps.structures import UNLABELLED

BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # scales of dx, dy, dw, dh, as in all of the family
MIN_SIDE_PX = 1.0


class Picked(NamedTuple):
    """The sampled regions of all pictures, R of them, P of which show a person."""

    regions: list[Float[Tensor, "_ 4"]]
    """Of each picture, in pixels of the resized picture."""
    is_person: Bool[Tensor, " R"]
    boxes: Float[Tensor, "P 4"]
    """Annotated box of each person."""
    person_ids: Int64[Tensor, " P"]
    """Identity of each person, or -1."""


@dataclass(frozen=True)
class RegionRules:
    """How regions are sampled for training and selected in tests; fields as in ``ModelConfig``."""

    regions_per_image: int
    positive_fraction: float
    foreground_iou: float
    background_iou: float
    score_threshold: float
    nms_iou: float
    max_detections: int
    embedded_box: str


class RoIHeads(nn.Module):
    """One stage of region heads.

    Args:
        pool: Feature map and boxes to region maps.
        region_head: Region map to region map of half the size (res5).
        heads: Region map to deltas, logits and embeddings.
        rules: Sampling and selection.

    Attributes:
        min_score: Detections below are dropped; starts as the rule and may be changed.
    """

    LOSSES = ("person", "box", "reid")

    def __init__(
        self,
        pool: nn.Module,
        region_head: nn.Module,
        heads: TaskHeads,
        rules: RegionRules,
    ) -> None:
        super().__init__()
        self.pool, self.region_head, self.heads, self.rules = pool, region_head, heads, rules
        self.min_score = rules.score_threshold

    @torch.no_grad()
    def pick(self, proposals: list[Tensor], targets: list[dict[str, Tensor]]) -> Picked:
        """Sample regions of every picture to train on.

        Args:
            proposals: Of each picture, in pixels of the resized picture.
            targets: ``boxes`` and ``person_ids`` of each picture, likewise resized; with a
                ``seed`` the sample of a picture follows from it alone.
        """
        each = [
            self._pick(regions, target) for regions, target in zip(proposals, targets, strict=True)
        ]
        regions, is_person, boxes, ids = (list(column) for column in zip(*each, strict=True))
        return Picked(regions, torch.cat(is_person), torch.cat(boxes), torch.cat(ids))

    def losses(
        self,
        features: Float[Tensor, "B C H W"],
        proposals: list[Tensor],
        targets: list[dict[str, Tensor]],
        criterion: Criterion,
    ) -> TrainingOutputs:
        """Sample regions and compare what the heads say about them with the annotations.

        Args:
            features: Of the trunk.
            proposals: Of each picture, in pixels of the resized picture.
            targets: As :meth:`pick` takes them.
            criterion: The re-ID loss.
        """
        picked = self.pick(proposals, targets)
        aligned = self.pool(features, picked.regions)
        out = self.heads(aligned, self.region_head(aligned), picked.is_person)
        people = torch.cat(picked.regions)[picked.is_person]
        deltas = encode(picked.boxes, people, BOX_WEIGHTS)
        terms = criterion.terms(out.embeddings, picked.person_ids)
        values = {
            "person": classification_loss(out.logits, picked.is_person),
            "box": box_loss(out.deltas[picked.is_person], deltas, len(picked.is_person)),
            "reid": terms.loss,
        }
        return TrainingOutputs(
            losses={name: MeanLoss(values[name], n) for name, n in _counts(picked).items()},
            reid_terms={name: value.detach() for name, value in terms._asdict().items()},
            people=EmbeddedPeople(out.embeddings.detach(), picked.person_ids),
        )

    def count(
        self,
        features: Float[Tensor, "B C H W"],
        proposals: list[Tensor],
        targets: list[dict[str, Tensor]],
    ) -> dict[str, Int64[Tensor, ""]]:
        """Count the samples of every loss of :meth:`losses`, without running the heads."""
        return _counts(self.pick(proposals, targets))

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
        anew = self.rules.embedded_box == "detection"
        aligned = self.pool(features, proposals)
        nobody = torch.zeros(len(aligned), dtype=torch.bool, device=aligned.device)
        out = self.heads(aligned, self.region_head(aligned), nobody if anew else None)
        boxes = decode(out.deltas, torch.cat(proposals), BOX_WEIGHTS)
        scores = out.logits.softmax(dim=1)[:, PERSON]
        counts = [len(regions) for regions in proposals]
        kept = [
            self._select(*picture)
            for picture in zip(
                torch.split(boxes, counts), torch.split(scores, counts), sizes, strict=True
            )
        ]
        if anew:
            embeddings = self.embed(features, [boxes for boxes, _, _ in kept])
        else:
            each = torch.split(out.embeddings, counts)
            embeddings = [e[rows] for e, (_, _, rows) in zip(each, kept, strict=True)]
        return [
            {"boxes": boxes, "scores": scores, "embeddings": embedded}
            for (boxes, scores, _), embedded in zip(kept, embeddings, strict=True)
        ]

    def embed(
        self, features: Float[Tensor, "B C H W"], boxes: list[Tensor]
    ) -> list[Float[Tensor, "_ D"]]:
        """Embed given boxes of every picture."""
        aligned = self.pool(features, boxes)
        embeddings = self.heads.embed(aligned, self.region_head(aligned))
        return list(torch.split(embeddings, [len(b) for b in boxes]))

    def _pick(
        self, proposals: Tensor, target: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Regions to train on, which are people, their true boxes and their identities."""
        people = target["boxes"]
        regions = torch.cat([proposals, people])  # annotations are the best proposals
        found = match(
            regions,
            people,
            foreground_iou=self.rules.foreground_iou,
            background_iou=self.rules.background_iou,
        )
        rows = sample(
            found.label,
            self.rules.regions_per_image,
            self.rules.positive_fraction,
            seeded(target.get("seed"), REGIONS),
        )
        is_person = found.label[rows] == PERSON
        who = found.person[rows][is_person]
        return regions[rows], is_person, people[who], target["person_ids"][who]

    def _select(
        self, boxes: Tensor, scores: Tensor, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Clip, drop weak and tiny boxes, suppress overlaps; boxes, scores and rows of the rest."""
        boxes = clip_boxes_to_image(boxes, size)
        sides = boxes[:, 2:] - boxes[:, :2]
        good = (scores >= self.min_score) & (sides >= MIN_SIDE_PX).all(dim=1)
        rows = good.nonzero().squeeze(1)
        kept = nms(boxes[rows], scores[rows], self.rules.nms_iou)
        rows = rows[kept[: self.rules.max_detections]]
        return boxes[rows], scores[rows], rows


def _counts(picked: Picked) -> dict[str, Int64[Tensor, ""]]:
    """Count what each loss of the regions is a mean over."""
    n_regions = torch.tensor(len(picked.is_person), device=picked.is_person.device)
    n_labelled = (picked.person_ids != UNLABELLED).sum()
    return {"person": n_regions, "box": n_regions, "reid": n_labelled}
