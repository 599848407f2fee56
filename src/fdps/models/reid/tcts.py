r"""TCTS: the detector keeps what looks like the query, and re-ID learns from what is detected.

Source: Wang et al., TCTS: A task-consistent two-stage framework for person search, CVPR 2020.

The two steps of other systems do not know each other's task. The detector looks for anybody, though
one person is sought; and the re-ID network is trained on boxes drawn by hand, which it never sees
when it is used. TCTS mends both:

* **Identity-guided query (IDGQ) detector.** It has an identity branch of its own, as every network
  of fdps has. When somebody is sought, only detections are handed on that this branch finds like
  the query: :class:`fdps.runtime.guided.GuidedTwoStep`, with ``least_likeness``.
* **Detection-results-adapted (DRA) re-ID network.** It is trained on a mixed set of annotated and
  detected boxes (``model.boxes = "both"``), with labels as sure as the boxes are: a detection is
  labelled as the person whom it overlaps, as surely as it overlaps that person, and a detection
  that shows nobody belongs evenly to all identities.

.. math:: L = -\frac1N \sum_i \sum_{l=1}^{L} q_{il} \log p_{il}, \qquad
    q_{il} = c_i \, [l = t_i] + \frac{1 - c_i}{L}, \qquad
    c_i = (1 - \epsilon) \cdot \mathrm{IoU}_i

People without identity take no part: they may be one of the training identities.

No code was published. What is from memory of the paper, and what is decided here, is told in
``docs/concepts/two_step_systems.md``.

Axes: N crops, L identities.
"""

from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor

from fdps.config import LossConfig
from fdps.errors import ConfigError
from fdps.losses import Criterion, identity_loss
from fdps.models.backbone import Backbone
from fdps.models.reid.network import People, ReidNet, Seen
from fdps.models.reid.plain import PlainReid
from fdps.structures import UNLABELLED


@dataclass(frozen=True)
class TCTSOptions:
    """How much like the query a detection has to be for the re-ID network to look at it.

    Args:
        least_likeness: Least inner product of the detector's own embeddings, in [-1, 1]; -1 hands
            everything on.

    Raises:
        ConfigError: The value is outside its range.
    """

    least_likeness: float = 0.2

    def __post_init__(self) -> None:
        if not -1 <= self.least_likeness <= 1:
            raise ConfigError(
                f"recipe key model.options.least_likeness must be in -1..1, got "
                f"{self.least_likeness}"
            )


class AdaptedNet(ReidNet):
    """A network whose classifier is taught as surely as the boxes are placed."""

    def identities(self, seen: Seen, people: People) -> Float[Tensor, ""] | None:
        """Compute what the classifier misses of soft labels."""
        if self.classifier is None:
            return None
        known = people.ids != UNLABELLED
        return identity_loss(
            self.classifier(seen.rows[known]),
            people.ids[known],
            smoothing=self.config.identity_smoothing,
            certainties=people.overlaps[known],  # 1 of annotated boxes, 0 where nobody is
        )

    def counts(self, people: People, criterion: Criterion) -> dict[str, Int64[Tensor, ""]]:
        """Count what every loss is a mean over: detections of nobody are taught, too."""
        return super().counts(people, criterion) | {"identity": (people.ids != UNLABELLED).sum()}


class TCTS(PlainReid):
    """A network adapted to detections, behind a detector that the query guides."""

    Options = TCTSOptions
    keeps_background = True

    @property
    def least_likeness(self) -> float:
        """How much like the query a detection has to look to the detector."""
        likeness: float = self.options.least_likeness
        return likeness

    def assemble(self, backbone: Backbone, loss: LossConfig, n_persons: int) -> ReidNet:
        """Put the parts together.

        Raises:
            ConfigError: There is no classifier for the soft labels.
        """
        if n_persons and not loss.identity_weight:
            raise ConfigError(
                "recipe key loss.identity_weight is 0, but model.system is 'tcts', which teaches "
                "a classifier soft labels",
                hint="set loss.identity_weight=1",
            )
        return AdaptedNet(*self.parts(backbone, loss), **self.settings(n_persons))
