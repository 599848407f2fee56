"""Region heads: from proposals to losses, to detections, or to the embeddings of given boxes.

Axes: B pictures, C channels, H and W size of the feature map, R regions, P of which show a person,
D embedding dimension.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image, nms

from fdps.losses import BACKGROUND_ID, Criterion
from fdps.losses.detection import box_loss
from fdps.losses.distillation import has_target
from fdps.models.box_coder import decode, encode
from fdps.models.heads import HeadOutputs, TaskHeads
from fdps.models.outputs import DetectedTensors, MeanLoss, RegionOutputs
from fdps.models.sampling import PERSON, REGIONS, match, sample, seeded

TEACHER_LOSSES = ("teacher_direction", "teacher_similarity")
BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # scales of dx, dy, dw, dh, as in all of the family
MIN_SIDE_PX = 1.0


class RegionInputs(NamedTuple):
    """What region heads learn from: a training batch on its way from the proposal network."""

    features: Float[Tensor, "B C H W"]
    """Of the trunk."""
    proposals: list[Tensor]
    """Of each picture, in pixels of the resized picture."""
    targets: list[dict[str, Tensor]]
    """What each picture shows, as :func:`pick` takes it."""
    sizes: list[tuple[int, int]]
    """Height and width of each resized picture."""


class Picked(NamedTuple):
    """The sampled regions of all pictures, R of them, P of which show a person."""

    regions: list[Float[Tensor, "_ 4"]]
    """Of each picture, in pixels of the resized picture."""
    is_person: Bool[Tensor, " R"]
    boxes: Float[Tensor, "P 4"]
    """Annotated box of each person."""
    person_ids: Int64[Tensor, " P"]
    """Identity of each person, or -1."""
    people: Int64[Tensor, " P"]
    """Which of all annotated people of the batch each one is."""

    def overlaps(self) -> Float[Tensor, " P"]:
        """Return the intersection over union of each person's region and box."""
        regions = torch.cat(self.regions)[self.is_person]
        smaller = torch.minimum(regions[:, 2:], self.boxes[:, 2:])
        shared = (smaller - torch.maximum(regions[:, :2], self.boxes[:, :2])).clamp(min=0).prod(1)
        areas = [(b[:, 2:] - b[:, :2]).prod(dim=1) for b in (regions, self.boxes)]
        return shared / (areas[0] + areas[1] - shared)

    def of_all(self, values: Shaped[Tensor, " P"], nobody: int) -> Shaped[Tensor, " R"]:
        """Spread what is known of the people over all regions.

        Args:
            values: Of each person.
            nobody: Of the regions that show nobody.
        """
        spread = torch.full_like(self.is_person, nobody, dtype=values.dtype)
        return spread.masked_scatter(self.is_person, values)

    def box_loss(self, deltas: Float[Tensor, "R 4"]) -> Float[Tensor, ""]:
        """Compare predicted deltas with those that lead to the annotated boxes."""
        wanted = encode(self.boxes, torch.cat(self.regions)[self.is_person], BOX_WEIGHTS)
        return box_loss(deltas[self.is_person], wanted, len(self.is_person))

    def n_regions(self) -> Int64[Tensor, ""]:
        """Count the regions."""
        return torch.tensor(len(self.is_person), device=self.is_person.device)


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


class RegionHeads(nn.Module, ABC):
    """From proposals to losses, detections and embeddings; in one stage or in several.

    Attributes:
        LOSSES: Names of the losses.
        heads: The heads that embed.
        min_score: Detections below are dropped; may be changed.
    """

    LOSSES: tuple[str, ...] = ("person", "box", "reid")
    heads: TaskHeads
    min_score: float

    @property
    @abstractmethod
    def region_heads(self) -> list[nn.Module]:
        """The halves of the backbone that run on regions, for who compiles them."""

    @abstractmethod
    def losses(self, batch: RegionInputs, criterion: Criterion) -> RegionOutputs:
        """Sample regions and compare what the heads say about them with the annotations.

        Args:
            batch: Features and proposals of the pictures, and what they show.
            criterion: The re-ID loss.
        """

    @abstractmethod
    def count(self, batch: RegionInputs, criterion: Criterion) -> dict[str, Int64[Tensor, ""]]:
        """Count the samples of every loss of :meth:`losses`, at as little cost as possible."""

    @abstractmethod
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

    @abstractmethod
    def embed(
        self, features: Float[Tensor, "B C H W"], boxes: list[Tensor]
    ) -> list[Float[Tensor, "_ D"]]:
        """Embed given boxes of every picture."""


