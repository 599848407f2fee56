"""NAE+: every position of a region is embedded, and the length of its embedding is its attention.

Source: Chen et al., Norm-aware embedding for efficient person search, section 3.4, and the public
code, whose options ``--pixel_wise --embedding_feat_fuse`` these are.

The projections of NAE are applied to positions instead of peaks. The direction of a position says
who is there, and its length whether anybody is. The mean of the directions, weighed by that
attention, embeds a region. What the attention should be follows from the annotated box within the
region, and a region's score is its mean attention as a share of the best in the picture.

The tensors are those of a network that embeds by NAE, under the same names: what was trained as NAE
goes on as NAE+ (``train.start_from``), which is how its authors began.

Axes: R regions, B channels of P rows and Q columns before the region head, C channels of H rows and
W columns after it, D embedding dimension, M pictures.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate, normalize
from torchvision.ops import box_iou

from fdps.config import ModelConfig
from fdps.errors import ConfigError
from fdps.losses import HierarchicalMemory
from fdps.models.backbone import Backbone
from fdps.models.embedding import PeakEmbedding
from fdps.models.heads import HeadOutputs, TaskHeads
from fdps.models.norms import norm_rows
from fdps.models.roi_heads import Picked, RegionRules, RoIHeads
from fdps.models.sampling import BACKGROUND, PERSON
from fdps.models.scores import NormScore
from fdps.models.sub_features import SharedMean
from fdps.models.systems.system import System


class NAEPlus(System):
    """Positions instead of peaks; ``person_score`` has no say, for the attention is the score.

    Args:
        config: Section ``model`` of the recipe.

    Raises:
        ConfigError: An option is not known, or the memory of the loss is to score the boxes.
    """

    sub_features = SharedMean

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        if config.embedding_norm == "prototype":
            raise ConfigError(
                "recipe key model.embedding_norm must not be 'prototype' with system 'nae_plus'",
                hint="positions of one region show different people",
            )
        if config.person_score == "memory":
            raise ConfigError(
                "recipe key model.person_score must not be 'memory' with system 'nae_plus'",
                hint="NAE+ scores a region by the attention of its positions",
            )

    def task_heads(self, backbone: Backbone, memory: HierarchicalMemory | None) -> TaskHeads:
        """Build the heads that embed positions."""
        sub_features = self.task_features(backbone)
        embedding = self.embedding(backbone, sub_features.dims.reid)
        return PixelHeads(sub_features, embedding, PixelScore, box_norm=self.config.box_norm)

    def embedding(self, backbone: Backbone, channels: int) -> PeakEmbedding:
        """Build the projections of positions."""
        return PixelEmbedding(
            self.peaks(backbone, channels), self.config.embedding_dim, is_small=True
        )

    def stage(
        self,
        pool: nn.Module,
        region_head: nn.Module,
        heads: TaskHeads,
        rules: RegionRules,
        stream: int,
    ) -> RoIHeads:
        """Build the stage whose scores are shares of the best."""
        return PixelStage(pool, region_head, heads, rules, stream=stream)


class PixelEmbedding(PeakEmbedding):
    """The layers of :class:`PeakEmbedding`, applied to every position of a map: 1×1 convolutions.

    The norms average over positions and regions.
    """

    def project_maps(self, maps: list[Float[Tensor, "R _ _ _"]]) -> Float[Tensor, "R D H W"]:
        """Embed every position without bringing it to unit length, in float32.

        Args:
            maps: As many as there are ``channels``; all are brought to the size of the last one.
        """
        parts = []
        for given, projection, norm in zip(maps, self.projections, self.norms, strict=True):
            rows = projection(given.flatten(2).transpose(1, 2)).float()
            # By regions: torch sums fifty thousand rows one by one, and loses three digits.
            part = norm_rows(rows.transpose(1, 2), norm)
            part = part.reshape(*part.shape[:2], *given.shape[2:])
            if given.shape[2:] != maps[-1].shape[2:]:
                part = interpolate(part, maps[-1].shape[2:], mode="bilinear", align_corners=False)
            parts.append(part)
        return torch.cat(parts, dim=1)


class PixelScore(NormScore):
    """:class:`NormScore` of positions instead of regions."""

    def loss(
        self, logits: Float[Tensor, "R 2 H W"], is_person: Float[Tensor, "R H W"]
    ) -> Float[Tensor, ""]:
        """Compare the attention with what it should be: binary cross-entropy, mean over positions.

        Args:
            logits: Of background and person at every position.
            is_person: How much of each position lies within an annotated box, in [0, 1].

        Returns:
            At least 0; 0 with a zero gradient without regions.
        """
        certainty = logits[:, PERSON] - logits[:, BACKGROUND]
        total = binary_cross_entropy_with_logits(certainty, is_person.to(logits), reduction="sum")
        return total / max(certainty.numel(), 1)


class PixelHeads(TaskHeads):
    """Heads that embed a region by its positions, as much of each as its attention says.

    Boxes are regressed from the mean of the map, where NAE takes its peak.
    """

    embedding: PixelEmbedding

    def forward(
        self,
        aligned: Float[Tensor, "R B P Q"],
        features: Float[Tensor, "R C H W"],
        embedded: Bool[Tensor, " R"] | None = None,
        person_ids: Int[Tensor, " R"] | None = None,
    ) -> HeadOutputs:
        """Predict boxes of all regions and classes of all positions, and embed some regions.

        Args:
            aligned: Region maps before the region head.
            features: Region maps after it.
            embedded: Which regions to embed; ``None`` embeds all.
            person_ids: Not looked at: positions of one region show different people.

        Returns:
            Logits of every position. In training, embeddings are as long as the attention lets
            them be; only in tests are they brought to unit length, as in the public code.
        """
        taken = self.sub_features(features)
        positions, logits = self._look(aligned, features)
        chosen = slice(None) if embedded is None else embedded
        return HeadOutputs(self.deltas(taken), logits, self._embed(positions, logits)[chosen])

    def embed(
        self, aligned: Float[Tensor, "R B P Q"], features: Float[Tensor, "R C H W"]
    ) -> Float[Tensor, "R D"]:
        """Embed regions without looking at boxes."""
        return self._embed(*self._look(aligned, features))

    def _look(
        self, aligned: Tensor, features: Tensor
    ) -> tuple[Float[Tensor, "R D H W"], Float[Tensor, "R 2 H W"]]:
        """Project every position and say whether a person is there."""
        both = len(self.embedding.projections) == 2
        projected = self.embedding.project_maps([aligned, features] if both else [features])
        R, D, H, W = projected.shape
        rows = projected.permute(0, 2, 3, 1).reshape(-1, D)
        logits = self.person(rows, rows).view(R, H, W, 2).permute(0, 3, 1, 2)
        return projected, logits

    def _embed(self, projected: Tensor, logits: Tensor) -> Float[Tensor, "R D"]:
        attention = logits.softmax(dim=1)[:, PERSON, None]
        mean = (normalize(projected, dim=1) * attention).mean(dim=(2, 3))
        return mean if self.training else normalize(mean, dim=1)


class PixelStage(RoIHeads):
    """A stage that teaches attention where annotated boxes lie, and scores by it."""

    def shown(self, out: HeadOutputs, picked: Picked, targets: list[dict[str, Tensor]]) -> Tensor:
        """Say which positions of the sampled regions lie within the box that is nearest."""
        boxes = [
            nearest(regions, target["boxes"])
            for regions, target in zip(picked.regions, targets, strict=True)
        ]
        H, W = out.logits.shape[-2:]
        return inside(torch.cat(picked.regions), torch.cat(boxes), (H, W))

    def scores(self, out: HeadOutputs, counts: list[int]) -> list[Float[Tensor, " _"]]:
        """Take the mean attention of each region as a share of the largest in its picture."""
        attention = out.logits.softmax(dim=1)[:, PERSON].mean(dim=(1, 2))
        tiny = torch.finfo(attention.dtype).tiny
        return [
            some / some.max().clamp(min=tiny) if len(some) else some
            for some in torch.split(attention, counts)
        ]


def nearest(regions: Float[Tensor, "R 4"], people: Float[Tensor, "N 4"]) -> Float[Tensor, "R 4"]:
    """Find the annotated box that each region overlaps most; without people, one of no extent."""
    if len(people) == 0:
        return torch.full_like(regions, -torch.inf)
    return people[box_iou(regions, people).argmax(dim=1)]


@torch.no_grad()
def inside(
    regions: Float[Tensor, "R 4"], boxes: Float[Tensor, "R 4"], size: tuple[int, int]
) -> Float[Tensor, "R H W"]:
    """Tell which positions of each region's map lie within its box.

    That of a picture of the region, in whole pixels, in which those within the box are 1, brought
    to the size of the map by bilinear sampling. Neither picture nor sampling needs a loop: both
    are products of one factor per row and one per column, and every position looks at two pixels
    each way.

    Args:
        regions: In pixels.
        boxes: One for each region.
        size: Rows and columns of the map.

    Returns:
        In [0, 1]; 1 everywhere if the region lies within the box, 0 if both are a pixel or more
        apart.
    """
    rows = _inside(regions[:, 1::2], boxes[:, 1::2], size[0])
    columns = _inside(regions[:, ::2], boxes[:, ::2], size[1])
    return rows[:, :, None] * columns[:, None]


def _inside(
    region: Float[Tensor, "R 2"], box: Float[Tensor, "R 2"], n: int
) -> Float[Tensor, "R _"]:
    """Do it along one axis: from begin and end of region and box to ``n`` positions."""
    begin = region[:, :1]
    length = (region[:, 1:] - begin).ceil()
    first = (torch.maximum(box[:, :1], begin) - begin).floor()
    last = (torch.minimum(box[:, 1:], region[:, 1:]) - begin).ceil()  # a border's pixel counts
    at = torch.arange(n, device=region.device) + 0.5
    source = (at * length / n - 0.5).clamp(min=0)
    lower = source.floor()
    upper = torch.minimum(lower + 1, length - 1)
    is_lower, is_upper = ((first <= k) & (k <= last) for k in (lower, upper))
    share = source - lower
    return ((1 - share) * is_lower + share * is_upper) * (length > 0)
