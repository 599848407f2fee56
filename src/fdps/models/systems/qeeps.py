"""QEEPS: the query guides the search, from the feature maps to the similarity.

Source: Munjal et al., Query-guided end-to-end person search (CVPR 2019). Three parts look at a pair
of pictures, the query and the gallery:

* QSSE, squeeze-and-excitation over both: the global means of two maps say how much each channel
  counts in this pair, and both maps are weighted by it, after each of the last trunk stages;
* QRPN, a second proposal score: the gallery map, its channels weighted by the region of the person
  who is sought, tells which anchors show that person; its score adds to the plain one;
* QSimNet: the squared difference of two embeddings, a batch norm, and a linear layer to two logits.

In training every picture is the gallery once, and its query is another picture of the batch that
shares an identity with it; the person who is sought goes through the region heads as well. A
picture without such a partner is its own: it is excited by its own mean. That is also how one
picture is seen alone, so that the network without a query is a plain one.

Nothing of the authors' network is public. The layers of the three parts, r = 16, the sum of scores
and equal weights are from memory of the paper. Our reading: the gates double and begin at one, so
that the network begins as OIM, from which the authors start; where the excitations stand; what
anchors and pairs the new losses see. docs/concepts/systems.md has the sources.

Axes: B pictures, P of which have a partner, C channels, H and W size of a map, R anchors per
picture, K compared embeddings, D embedding dimension.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import resize_boxes

from fdps.errors import ConfigError
from fdps.losses import Criterion
from fdps.models.backbone import Backbone, Trunk
from fdps.models.guidance import AskedProposals, Gate, GuidedProposals, SimilarityHead
from fdps.models.norms import statistics_kept
from fdps.models.outputs import MeanLoss, RegionOutputs, TrainingOutputs
from fdps.models.pairwise import Begun, PairwiseNet
from fdps.models.person_search import Pictures
from fdps.models.roi_heads import RegionHeads, RegionInputs
from fdps.models.rpn import ProposalNetwork
from fdps.models.sampling import PARTNERS, seeded
from fdps.models.systems.system import System
from fdps.models.transform import PictureTransform, Size
from fdps.structures import UNLABELLED


class Pair(NamedTuple):
    """Two pictures of a batch that show one person."""

    gallery: int
    """The picture that is searched."""
    query: int
    """The picture that shows who is sought."""
    box: Float[Tensor, "1 4"]
    """The person in the query picture."""
    person_id: int
    """Identity of the person."""


def pair_up(targets: list[dict[str, Tensor]]) -> list[Pair]:
    """Give every picture a partner that shares an identity with it, where there is one.

    Of all people of all other pictures who are in this one as well, one is drawn.

    Args:
        targets: ``boxes`` and ``person_ids`` of each picture; where there is a ``seed``, the draw
            follows from it.

    Returns:
        At most one pair for each picture, in the order of the pictures.
    """
    ids: list[list[int]] = [target["person_ids"].tolist() for target in targets]
    pairs = []
    for gallery, target in enumerate(targets):
        here = set(ids[gallery]) - {UNLABELLED}
        shared = [
            (query, row)
            for query, others in enumerate(ids)
            for row, person_id in enumerate(others)
            if query != gallery and person_id in here
        ]
        if shared:
            generator = seeded(target.get("seed"), PARTNERS)
            query, row = shared[int(torch.randint(len(shared), (), generator=generator))]
            box = targets[query]["boxes"][row : row + 1]
            pairs.append(Pair(gallery, query, box, ids[query][row]))
    return pairs


class _Prepared(NamedTuple):
    """A training batch on its way to the region heads, which see the queries as further pictures.

    A query has no proposals: its one region is the annotated person, who is embedded among all
    others, by the same norms.
    """

    losses: dict[str, MeanLoss]
    query_score: MeanLoss
    inputs: RegionInputs
    """Of the pictures, then of the query of each pair."""
    pairs: list[Pair]
    padded: Size
    """Height and width of the batch, which the maps cover."""

    def scene(self, row: int) -> Float[Tensor, "C _ _"]:
        """Return the map of a picture, without padding."""
        return _without_padding(self.inputs.features[row], self.inputs.sizes[row], self.padded)


class QueryGuidedNet(PairwiseNet):
    """A person-search network that a query guides.

    Args:
        transform: Resizes and normalises pictures, and maps boxes back.
        backbone: Picture to feature map.
        rpn: Feature map to proposals, with and without a query.
        roi_heads: Feature map and proposals to losses, detections or embeddings.
        pool: Feature map and boxes to region maps, to look at a query.
        excitations: One after each of the last trunk stages (QSSE); there may be none.
        similarity: Two embeddings to logits.
        weights: Of the losses ``query_score`` and ``similarity``.
    """

    FURTHER_LOSSES = ("query_score", "similarity")
    rpn: AskedProposals

    def __init__(
        self,
        transform: PictureTransform,
        backbone: Trunk,
        rpn: AskedProposals,
        roi_heads: RegionHeads,
        pool: nn.Module,
        excitations: list[Gate],
        similarity: SimilarityHead,
        weights: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        super().__init__(transform, backbone, rpn, roi_heads)
        self.pool, self.similarity, self.weights = pool, similarity, weights
        self.excitations = nn.ModuleList(excitations)

    def forward(
        self,
        images: Pictures,
        targets: list[dict[str, Tensor]],
        criterion: Criterion,
        size: Size | None = None,
    ) -> TrainingOutputs:
        """Compute the losses of a training batch, whose pictures are paired among each other.

        Args:
            images: Pictures; without any, every loss is 0.
            targets: ``boxes`` (N, 4) and ``person_ids`` (N,) of each picture; N may be 0. Where
                there is a ``seed``, all that is drawn at random for a picture follows from it.
            criterion: The re-ID loss. It stays as it is until its ``update``.
            size: Pad to this at least: that of the whole batch, of which this one is a part.
        """
        if not images:
            return self._nothing(criterion)
        ready = self._prepare(images, targets, size)
        regions = self.roi_heads.losses(ready.inputs, criterion)
        further = {
            "query_score": ready.query_score,
            "similarity": self._similarity_loss(ready, regions),
        }
        weighed = {
            name: MeanLoss(weight * further[name].value, further[name].n_samples)
            for name, weight in zip(self.FURTHER_LOSSES, self.weights, strict=True)
        }
        return TrainingOutputs(
            losses=ready.losses | regions.losses | weighed,
            reid_terms=regions.reid_terms,
            people=regions.remembered(),
        )

    @torch.no_grad()
    def count(
        self,
        images: Pictures,
        targets: list[dict[str, Tensor]],
        criterion: Criterion,
        size: Size | None = None,
    ) -> dict[str, Int64[Tensor, ""]]:
        """Count the samples of every loss of :meth:`forward`; seeds in the targets repeat them."""
        if not images:
            return super().count(images, targets, criterion, size)
        with statistics_kept(self):
            ready = self._prepare(images, targets, size)
            regions = self.roi_heads.count(ready.inputs, criterion)
        n_pairs = torch.tensor(len(ready.pairs), device=self._device)
        further = {"query_score": ready.query_score.n_samples, "similarity": n_pairs}
        return {name: loss.n_samples for name, loss in ready.losses.items()} | regions | further

    def features(self, batch: ImageList) -> Float[Tensor, "B C H W"]:
        """Compute the map of every picture alone: each is excited by its own mean."""
        return self._excited(batch, [])[0]

    @torch.inference_mode()
    def begin(self, image: Float[Tensor, "3 H W"]) -> Begun:
        """Compute the maps up to the first excitation, which every pair shares."""
        batch, _ = self.transform([image], None)
        maps = self.backbone.part(batch.tensors, 0, self._first_excited)
        padded, given = batch.tensors.shape, image.shape
        return Begun(maps, batch.image_sizes[0], (padded[-2], padded[-1]), (given[-2], given[-1]))

    @torch.inference_mode()
    def compare(self, query: Begun, box: Float[Tensor, " 4"], gallery: Begun) -> dict[str, Tensor]:
        """Look for a person of one picture in another; see :class:`PairwiseNet`."""
        wanted, searched = query.maps, gallery.maps
        for number, gate in enumerate(self.excitations):
            stages = (self._first_excited + number - 1, self._first_excited + number)
            if number:
                wanted, searched = (self.backbone.part(m, *stages) for m in (wanted, searched))
            seen = _means(wanted, [query.size], query.padded)
            beside = _means(searched, [gallery.size], gallery.padded)
            factors = gate(torch.cat([seen, beside], dim=1)).to(searched)
            wanted, searched = wanted * factors, searched * factors
        person = resize_boxes(box[None], query.given, query.size)
        sought = self._looked_at(wanted, [person])
        proposed, _ = self.rpn.guided(searched, [gallery.size], gallery.padded, [0], sought)
        found = self.roi_heads.detect(searched, proposed.boxes, [gallery.size])
        (people,) = self.restored(found, [gallery.size], [gallery.given])
        (embedding,) = self.roi_heads.embed(wanted, [person])
        scene = _without_padding(searched[0], gallery.size, gallery.padded)
        query_row, others = self.related(embedding, people.pop("embeddings"), scene)
        logits = self.similarity(query_row.expand_as(others), others)
        return people | {"similarities": logits.softmax(dim=1)[:, 1]}

    def related(
        self,
        query: Float[Tensor, "Q D"],
        people: Float[Tensor, "K D"],
        scene: Float[Tensor, "C H W"],
    ) -> tuple[Float[Tensor, "Q D"], Float[Tensor, "K D"]]:
        """Let who is sought, the people of a picture and its map know of each other; here not.

        Args:
            query: The embedding of who is sought; of nobody, where there is no pair.
            people: Those of the people of the gallery picture.
            scene: The map of that picture, without padding.

        Returns:
            The embeddings that are compared.
        """
        return query, people

    def _prepare(
        self, images: Pictures, targets: list[dict[str, Tensor]], size: Size | None
    ) -> _Prepared:
        """Pair, excite and propose."""
        batch, resized = self.transform(images, targets, size)
        sizes, padded = batch.image_sizes, (batch.tensors.shape[-2], batch.tensors.shape[-1])
        pairs = pair_up(resized)
        features, wanted = self._excited(batch, pairs)
        sought = self._looked_at(wanted, [pair.box for pair in pairs])
        rows = [pair.gallery for pair in pairs]
        proposed, logits = self.rpn.guided(features, sizes, padded, rows, sought)
        of_person = [_sought_in(resized[pair.gallery], pair.person_id) for pair in pairs]
        return _Prepared(
            losses=self.rpn.losses(proposed, resized),
            query_score=self.rpn.query_loss(logits, proposed.anchors, of_person),
            inputs=RegionInputs(
                features=torch.cat([features, wanted]),
                proposals=[*proposed.boxes, *(pair.box[:0] for pair in pairs)],
                targets=[*resized, *(_query_target(pair, resized) for pair in pairs)],
                sizes=[*sizes, *(sizes[pair.query] for pair in pairs)],
            ),
            pairs=pairs,
            padded=padded,
        )

    def _excited(
        self, batch: ImageList, pairs: list[Pair]
    ) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "P C H W"]]:
        """Compute the maps of all pictures and of the query of each pair, excited pair by pair."""
        galleries, queries = [p.gallery for p in pairs], [p.query for p in pairs]
        sizes, padded = batch.image_sizes, (batch.tensors.shape[-2], batch.tensors.shape[-1])
        of_queries = [sizes[query] for query in queries]
        maps = self.backbone.part(batch.tensors, 0, self._first_excited)
        maps, n = torch.cat([maps, maps[queries]]), len(maps)
        for number, gate in enumerate(self.excitations):
            if number:
                stage = self._first_excited + number - 1
                maps = self.backbone.part(maps, stage, stage + 1)
            means = _means(maps, [*sizes, *of_queries], padded)
            own = torch.arange(n, device=maps.device)
            own[galleries] = torch.arange(n, len(maps), device=maps.device)
            factors = gate(torch.cat([means[own], means[:n]], dim=1)).to(maps)
            maps = maps * torch.cat([factors, factors[galleries]])
        return maps[:n], maps[n:]

    def _looked_at(
        self, maps: Float[Tensor, "P C H W"], boxes: list[Float[Tensor, "1 4"]]
    ) -> Float[Tensor, "P ..."]:
        """Return the region of each query, as the proposals are asked for it."""
        regions: Tensor = (
            self.pool(maps, boxes) if boxes else maps.new_zeros(0, maps.shape[1], 1, 1)
        )
        return self.rpn.look(regions)

    def _similarity_loss(self, ready: _Prepared, regions: RegionOutputs) -> MeanLoss:
        """Compare each query with the sampled people of its gallery picture.

        The loss is a mean over pairs, and of each pair over the people: a crowd counts no more.
        """
        targets = ready.inputs.targets
        ends = torch.tensor([len(target["boxes"]) for target in targets]).cumsum(0).tolist()
        n_pictures = len(targets) - len(ready.pairs)
        none = regions.embeddings[:0]
        # Without any pair the weights get a gradient of zero, as every process needs.
        query, others = self.related(none, none, ready.scene(0))
        queries, people, same = [query], [others], [regions.person_ids[:0]]
        for number, pair in enumerate(ready.pairs):
            last = ends[pair.gallery]
            first = last - len(targets[pair.gallery]["boxes"])
            own = (regions.people == ends[n_pictures + number] - 1).nonzero()[:1, 0]
            here = ((regions.people >= first) & (regions.people < last)).nonzero()[:, 0]
            here = here[: len(here) * len(own)]
            query, others = self.related(
                regions.embeddings[own], regions.embeddings[here], ready.scene(pair.gallery)
            )
            queries.append(query.expand(len(others), -1))
            people.append(others)
            same.append((regions.person_ids[here] == pair.person_id).long())
        n_rows = torch.tensor([len(rows) for rows in same[1:]], device=self._device).long()
        logits = self.similarity(torch.cat(queries), torch.cat(people))
        each = cross_entropy(logits, torch.cat(same), reduction="none")
        shares = (1 / n_rows.clamp(min=1)).repeat_interleave(n_rows)
        total = (each * shares).sum() / max(len(ready.pairs), 1)
        return MeanLoss(total, torch.tensor(len(ready.pairs), device=self._device))

    @property
    def _first_excited(self) -> int:
        """How many stages see one picture alone."""
        return len(self.backbone.stages) - len(self.excitations) + 1


def _means(maps: Float[Tensor, "B C H W"], sizes: list[Size], padded: Size) -> Float[Tensor, "B C"]:
    """Return the mean of each map over its picture, without the padding."""
    rows = zip(maps, sizes, strict=True)
    return torch.stack([_without_padding(m, s, padded).float().mean(dim=(1, 2)) for m, s in rows])


def _without_padding(
    one: Float[Tensor, "C H W"], size: Size, padded: Size
) -> Float[Tensor, "C _ _"]:
    """Return what a map says of its picture alone."""
    rows, columns = (
        math.ceil(side * cells / whole)
        for side, cells, whole in zip(size, one.shape[1:], padded, strict=True)
    )
    return one[:, :rows, :columns]


def _sought_in(target: dict[str, Tensor], person_id: int) -> dict[str, Tensor]:
    """Return where a gallery picture shows a person, with the seed of the picture."""
    return target | {"boxes": target["boxes"][target["person_ids"] == person_id]}


def _query_target(pair: Pair, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return a query as a picture that shows nobody else."""
    target = targets[pair.query]
    person_ids = torch.full_like(target["person_ids"][:1], pair.person_id)
    return target | {"boxes": pair.box, "person_ids": person_ids}


