r"""APNet, approximately: compare people part by part, and only in the parts that both show.

Source: Zhong et al., *Robust partial matching for person search in the wild*, CVPR 2020, and what
its authors published of it for PRW.

**This is an approximation.** The published aligner learns from full bodies: those of LSPS, which
was never released, or those estimated from key points, which exist for PRW alone. Here it learns
from ordinary boxes. What is cut off an annotated box at random stands for what an occluder or the
border of the picture hides, and the box itself for the full body.

Three things follow the detection of a person:

1. The *aligner* (:class:`BoxAligner`) says how much of the body is missing beyond each side of the
   region, and the region grows by that much.
2. The grown region is divided into P horizontal parts, each with a *visibility*: the share of it
   that lies inside the region that was found (:func:`part_means`). What lies outside counts for
   nothing.
3. The embedding has one vector for the whole region and one per part, scaled by its visibility, so
   that an inner product compares the parts that both people show (:class:`PartEmbedding`).

Axes: B pictures, C channels, H and W size of a map, R regions, N of them embedded, P parts, D
embedding dimension. Missing shares are ``left top right bottom``, of the width and height of the
whole body.
"""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn.functional import normalize

from fdps.config import ModelConfig
from fdps.errors import ConfigError
from fdps.losses import Criterion
from fdps.losses.detection import box_loss
from fdps.models.backbone import Backbone
from fdps.models.decomposition import decompose
from fdps.models.embedding import PeakEmbedding
from fdps.models.heads import HeadOutputs, TaskHeads
from fdps.models.norms import norm_rows
from fdps.models.outputs import MeanLoss, RegionOutputs
from fdps.models.roi_heads import RegionHeads, RegionInputs, RegionRules, RoIHeads
from fdps.models.sampling import CUTS, seeded
from fdps.models.sub_features import SharedMean
from fdps.models.systems.system import System

LEFT, RIGHT, BELOW = 0, 2, 3  # of missing shares; heads (1) are seldom what is hidden
CUT_SIDES = (LEFT, RIGHT, BELOW, BELOW)  # equally likely: half of all cuts are from below
BORDER_PX = 1.0
INPUT_LENGTH = 3.0  # of what the aligner reads: at a rate of 0.02, 1 is slow and 10 diverges


@dataclass(frozen=True)
class APNetOptions:
    """What ``model.options`` of an APNet recipe may say."""

    parts: int = 7
    """Horizontal parts of a body."""
    largest_cut: float = 0.5
    """Largest share of a body that the aligner learns to, and may, add in height or width."""
    aligner_weight: float = 1.0
    """Weight of the aligner's loss."""

    def __post_init__(self) -> None:
        ranges = (
            ("parts", "at least 1", self.parts >= 1),
            ("largest_cut", "above 0 and below 1", 0 < self.largest_cut < 1),
            ("aligner_weight", "finite and at least 0", 0 <= self.aligner_weight < float("inf")),
        )
        for name, expected, holds in ranges:
            if not holds:
                raise ConfigError(
                    f"recipe key model.options.{name} must be {expected}, got {getattr(self, name)}"
                )