class RoIHeads(RegionHeads):
    """One stage of region heads.

    Args:
        pool: Feature map and boxes to region maps.
        region_head: Region map to region map of half the size (res5).
        heads: Region map to deltas, logits and embeddings.
        rules: Sampling and selection.
        stream: Of the random numbers that sample regions.

    Attributes:
        min_score: Detections below are dropped; starts as the rule and may be changed.
    """

    def __init__(
        self,
        pool: nn.Module,
        region_head: nn.Module,
        heads: TaskHeads,
        rules: RegionRules,
        *,
        stream: int = REGIONS,
    ) -> None:
        super().__init__()
        self.pool, self.region_head, self.heads, self.rules = pool, region_head, heads, rules
        self.stream, self.min_score = stream, rules.score_threshold

    @property
    def region_heads(self) -> list[nn.Module]:
        """The halves of the backbone that run on regions, for who compiles them."""
        return [self.region_head]

    def losses(self, batch: RegionInputs, criterion: Criterion) -> RegionOutputs:
        """Sample regions and compare what the heads say about them with the annotations.

        Args:
            batch: Features and proposals of the pictures, and what they show.
            criterion: The re-ID loss.
        """
        picked = pick(batch.proposals, batch.targets, self.rules, self.stream)
        ids, overlaps, people = picked.person_ids, picked.overlaps(), picked.people
        embedded: Tensor | None = picked.is_person
        everybody = picked.of_all(ids, BACKGROUND_ID)
        if criterion.sees_background:
            ids, overlaps = everybody, picked.of_all(overlaps, 0)
            people, embedded = picked.of_all(people, -1), None
        out = self.look(batch.features, picked.regions, embedded, everybody)
        terms = criterion.terms(out.embeddings, ids, overlaps)
        values = {
            "person": self.heads.person.loss(out.logits, self.shown(out, picked, batch.targets)),
            "box": picked.box_loss(out.deltas),
            "reid": terms.loss,
        }
        if criterion.teacher is not None:
            shown = shown_teacher(batch.targets, people, criterion.teacher.teacher_dim)
            taught = criterion.teacher.terms(out.embeddings, shown)
            values |= zip(TEACHER_LOSSES, taught, strict=True)
        counts = self._counts(picked, batch.targets, criterion)
        return RegionOutputs(
            losses={name: MeanLoss(values[name], n) for name, n in counts.items()},
            reid_terms={name: value.detach() for name, value in terms._asdict().items()},
            embeddings=out.embeddings,
            person_ids=ids,
            overlaps=overlaps,
            people=people,
        )

    def count(self, batch: RegionInputs, criterion: Criterion) -> dict[str, Int64[Tensor, ""]]:
        """Count the samples of every loss of :meth:`losses`, without running the heads."""
        picked = pick(batch.proposals, batch.targets, self.rules, self.stream)
        return self._counts(picked, batch.targets, criterion)

    def detect(
        self,
        features: Float[Tensor, "B C H W"],
        proposals: list[Tensor],
        sizes: list[tuple[int, int]],
        scores: list[Tensor] | None = None,
    ) -> list[DetectedTensors]:
        """Find and embed the people of every picture, best first.

        Args:
            features: Of the trunk.
            proposals: Of each picture.
            sizes: Height and width of each resized picture.
            scores: Of each proposal, in [0, 1], where somebody else has scored them.
        """
        counts = [len(regions) for regions in proposals]
        aligned = self.pool(features, proposals)
        maps = self.region_head(aligned)
        out = self.find(aligned, maps)
        boxes = decode(out.deltas, torch.cat(proposals), BOX_WEIGHTS)
        if scores is None:
            scores = self.scores(out, counts)
        kept = [
            select(*picture, self.rules, self.min_score)
            for picture in zip(torch.split(boxes, counts), scores, sizes, strict=True)
        ]
        if self.rules.embedded_box == "detection":
            embeddings = self.embed(features, [boxes for boxes, _, _ in kept])
        else:
            firsts = accumulate(counts, initial=0)
            rows = torch.cat([r + first for (_, _, r), first in zip(kept, firsts, strict=False)])
            regions = [r[picked] for r, (_, _, picked) in zip(proposals, kept, strict=True)]
            embeddings = self.embed_maps(features, regions, aligned[rows], maps[rows])
        return [
            {"boxes": boxes, "scores": scores, "embeddings": embedded}
            for (boxes, scores, _), embedded in zip(kept, embeddings, strict=True)
        ]

    def look(
        self,
        features: Float[Tensor, "B C H W"],
        regions: list[Tensor],
        embedded: Bool[Tensor, " R"] | None = None,
        person_ids: Int64[Tensor, " R"] | None = None,
    ) -> HeadOutputs:
        """Predict boxes and classes of all regions, and embed some of them.

        Args:
            features: Of the trunk.
            regions: Of each picture, in pixels of the resized picture.
            embedded: Which of all regions to embed; ``None`` embeds all.
            person_ids: Whom each region shows; only training knows.
        """
        aligned = self.pool(features, regions)
        out: HeadOutputs = self.heads(aligned, self.region_head(aligned), embedded, person_ids)
        return out

    def embed(
        self, features: Float[Tensor, "B C H W"], boxes: list[Tensor]
    ) -> list[Float[Tensor, "_ D"]]:
        """Embed given boxes of every picture."""
        aligned = self.pool(features, boxes)
        return self.embed_maps(features, boxes, aligned, self.region_head(aligned))

    def find(
        self, aligned: Float[Tensor, "R B P Q"], maps: Float[Tensor, "R C _ _"]
    ) -> HeadOutputs:
        """Predict boxes and classes of regions, and embed none of them.

        Args:
            aligned: Region maps before the region head.
            maps: Region maps after it.
        """
        nobody = torch.zeros(len(maps), dtype=torch.bool, device=maps.device)
        out: HeadOutputs = self.heads(aligned, maps, nobody)
        return out

    def embed_maps(
        self,
        features: Float[Tensor, "B C H W"],
        regions: list[Tensor],
        aligned: Float[Tensor, "R _ _ _"],
        maps: Float[Tensor, "R _ _ _"],
    ) -> list[Float[Tensor, "_ D"]]:
        """Embed regions of which there are maps already.

        Args:
            features: Of the trunk, for who looks at more than the regions.
            regions: Of each picture, R in all.
            aligned: Region maps before the region head.
            maps: Region maps after it.
        """
        embeddings = self.heads.embed(aligned, maps)
        return [*torch.split(embeddings, [len(some) for some in regions])]

    def shown(self, out: HeadOutputs, picked: Picked, targets: list[dict[str, Tensor]]) -> Tensor:
        """Say what the logits of the sampled regions should say: whether they show a person."""
        return picked.is_person

    def scores(self, out: HeadOutputs, counts: list[int]) -> list[Float[Tensor, " _"]]:
        """Turn logits into the scores of each picture's regions, in [0, 1].

        Args:
            out: Of the regions of all pictures.
            counts: Of each picture's regions.
        """
        return [*torch.split(out.logits.softmax(dim=1)[:, PERSON], counts)]

    def _counts(
        self, picked: Picked, targets: list[dict[str, Tensor]], criterion: Criterion
    ) -> dict[str, Int64[Tensor, ""]]:
        n_regions = picked.n_regions()
        n_reid = criterion.n_samples(picked.person_ids)
        counts = {"person": n_regions, "box": n_regions, "reid": n_reid}
        if criterion.teacher is not None:
            shown = shown_teacher(targets, picked.people, criterion.teacher.teacher_dim)
            counts |= dict.fromkeys(TEACHER_LOSSES, has_target(shown).sum())
        return counts


