r"""IGPN's detector: it proposes what looks like the query, and knows who else is there.

Source: Dong et al., Instance guided proposal network for person search, CVPR 2020. A detector that
proposes everybody leaves the re-ID network many people to mistake for the one who is sought. This
one is given the query, and hands on little more than who looks like it:

* **Siamese proposals.** The region of the query, brought to a small map, is a kernel that is moved
  over the map of the scene, channel by channel (cross-correlation), after a convolution of either;
  what comes out says of every anchor whether it shows who is sought. This score adds to the plain
  one.
* **Local relation.** The people who are proposed in one picture know of each other: to the
  embedding of each is added what it asks of all,

  .. math:: x_i' = x_i + W \sum_j a_{ij}\, g(x_j), \qquad
      a_{ij} = \operatorname{softmax}_j \frac{\theta(x_i) \cdot \varphi(x_j)}{\sqrt{d}}

* **Global relation.** To the embedding of the query is added, in the same way, what it asks of
  every position of the scene.

A similarity in [0, 1] is then learnt as QEEPS learns it, from the squared difference of both
embeddings. A network on crops ranks what is left: :mod:`fdps.models.reid.igpn`.

Everything else is QEEPS without its excitations, so that a picture is computed once up to its map.
No code was published. What is from the abstract, and what is decided here, is told in
``docs/concepts/two_step_systems.md``.

Axes: P pictures that have a query, C channels, H and W size of a map, K people, Q queries, D
embedding dimension.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, conv2d

from fdps.errors import ConfigError
from fdps.models.backbone import Backbone
from fdps.models.guidance import AskedProposals, SimilarityHead
from fdps.models.roi_heads import RegionHeads
from fdps.models.rpn import ProposalNetwork
from fdps.models.systems.qeeps import QueryGuidedNet
from fdps.models.systems.system import System
from fdps.models.transform import PictureTransform


@dataclass(frozen=True)
class IGPNOptions:
    """What a recipe may set under ``model.options``."""

    channels: int = 256
    """Channels that are correlated, and the length of what relations compare."""
    kernel: int = 3
    """Rows and columns of the query's region when it becomes a kernel; odd."""
    query_score_weight: float = 1.0
    """Weight of the loss of the proposals that a query guides."""
    similarity_weight: float = 1.0
    """Weight of the loss of the similarity."""

    def __post_init__(self) -> None:
        weights = ("query_score_weight", "similarity_weight")
        ranges = (
            ("channels", "at least 1", self.channels >= 1),
            ("kernel", "odd and at least 1", self.kernel >= 1 and self.kernel % 2 == 1),
            *((name, "at least 0", 0 <= getattr(self, name) < math.inf) for name in weights),
        )
        for name, words, is_good in ranges:
            if not is_good:
                raise ConfigError(
                    f"recipe key model.options.{name} must be {words}, got {getattr(self, name)}"
                )


class SiameseProposals(AskedProposals):
    """Ask which anchors show who is sought by correlating the query's region with the map.

    Args:
        plain: The proposal network without a query.
        channels: Of the feature map, C.
        n_anchors: Per position.
        options: Of the system.
    """

    def __init__(
        self, plain: ProposalNetwork, channels: int, n_anchors: int, options: IGPNOptions
    ) -> None:
        super().__init__(plain)
        hidden, self.kernel = options.channels, options.kernel
        self.of_query = nn.Conv2d(channels, hidden, kernel_size=1)
        self.of_scene = nn.Conv2d(channels, hidden, kernel_size=1)
        self.query_conv = nn.Conv2d(hidden, hidden, kernel_size=3, padding=1)
        self.query_logits = nn.Conv2d(hidden, n_anchors, kernel_size=1)
        nn.init.normal_(self.query_logits.weight, std=0.01)
        nn.init.zeros_(self.query_logits.bias)  # type: ignore[arg-type]

    def look(self, regions: Float[Tensor, "P C h w"]) -> Float[Tensor, "P _ k k"]:
        """Turn the region of each query into a kernel."""
        return adaptive_avg_pool2d(self.of_query(regions), self.kernel)

    def ask(
        self, features: Float[Tensor, "P C H W"], sought: Float[Tensor, "P _ k k"]
    ) -> Float[Tensor, "P A H W"]:
        """Return a logit for every anchor of each picture that it shows who is sought there."""
        found = cross_correlation(self.of_scene(features), sought)
        logits: Tensor = self.query_logits(self.query_conv(found).relu())
        return logits


