"""The re-ID network of a two-step system: it embeds people who were cut out, one by one.

A crop goes through three parts: ``backbone`` and ``region_head`` (maps of falling size) → means
over the maps → ``embedding`` (unit rows). In training a classifier of the identities may follow.

Axes: N crops, C channels, D embedding dimension, L identities.
"""

from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from fdps.config import LossConfig
from fdps.losses import BACKGROUND_ID, Criterion, batch_hard_loss, identity_loss
from fdps.losses.triplet import count_anchors
from fdps.models.backbone import Trunk
from fdps.models.embedding import PeakEmbedding
from fdps.models.outputs import EmbeddedPeople, MeanLoss, TrainingOutputs
from fdps.models.trainable import Samples, TrainableNet
from fdps.models.transform import Size
from fdps.structures import UNLABELLED

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class People(NamedTuple):
    """Whom the crops of a batch show."""

    ids: Int64[Tensor, " N"]
    """In 0..L-1, ``UNLABELLED``, or ``BACKGROUND_ID`` for nobody."""
    overlaps: Float[Tensor, " N"]
    """Intersection over union of each crop with the box of its person, in [0, 1]."""

    @classmethod
    def of(cls, targets: list[dict[str, Tensor]]) -> "People":
        """Gather what the targets of some crops say; each shows one person."""
        ids = torch.cat([target["person_ids"] for target in targets])
        return cls(ids, torch.cat([target["overlaps"] for target in targets]))


class Seen(NamedTuple):
    """What a network makes of some crops; everything has its gradient."""

    vectors: list[Float[Tensor, "N _"]]
    """Means over the maps of every depth that is embedded, the deepest last."""
    rows: Float[Tensor, "N D"]
    """The embeddings before they get unit length."""
    embeddings: Float[Tensor, "N D"]
    """Unit rows."""