class BoxAligner(nn.Module):
    """Estimate how much of a body is missing beyond each side of a region.

    As in the authors' code it has a region head of its own and is a linear layer on what that
    makes of the region. There, the layer reads the mean of the map and says one number, the share
    that is missing below. To know the side, ours reads the marginals: rows for top and bottom,
    columns for left and right. They are brought to a common length, for which the steps that a
    detector is trained with are neither too long nor too short.

    Args:
        region_head: Region map to region map of half the size.
        channels: Channels that it returns.
        size: Height and width of what it returns.
    """

    def __init__(self, region_head: nn.Module, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.region_head = region_head
        self.vertical = nn.Linear(channels * size[0], 2)
        self.horizontal = nn.Linear(channels * size[1], 2)
        for layer in (self.vertical, self.horizontal):
            nn.init.normal_(layer.weight, std=0.001)  # at first every region is whole
            nn.init.zeros_(layer.bias)

    def forward(self, aligned: Float[Tensor, "R C H W"]) -> Float[Tensor, "R 4"]:
        """Estimate the missing shares, in float32 and of any size; :func:`limited` bounds them."""
        marginals = decompose(self.region_head(aligned))
        rows, columns = (
            INPUT_LENGTH * normalize(marginal.flatten(1).float())
            for marginal in (marginals.rows, marginals.cols)
        )
        top, bottom = self.vertical(rows).float().unbind(1)
        left, right = self.horizontal(columns).float().unbind(1)
        return torch.stack([left, top, right, bottom], dim=1)


class PartEmbedding(PeakEmbedding):
    r"""Embed a whole region and its parts so that an inner product is a similarity of parts.

    Each of the P + 1 vectors has a projection and a norm of its own, an equal share of the
    dimensions, and is brought to unit length. With :math:`g` that of the whole region,
    :math:`f_p` those of the parts and :math:`v_p` their visibilities, the embedding is

    .. math:: e = \tfrac{1}{\sqrt 2} \bigl(g,\; v_1 f_1 / |v|,\; \ldots,\; v_P f_P / |v|\bigr)

    It is a unit vector, and two of them have the inner product

    .. math:: e^\top e' = \tfrac12 \Bigl(g^\top g' + \kappa\,
        \frac{\sum_p v_p v'_p\, f_p^\top f'_p}{\sum_p v_p v'_p}\Bigr), \qquad
        \kappa = \frac{\sum_p v_p v'_p}{|v|\,|v'|}

    The fraction is the mean of the part similarities, weighted by how visible a part is in both.
    The authors add the same mean (there, a part is visible or not) to the similarity of the whole
    regions. Ours is half of that where :math:`\kappa = 1`: where all is visible, or the same parts
    are, in both. Else :math:`\kappa < 1` makes a match on few shared parts worth less: it is
    :math:`\sqrt{n / n'}` where one person shows the upper n and the other the upper n' > n parts.
    In return it remains an inner product, which memories and indexes need.

    Args:
        channels: Channels of the whole region and of each part.
        dim: Length of the embedding; P + 1 divides it.
        n_parts: P.
    """

    def __init__(self, channels: int, dim: int, n_parts: int) -> None:
        super().__init__((channels,) * (n_parts + 1), dim)
        self.n_parts = n_parts

    def forward(
        self,
        peaks: list[Float[Tensor, "N C"]],
        visibility: Float[Tensor, "N P"] | None = None,
    ) -> Float[Tensor, "N D"]:
        """Embed regions, in float32; unit rows.

        Args:
            peaks: Of the whole regions, then of each part.
            visibility: Of each part, in [0, 1], of every region one at least above 0; ``None``
                stands for all visible. An invisible part is in no statistics of a batch norm.
        """
        whole, *parts = self._unit_rows(peaks, visibility)
        stacked = torch.stack(parts, dim=1)  # N P D/(P+1)
        if visibility is not None:
            stacked = stacked * visibility[:, :, None]
        return torch.cat([whole, normalize(stacked.flatten(1), dim=1)], dim=1) / 2**0.5

    def _unit_rows(
        self, peaks: list[Float[Tensor, "N C"]], visibility: Float[Tensor, "N P"] | None
    ) -> list[Float[Tensor, "N _"]]:
        is_seen = torch.ones(len(peaks[0]), len(peaks), dtype=torch.bool, device=peaks[0].device)
        if visibility is not None:
            is_seen[:, 1:] = visibility > 0
        unit = []
        for peak, projection, norm, seen in zip(
            peaks, self.projections, self.norms, is_seen.unbind(1), strict=True
        ):
            rows = norm_rows(projection(peak[seen]).float(), norm)
            nothing = rows.new_zeros(len(peak), rows.shape[1])
            unit.append(nothing.masked_scatter(seen[:, None], normalize(rows, dim=1)))
        return unit


class PartHeads(RoIHeads):
    """One stage of region heads that aligns what it embeds.

    Boxes and scores are those of :class:`RoIHeads`. The aligner learns from the annotated boxes of
    a batch and a random cut of each; what it says of sampled regions only moves them, so that the
    re-ID loss does not train it.

    Args:
        pool: Feature map and boxes to region maps.
        region_head: Region map to region map of half the size, of what finds people.
        heads: Their ``embedding`` is a :class:`PartEmbedding`.
        rules: Sampling and selection.
        aligner: Says what is missing of a region.
        part_head: As ``region_head``, of the grown regions.
        options: The recipe's.
        stream: Of the random numbers that sample regions.
    """

    LOSSES = (*RegionHeads.LOSSES, "aligner")

    def __init__(
        self,
        pool: nn.Module,
        region_head: nn.Module,
        heads: TaskHeads,
        rules: RegionRules,
        aligner: BoxAligner,
        part_head: nn.Module,
        options: APNetOptions,
        *,
        stream: int,
    ) -> None:
        super().__init__(pool, region_head, heads, rules, stream=stream)
        self.aligner, self.part_head, self.options = aligner, part_head, options

    @property
    def region_heads(self) -> list[nn.Module]:
        """The halves of the backbone that run on regions, for who compiles them."""
        return [self.region_head, self.aligner.region_head, self.part_head]

    def losses(self, batch: RegionInputs, criterion: Criterion) -> RegionOutputs:
        """Train as :class:`RoIHeads` does, and the aligner on cuts of the annotated boxes.

        Args:
            batch: Features and proposals of the pictures, and what they show.
            criterion: The re-ID loss.
        """
        taught = super().losses(batch, criterion)
        lessons = [self._lesson(*each) for each in zip(batch.targets, batch.sizes, strict=True)]
        regions, missing = [r for r, _ in lessons], torch.cat([m for _, m in lessons])
        said = self.aligner(self.pool(batch.features, regions))
        # Shares count double, as in the authors' code, where they are in -1..1. There, the square
        # ends at a ninth; so steep a loss overshoots at the rate that a detector learns with.
        value = box_loss(2 * said, 2 * missing, len(said))
        weighted = MeanLoss(self.options.aligner_weight * value, _number(len(said), said))
        return taught._replace(losses=taught.losses | {"aligner": weighted})

    def count(self, batch: RegionInputs, criterion: Criterion) -> dict[str, Int64[Tensor, ""]]:
        """Count the samples of every loss of :meth:`losses`, without running the heads."""
        counts = super().count(batch, criterion)
        boxes = [
            within(target["boxes"], size)
            for target, size in zip(batch.targets, batch.sizes, strict=True)
        ]
        return counts | {"aligner": _number(2 * sum(map(len, boxes)), batch.features)}

    def look(
        self,
        features: Float[Tensor, "B C H W"],
        regions: list[Tensor],
        embedded: Bool[Tensor, " R"] | None = None,
        person_ids: Int64[Tensor, " R"] | None = None,
    ) -> HeadOutputs:
        """Predict boxes and classes of all regions, and align and embed some of them.

        Args:
            features: Of the trunk.
            regions: Of each picture, in pixels of the resized picture.
            embedded: Which of all regions to embed; ``None`` embeds all.
            person_ids: Whom each region shows, which no norm here asks for.
        """
        aligned = self.pool(features, regions)
        taken = self.heads.sub_features(self.region_head(aligned))
        deltas, logits = self.heads.deltas(taken), self.heads.person(taken.person, None)
        whole = taken.reid
        if embedded is not None:
            chosen = torch.split(embedded, [len(some) for some in regions])
            regions = [some[rows] for some, rows in zip(regions, chosen, strict=True)]
            aligned, whole = aligned[embedded], whole[embedded]
        return HeadOutputs(deltas, logits, self._embed(features, regions, aligned, whole))

    def find(
        self, aligned: Float[Tensor, "R C P Q"], maps: Float[Tensor, "R _ _ _"]
    ) -> HeadOutputs:
        """Predict boxes and classes of regions, and embed none of them."""
        taken = self.heads.sub_features(maps)
        none = maps.new_zeros((0, self.heads.embedding.dim), dtype=torch.float32)
        return HeadOutputs(self.heads.deltas(taken), self.heads.person(taken.person, None), none)

    def embed_maps(
        self,
        features: Float[Tensor, "B C H W"],
        regions: list[Tensor],
        aligned: Float[Tensor, "R _ _ _"],
        maps: Float[Tensor, "R _ _ _"],
    ) -> list[Float[Tensor, "_ D"]]:
        """Align and embed regions of which there are maps already."""
        whole = self.heads.sub_features(maps).reid
        embeddings = self._embed(features, regions, aligned, whole)
        return [*torch.split(embeddings, [len(some) for some in regions])]

    def _embed(
        self,
        features: Float[Tensor, "B C H W"],
        regions: list[Tensor],
        aligned: Float[Tensor, "N C P Q"],
        whole: Float[Tensor, "N _"],
    ) -> Float[Tensor, "N D"]:
        """Embed regions from their maps, their sub-feature and the maps of what they grow to."""
        with torch.no_grad():
            missing = limited(self.aligner(aligned), self.options.largest_cut)
        each = torch.split(missing, [len(some) for some in regions])
        grown = [grow(some, shares) for some, shares in zip(regions, each, strict=True)]
        maps = self.part_head(self.pool(features, grown))
        parts, visibility = part_means(maps, missing, self.options.parts)
        embeddings: Tensor = self.heads.embedding([whole, *parts.unbind(1)], visibility)
        return embeddings

    def _lesson(
        self, target: dict[str, Tensor], size: tuple[int, int]
    ) -> tuple[Float[Tensor, "N 4"], Float[Tensor, "N 4"]]:
        """Make the regions of a picture that teach the aligner, and what is missing of them."""
        boxes = within(target["boxes"], size)
        generator = seeded(target.get("seed"), CUTS)
        missing = drawn_cuts(boxes, self.options.largest_cut, generator)
        regions = torch.cat([boxes, shrink(boxes, missing)])
        return regions, torch.cat([torch.zeros_like(missing), missing])


class APNet(System):
    """One average-pooled vector finds people; aligned parts tell them apart.

    Exact: three region heads, seven parts that are average-pooled and projected by layers of their
    own, a vector for the whole region beside them. Our reading: what the aligner learns from (see
    above), and a smooth L1 that is square up to 1 instead of a ninth; four sides instead of the
    lower one alone; visibilities between 0 and 1; batch norms after the projections; one memory of
    whole embeddings instead of one for each part; one joint training, where the authors train
    finder, parts and aligner one after the other.
    """

    Options = APNetOptions
    sub_features = SharedMean

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        fixed = {"person_score": "softmax", "reid_features": "res5", "embedding_norm": "batch"}
        for name, only in fixed.items():
            if getattr(config, name) != only:
                raise ConfigError(
                    f"recipe key model.{name} must be {only} with system 'apnet', "
                    f"got {getattr(config, name)!r}"
                )
        if config.embedding_dim % (self.options.parts + 1):
            raise ConfigError(
                f"recipe key model.embedding_dim must be divisible by model.options.parts + 1 "
                f"({self.options.parts + 1}), got {config.embedding_dim}",
                hint="the whole region and each part have an equal share of the embedding",
            )

    def embedding(self, backbone: Backbone, channels: int) -> PartEmbedding:
        """Build what embeds a region and its parts.

        Args:
            backbone: The trunk and the region head.
            channels: Length of the sub-feature that serves re-ID.
        """
        return PartEmbedding(channels, self.config.embedding_dim, self.options.parts)

    def stage(
        self,
        pool: nn.Module,
        region_head: nn.Module,
        heads: TaskHeads,
        rules: RegionRules,
        stream: int,
    ) -> PartHeads:
        """Build the stage that embeds, with copies of the region head for aligner and parts."""
        channels = heads.sub_features.dims.reid
        aligner = BoxAligner(copy.deepcopy(region_head), channels, self.region_map)
        part_head = copy.deepcopy(region_head)
        return PartHeads(
            pool, region_head, heads, rules, aligner, part_head, self.options, stream=stream
        )


def within(boxes: Float[Tensor, "N 4"], size: tuple[int, int]) -> Float[Tensor, "M 4"]:
    """Keep the boxes that do not touch the border of their picture.

    Of people at the border nobody knows how much of them is missing already.

    Args:
        boxes: In pixels.
        size: Height and width of the picture.
    """
    height, width = size
    far = boxes.new_tensor([width, height]) - BORDER_PX
    return boxes[((boxes[:, :2] >= BORDER_PX) & (boxes[:, 2:] <= far)).all(dim=1)]


def drawn_cuts(
    boxes: Float[Tensor, "N 4"], largest: float, generator: torch.Generator | None
) -> Float[Tensor, "N 4"]:
    """Draw what is missing of each person: a uniform share from below, or from a side.

    Args:
        boxes: People; only their number counts.
        largest: Largest share, in [0, 1).
        generator: On the CPU; without it, torch's global one of the device of ``boxes`` draws.
    """
    n, device = len(boxes), boxes.device if generator is None else generator.device
    kind = torch.randint(len(CUT_SIDES), (n, 1), generator=generator, device=device)
    side = torch.tensor(CUT_SIDES, device=device)[kind]
    share = torch.rand(n, 1, generator=generator, device=device) * largest
    return torch.zeros(n, 4, device=device).scatter(1, side, share).to(boxes)


def shrink(bodies: Float[Tensor, "N 4"], missing: Float[Tensor, "N 4"]) -> Float[Tensor, "N 4"]:
    """Cut what is missing off whole bodies: the inverse of :func:`grow`."""
    size = (bodies[:, 2:] - bodies[:, :2]).repeat(1, 2)
    return bodies + _inwards(missing) * size


def grow(regions: Float[Tensor, "N 4"], missing: Float[Tensor, "N 4"]) -> Float[Tensor, "N 4"]:
    """Add what is missing to regions; the result may reach beyond the picture.

    Args:
        regions: Valid boxes.
        missing: Shares of the *result*, those of opposite sides below 1 together.
    """
    left_top, right_bottom = missing[:, :2], missing[:, 2:]
    size = (regions[:, 2:] - regions[:, :2]) / (1 - left_top - right_bottom)
    return regions - _inwards(missing) * size.repeat(1, 2)


def limited(missing: Float[Tensor, "N 4"], largest: float) -> Float[Tensor, "N 4"]:
    """Bound estimates: none below 0, and those of opposite sides at most ``largest`` together."""
    missing = missing.clamp(min=0)
    both = missing[:, :2] + missing[:, 2:]
    return missing * (largest / both.clamp(min=largest)).repeat(1, 2)


def part_means(
    maps: Float[Tensor, "R C H W"], missing: Float[Tensor, "R 4"], n_parts: int
) -> tuple[Float[Tensor, "R P C"], Float[Tensor, "R P"]]:
    r"""Average maps of grown regions over what is visible of each horizontal part.

    A position of the map covers a rectangle of the region. With :math:`a_{pxy}` the area of it
    that lies both in part p and in what was found,

    .. math:: m_p = \frac{\sum_{xy} a_{pxy} F(x, y)}{\sum_{xy} a_{pxy}}, \qquad
        v_p = P \sum_{xy} a_{pxy}

    where the whole region has area 1. Parts and positions need not fit: where all is visible and P
    divides H, these are the means over H/P rows.

    Args:
        maps: Of grown regions.
        missing: Which shares of them were added.
        n_parts: P.

    Returns:
        Means, 0 for a part that is not visible, and visibilities, in [0, 1]; both in float32.
    """
    height, width = maps.shape[-2:]
    left, top, right, bottom = missing.unbind(1)
    # Who traces the network gets sizes as tensors; that of a region map never changes.
    part, row, column = (_pieces(int(n), maps.device) for n in (n_parts, height, width))
    # Intervals overlap from the largest of their beginnings to the least of their ends.
    begin = torch.maximum(torch.maximum(part[0][:, None], row[0]), top[:, None, None])
    end = torch.minimum(torch.minimum(part[1][:, None], row[1]), 1 - bottom[:, None, None])
    rows = (end - begin).clamp(min=0)  # R P H
    begin = torch.maximum(column[0], left[:, None])
    end = torch.minimum(column[1], 1 - right[:, None])
    columns = (end - begin).clamp(min=0)  # R W
    area = rows.sum(dim=2) * columns.sum(dim=1, keepdim=True)
    with torch.autocast(maps.device.type, enabled=False):  # which would sum up in bf16
        total = torch.einsum("rph,rw,rchw->rpc", rows, columns, maps.float())
    means = total / torch.where(area > 0, area, 1)[:, :, None]
    return means, (n_parts * area).clamp(max=1)


def _pieces(n: int, device: torch.device) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Beginnings and ends of n equal pieces of [0, 1]."""
    edges = torch.arange(n + 1, device=device) / n
    return edges[:-1], edges[1:]


def _inwards(missing: Float[Tensor, "N 4"]) -> Float[Tensor, "N 4"]:
    return missing * missing.new_tensor([1, 1, -1, -1])


def _number(n: int, like: Tensor) -> Int64[Tensor, ""]:
    return torch.tensor(n, device=like.device)