class Relation(nn.Module):
    """Add to some rows what they ask of others; untrained, nothing.

    Args:
        asking: Length of a row that asks.
        telling: Length of a row that is asked.
        hidden: Length of what is compared, and of what is told.
    """

    def __init__(self, asking: int, telling: int, hidden: int) -> None:
        super().__init__()
        self.asks, self.answers = nn.Linear(asking, hidden), nn.Linear(telling, hidden)
        self.tells, self.adds = nn.Linear(telling, hidden), nn.Linear(hidden, asking)
        nn.init.zeros_(self.adds.weight)
        nn.init.zeros_(self.adds.bias)

    def forward(
        self, rows: Float[Tensor, "N asking"], others: Float[Tensor, "M telling"]
    ) -> Float[Tensor, "N asking"]:
        """Return the rows with what is added to them."""
        likeness = self.asks(rows).float() @ self.answers(others).float().T
        shares = (likeness / math.sqrt(self.asks.out_features)).softmax(dim=1)
        told: Tensor = self.adds(shares @ self.tells(others).float())
        return rows + told


class InstanceGuidedNet(QueryGuidedNet):
    """A detector that is given the query.

    Args:
        local: Relation of the people of a picture.
        whole: Relation of the query and the scene.
        parts: Those of :class:`QueryGuidedNet`, in its order.
    """

    def __init__(self, local: Relation, whole: Relation, *parts: Any) -> None:
        super().__init__(*parts)
        self.local, self.whole = local, whole

    def related(
        self,
        query: Float[Tensor, "Q D"],
        people: Float[Tensor, "K D"],
        scene: Float[Tensor, "C H W"],
    ) -> tuple[Float[Tensor, "Q D"], Float[Tensor, "K D"]]:
        """Let people know of each other, and the query of the scene."""
        return self.whole(query, scene.flatten(1).T), self.local(people, people)


class IGPNDetector(System):
    """OIM-base with Siamese proposals, relations, and a similarity that is learnt."""

    Options: ClassVar[type] = IGPNOptions

    def assemble(
        self,
        transform: PictureTransform,
        backbone: Backbone,
        rpn: ProposalNetwork,
        region_heads: RegionHeads,
    ) -> InstanceGuidedNet:
        """Put the parts together, and what looks at pairs beside them."""
        options: IGPNOptions = self.options
        channels, dim = backbone.trunk.out_channels, self.config.embedding_dim
        (n_anchors,) = rpn.anchors.num_anchors_per_location()
        return InstanceGuidedNet(
            Relation(dim, dim, options.channels),
            Relation(dim, channels, options.channels),
            transform,
            backbone.trunk,
            SiameseProposals(rpn, channels, n_anchors, options),
            region_heads,
            self.pool(),
            [],
            SimilarityHead(dim),
            (options.query_score_weight, options.similarity_weight),
        )


def cross_correlation(
    maps: Float[Tensor, "P C H W"], kernels: Float[Tensor, "P C k k"]
) -> Float[Tensor, "P C H W"]:
    """Move a kernel over its own map, channel by channel, and take the mean of the products.

    Args:
        maps: What is searched; zeros lie around it.
        kernels: What is looked for, with an odd side.
    """
    n, channels, height, width = maps.shape
    side = kernels.shape[-1]
    if n == 0:  # a convolution has at least one group
        return maps * kernels.sum()
    found = conv2d(
        maps.reshape(1, n * channels, height, width),
        kernels.reshape(n * channels, 1, side, side).to(maps),
        padding=side // 2,
        groups=n * channels,
    )
    return found.view(n, channels, height, width) / side**2
