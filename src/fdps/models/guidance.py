"""What a query adds to a network: weights of channels, proposals, a similarity that is learnt.

Source: Munjal et al., Query-guided end-to-end person search; :mod:`fdps.models.systems.qeeps` puts
the parts together.

Axes: B pictures, P of which have a query, C channels, H and W size of a map, R anchors per picture,
S sampled ones, K compared embeddings, D embedding dimension.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from fdps.models.norms import norm_rows
from fdps.models.outputs import MeanLoss
from fdps.models.rpn import ProposalNetwork, Proposed, objectness_loss
from fdps.models.sampling import PERSON, match, sample, seeded
from fdps.models.transform import Size

SOUGHT = 102  # stream of random numbers


class Gate(nn.Module):
    """Say how much each channel counts: two linear layers, and a sigmoid that is doubled.

    It begins at one for every channel: the network then is the one without it.

    Args:
        inputs: Numbers that it looks at.
        channels: Channels that it weighs, C.
        reduction: The hidden layer is this many times shorter than the input.
    """

    def __init__(self, inputs: int, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(inputs // reduction, 1)
        self.squeeze, self.excite = nn.Linear(inputs, hidden), nn.Linear(hidden, channels)
        nn.init.zeros_(self.excite.weight)
        nn.init.zeros_(self.excite.bias)

    def forward(self, seen: Float[Tensor, "B _"]) -> Float[Tensor, "B C 1 1"]:
        """Return factors in (0, 2) for maps."""
        factors: Tensor = 2 * self.excite(self.squeeze(seen).relu()).sigmoid()
        return factors[..., None, None]


class AskedProposals(ProposalNetwork, ABC):
    """A proposal network that also asks which anchors show the person who is sought.

    The query changes which anchors are proposed, not their boxes. Its score, in [0, 1], is added to
    the plain one.

    Args:
        plain: The proposal network without a query, whose parts it takes over.
    """

    def __init__(self, plain: ProposalNetwork) -> None:
        super().__init__(plain.head, plain.anchors, plain.rules)

    @abstractmethod
    def look(self, regions: Float[Tensor, "P C h w"]) -> Float[Tensor, "P ..."]:
        """Turn the region of each query into what :meth:`ask` compares maps with."""

    @abstractmethod
    def ask(
        self, features: Float[Tensor, "P C H W"], sought: Float[Tensor, "P ..."]
    ) -> Float[Tensor, "P _ H W"]:
        """Return a logit for every anchor of each picture that it shows who is sought there."""

    def guided(
        self,
        features: Float[Tensor, "B C H W"],
        sizes: list[Size],
        padded: Size,
        rows: list[int],
        sought: Float[Tensor, "P ..."],
    ) -> tuple[Proposed, Float[Tensor, "P R"]]:
        """Propose boxes in every picture, guided by a query in some of them.

        Args:
            features: Of the trunk.
            sizes: Height and width of each resized picture.
            padded: Height and width of the batch, which the map covers.
            rows: Pictures that have a query.
            sought: Each query, as :meth:`look` returns it.

        Returns:
            The proposals, and the logits that an anchor shows the person who is sought.
        """
        logits, deltas = self.head(features)
        of_query = self.ask(features[rows], sought).float().permute(0, 2, 3, 1).flatten(1)
        anchors = self._place((features.shape[-2], features.shape[-1]), padded, features.device)
        rank = logits.detach().clone()
        rank[rows] = rank[rows].sigmoid() + of_query.detach().sigmoid()
        boxes = self._select(rank, logits, deltas, anchors, sizes)
        return Proposed(boxes, logits, deltas, anchors), of_query

    def query_loss(
        self,
        logits: Float[Tensor, "P R"],
        anchors: Float[Tensor, "R 4"],
        targets: list[dict[str, Tensor]],
    ) -> MeanLoss:
        """Sample anchors of every pair and compare whether they show the person who is sought.

        Anchors are labelled and sampled as those of the plain score, as if nobody else were there.

        Args:
            logits: From :meth:`guided`.
            anchors: The same in each picture.
            targets: ``boxes`` of the person who is sought in each gallery picture; with a ``seed``
                the sample follows from it.
        """
        picked = [self._sought(anchors, target) for target in targets]
        taken = [row[rows] for row, (rows, _) in zip(logits, picked, strict=True)]
        is_sought = [label for _, label in picked]
        n_anchors = sum(map(len, taken))
        loss = objectness_loss(
            torch.cat([logits[:0].flatten(), *taken]),
            torch.cat([anchors.new_zeros(0, dtype=torch.bool), *is_sought]),
        )
        return MeanLoss(loss, torch.tensor(n_anchors, device=logits.device))

    @torch.no_grad()
    def _sought(
        self, anchors: Tensor, target: dict[str, Tensor]
    ) -> tuple[Int64[Tensor, " S"], Bool[Tensor, " S"]]:
        rules = self.rules
        found = match(
            anchors,
            target["boxes"],
            foreground_iou=rules.foreground_iou,
            background_iou=rules.background_iou,
            best_of_each=True,
        )
        generator = seeded(target.get("seed"), SOUGHT)
        rows = sample(found.label, rules.anchors_per_image, rules.positive_fraction, generator)
        return rows, found.label[rows] == PERSON


class GuidedProposals(AskedProposals):
    """QRPN: the mean of the query's region weighs the channels of the map that is asked.

    Args:
        plain: See :class:`AskedProposals`.
        channels: Of the feature map.
        n_anchors: Per position.
        reduction: See :class:`Gate`.
    """

    def __init__(
        self, plain: ProposalNetwork, channels: int, n_anchors: int, reduction: int
    ) -> None:
        super().__init__(plain)
        self.guide = Gate(channels, channels, reduction)
        self.query_conv = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.query_logits = nn.Conv2d(channels, n_anchors, kernel_size=1)
        for layer in (self.query_conv, self.query_logits):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def look(self, regions: Float[Tensor, "P C h w"]) -> Float[Tensor, "P C"]:
        """Return the mean of each region."""
        return regions.mean(dim=(2, 3))

    def ask(
        self, features: Float[Tensor, "P C H W"], sought: Float[Tensor, "P C"]
    ) -> Float[Tensor, "P A H W"]:
        """Return a logit for every anchor of each picture that it shows who is sought there."""
        weighed = features * self.guide(sought).to(features)
        logits: Tensor = self.query_logits(self.query_conv(weighed).relu())
        return logits


class SimilarityHead(nn.Module):
    """QSimNet: tell from the squared difference of two embeddings whether they are one person.

    Args:
        dim: Length of an embedding, D.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim)
        self.decide = nn.Linear(dim, 2)

    def forward(
        self, query: Float[Tensor, "K D"], gallery: Float[Tensor, "K D"]
    ) -> Float[Tensor, "K 2"]:
        """Return logits of another person and of the same, in float32, row by row."""
        apart = (query.float() - gallery.float()).square()
        logits: Tensor = self.decide(norm_rows(apart, self.norm))
        return logits.float()