class ReidNet(TrainableNet):
    """Embeds people who were cut out.

    Args:
        backbone: Crops to feature maps.
        region_head: Those to maps of half the size; an identity for a backbone without one.
        embedding: Vectors to embeddings.
        config: Settings of the losses.
        n_persons: L; 0 for a network that only searches, and has no classifier.
        size: Height and width of a crop.
        pooling: ``mean`` or ``max``, by which a map becomes a vector.
        is_kept: The backbone never trains, and training gives its vectors in place of crops.
    """

    FURTHER_LOSSES: ClassVar[tuple[str, ...]] = ()
    TRAINING_ONLY: ClassVar[tuple[str, ...]] = ("classifier.",)
    """How the names of tensors begin that searching does not need; weights files leave them out."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: Trunk,
        region_head: nn.Module,
        embedding: PeakEmbedding,
        config: LossConfig,
        *,
        n_persons: int,
        size: Size,
        pooling: str = "mean",
        is_kept: bool = False,
    ) -> None:
        super().__init__()
        self.backbone, self.region_head, self.embedding = backbone, region_head, embedding
        self.config, self.size, self.pooling, self.is_kept = config, size, pooling, is_kept
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            column = torch.tensor(values)[:, None, None]
            self.register_buffer(name, column, persistent=False)
        self.classifier = self.build_classifier(n_persons)
        if is_kept:
            for part in (backbone, region_head):
                part.requires_grad_(requires_grad=False)
            self.train()

    def build_classifier(self, n_persons: int) -> nn.Module | None:
        """Build what names the training identities, if that is to be learnt."""
        if not (n_persons and self.config.identity_weight):
            return None
        classifier = nn.Linear(self.embedding.dim, n_persons, bias=False)
        nn.init.normal_(classifier.weight, std=0.001)
        return classifier

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.embedding.dim

    @property
    def region_heads(self) -> list[nn.Module]:
        """The second half of the backbone, for who compiles it."""
        return [self.region_head]

    def train(self, mode: bool = True) -> "ReidNet":
        """Switch between training and evaluation; a kept backbone stays as it is in tests."""
        super().train(mode)
        if self.is_kept:
            self.backbone.eval()
            self.region_head.eval()
        return self

    def size_of(self, images: Samples, targets: list[dict[str, Tensor]]) -> Size:
        """Return the height and width of a crop."""
        return self.size

    def forward(
        self,
        images: Samples,
        targets: list[dict[str, Tensor]],
        criterion: Criterion,
        size: Size | None = None,
    ) -> TrainingOutputs:
        """Compute the losses of a training batch.

        Args:
            images: Crops, RGB in [0, 1] and of one size, or the vectors of a kept backbone; without
                any, every loss is 0.
            targets: ``person_ids`` (1,) and ``overlaps`` (1,) of each.
            criterion: The re-ID loss. It stays as it is until its ``update``.
            size: Not looked at: all crops have one size.
        """
        if not images:
            return self._nothing(criterion)
        people, seen = People.of(targets), self.look(torch.stack(images))
        is_somebody = people.ids != BACKGROUND_ID
        shown = EmbeddedPeople(
            seen.embeddings[is_somebody], people.ids[is_somebody], people.overlaps[is_somebody]
        )
        terms = criterion.terms(*shown)
        values = {"reid": terms.loss} | self.losses(seen, people)
        counts = self.counts(people, criterion)
        return TrainingOutputs(
            losses={name: MeanLoss(values[name], counts[name]) for name in self.loss_names},
            reid_terms={name: value.detach() for name, value in terms._asdict().items()},
            people=shown._replace(embeddings=shown.embeddings.detach()),
        )

    @torch.no_grad()
    def count(
        self,
        images: Samples,
        targets: list[dict[str, Tensor]],
        criterion: Criterion,
        size: Size | None = None,
    ) -> dict[str, Int64[Tensor, ""]]:
        """Count the samples of every loss of :meth:`forward`; the targets tell."""
        if not images:
            none = torch.zeros((), dtype=torch.int64, device=self.mean.device)
            return dict.fromkeys(self.loss_names, none)
        counts = self.counts(People.of(targets), criterion)
        return {name: counts[name] for name in self.loss_names}

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Names of the losses of this network, in their order."""
        config = self.config
        named = ("identity",) if config.identity_weight else ()
        near = ("triplet",) if config.triplet_weight else ()
        return ("reid", *named, *near, *self.FURTHER_LOSSES)

    def losses(self, seen: Seen, people: People) -> dict[str, Float[Tensor, ""]]:
        """Compute the losses beside that of the criterion, by their names."""
        config, values = self.config, {}
        named = self.identities(seen, people)
        if named is not None:
            values["identity"] = named
        if config.triplet_weight:
            values["triplet"] = batch_hard_loss(
                seen.embeddings, people.ids, margin=config.triplet_margin
            )
        return values

    def identities(self, seen: Seen, people: People) -> Float[Tensor, ""] | None:
        """Compute what the classifier misses; ``None`` where there is none."""
        if self.classifier is None:
            return None
        logits, smoothing = self.classifier(seen.rows), self.config.identity_smoothing
        return identity_loss(logits, people.ids, smoothing=smoothing)

    def counts(self, people: People, criterion: Criterion) -> dict[str, Int64[Tensor, ""]]:
        """Count what every loss is a mean over."""
        return {
            "reid": criterion.n_samples(people.ids[people.ids != BACKGROUND_ID]),
            "identity": (people.ids > UNLABELLED).sum(),
            "triplet": count_anchors(people.ids),
        }

    @torch.inference_mode()
    def embed(self, crops: Float[Tensor, "N 3 h w"] | Float[Tensor, "N C"]) -> Tensor:
        """Embed crops, or the vectors of a kept backbone: unit rows (N, D)."""
        return self.look(crops).embeddings

    def look(self, crops: Float[Tensor, "N 3 h w"] | Float[Tensor, "N C"]) -> Seen:
        """Embed crops, and keep what lies before the embeddings.

        Args:
            crops: RGB in [0, 1], or the vectors of a kept backbone.
        """
        vectors = [crops] if crops.dim() == 2 else self.vectors(crops)
        rows = self.embedding.project(vectors)
        return Seen(vectors, rows, nn.functional.normalize(rows, dim=1))

    def vectors(self, crops: Float[Tensor, "N 3 h w"]) -> list[Float[Tensor, "N _"]]:
        """Turn crops into one vector for every depth that is embedded, the deepest last."""
        return [self.pool(self.region_head(self.backbone(self.normalised(crops))))]

    def normalised(self, crops: Float[Tensor, "N 3 h w"]) -> Float[Tensor, "N 3 h w"]:
        """Bring the colours to the mean and deviation that backbones know."""
        pixels = (crops - self.mean) / self.std
        return pixels.to(memory_format=torch.channels_last)

    def pool(self, maps: Float[Tensor, "N C h w"]) -> Float[Tensor, "N C"]:
        """Turn maps into vectors."""
        return maps.amax(dim=(2, 3)) if self.pooling == "max" else maps.mean(dim=(2, 3))

    def searching_state(self) -> dict[str, Tensor]:
        """Return the tensors that searching needs."""
        state = self.state_dict()
        return {k: v for k, v in state.items() if not k.startswith(self.TRAINING_ONLY)}

    def _nothing(self, criterion: Criterion) -> TrainingOutputs:
        """Return what a batch without crops teaches."""
        embeddings = torch.zeros((0, self.dim), device=self.mean.device)
        ids = torch.zeros(0, dtype=torch.int64, device=self.mean.device)
        nothing = MeanLoss(embeddings.sum(), ids.sum())
        return TrainingOutputs(
            losses=dict.fromkeys(self.loss_names, nothing),
            reid_terms=criterion.terms(embeddings, ids)._asdict(),
            people=EmbeddedPeople(embeddings, ids, embeddings.sum(dim=1)),
        )