@torch.no_grad()
def pick(
    proposals: list[Tensor],
    targets: list[dict[str, Tensor]],
    rules: RegionRules,
    stream: int = REGIONS,
) -> Picked:
    """Sample regions of every picture to train on.

    Args:
        proposals: Of each picture, in pixels of the resized picture.
        targets: ``boxes`` and ``person_ids`` of each picture, likewise resized; with a ``seed``
            the sample of a picture follows from it and the stream alone. Regions near ``ignored``
            boxes, where there are any, are not background.
        rules: Of the sampling.
        stream: Of the random numbers.
    """
    sampled = [_pick(*picture, rules, stream) for picture in zip(proposals, targets, strict=True)]
    regions, is_person, boxes, ids, who = (list(column) for column in zip(*sampled, strict=True))
    first = accumulate((len(target["boxes"]) for target in targets), initial=0)
    people = [rows + n for rows, n in zip(who, first, strict=False)]
    return Picked(
        regions, torch.cat(is_person), torch.cat(boxes), torch.cat(ids), torch.cat(people)
    )


def teacher_rows(targets: list[dict[str, Tensor]], dim: int) -> Float[Tensor, "N {dim}"]:
    """Return the teacher's embeddings of all annotated people; NaN where it was not asked.

    Args:
        targets: ``boxes`` of each picture, at least one, and ``teacher`` where it has them.
        dim: Length of the teacher's embeddings.
    """
    return torch.cat(
        [
            target.get("teacher", target["boxes"].new_full((len(target["boxes"]), dim), torch.nan))
            for target in targets
        ]
    )