@dataclass(frozen=True)
class QEEPSOptions:
    """What a recipe may set under ``model.options``."""

    reduction: int = 16
    """The hidden layer of an excitation is this many times shorter than its input."""
    excited_stages: int = 3
    """Last trunk stages that are followed by an excitation; all after them runs once per pair."""
    query_score_weight: float = 1.0
    """Weight of the loss of the proposals that a query guides."""
    similarity_weight: float = 1.0
    """Weight of the loss of the similarity."""

    def __post_init__(self) -> None:
        for name, least in (("reduction", 1), ("excited_stages", 1)):
            if getattr(self, name) < least:
                raise ConfigError(
                    f"recipe key model.options.{name} must be at least {least}, "
                    f"got {getattr(self, name)}"
                )
        for name in ("query_score_weight", "similarity_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(
                    f"recipe key model.options.{name} must be at least 0, got {getattr(self, name)}"
                )


class QEEPS(System):
    """OIM-base with excitation, proposals and similarity that a query guides."""

    Options: ClassVar[type] = QEEPSOptions

    def assemble(
        self,
        transform: PictureTransform,
        backbone: Backbone,
        rpn: ProposalNetwork,
        region_heads: RegionHeads,
    ) -> QueryGuidedNet:
        """Put the parts together, and what looks at pairs beside them.

        Raises:
            ConfigError: More stages are to be excited than the trunk has.
        """
        options: QEEPSOptions = self.options
        trunk, channels = backbone.trunk, backbone.trunk.out_channels
        if options.excited_stages > len(trunk.stages):
            raise ConfigError(
                f"recipe key model.options.excited_stages must be at most {len(trunk.stages)}, the "
                f"stages of {self.config.backbone}, got {options.excited_stages}"
            )
        (n_anchors,) = rpn.anchors.num_anchors_per_location()
        return QueryGuidedNet(
            transform,
            trunk,
            GuidedProposals(rpn, channels, n_anchors, options.reduction),
            region_heads,
            self.pool(),
            [
                Gate(2 * one, one, options.reduction)
                for one in _channels(trunk)[-options.excited_stages :]
            ],
            SimilarityHead(self.config.embedding_dim),
            (options.query_score_weight, options.similarity_weight),
        )


@torch.no_grad()
def _channels(trunk: Trunk) -> list[int]:
    """Return the channels after every stage, which a small picture tells."""
    maps, found = torch.zeros(1, 3, 64, 64), []
    with statistics_kept(trunk):
        for number in range(len(trunk.stages)):
            maps = trunk.part(maps, number, number + 1)
            found.append(maps.shape[1])
    return found