def shown_teacher(
    targets: list[dict[str, Tensor]], people: Int64[Tensor, " N"], dim: int
) -> Float[Tensor, "N {dim}"]:
    """Return the teacher's embedding of the person whom each region shows; NaN for nobody.

    Args:
        targets: As for :func:`teacher_rows`.
        people: Which of all annotated people each region shows, -1 for nobody.
        dim: Length of the teacher's embeddings.
    """
    rows = teacher_rows(targets, dim)
    nobody = rows.new_full((1, dim), torch.nan)
    return torch.cat([rows, nobody])[people]  # the last row is that of -1


def select(
    boxes: Float[Tensor, "R 4"],
    scores: Float[Tensor, " R"],
    size: tuple[int, int],
    rules: RegionRules,
    min_score: float,
) -> tuple[Float[Tensor, "N 4"], Float[Tensor, " N"], Int64[Tensor, " N"]]:
    """Clip the boxes of a picture, drop weak and tiny ones, and suppress overlaps.

    Returns:
        Boxes and scores of those that are left, best first, and their rows.
    """
    boxes = clip_boxes_to_image(boxes, size)
    sides = boxes[:, 2:] - boxes[:, :2]
    good = (scores >= min_score) & (sides >= MIN_SIDE_PX).all(dim=1)
    rows = good.nonzero().squeeze(1)
    kept = nms(boxes[rows], scores[rows], rules.nms_iou)
    rows = rows[kept[: rules.max_detections]]
    return boxes[rows], scores[rows], rows


def _pick(
    proposals: Tensor, target: dict[str, Tensor], rules: RegionRules, stream: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Draw regions to train on; which are people, their true boxes, identities and rows."""
    people = target["boxes"]
    regions = torch.cat([proposals, people])  # annotations are the best proposals
    found = match(
        regions,
        people,
        foreground_iou=rules.foreground_iou,
        background_iou=rules.background_iou,
        ignored=target.get("ignored"),
    )
    rows = sample(
        found.label,
        rules.regions_per_image,
        rules.positive_fraction,
        seeded(target.get("seed"), stream),
    )
    is_person = found.label[rows] == PERSON
    who = found.person[rows][is_person]
    return regions[rows], is_person, people[who], target["person_ids"][who], who
