"""What the networks return: named tuples whose fields say what they hold.

Axes: N boxes or people, D embedding dimension.
"""

from typing import NamedTuple

from jaxtyping import Float, Int64
from torch import Tensor

DetectedTensors = dict[str, Tensor]
"""One picture: ``boxes`` (N, 4), ``scores`` (N,), ``embeddings`` (N, D), best first."""


class MeanLoss(NamedTuple):
    """A loss that is a mean over samples.

    The mean over several batches is the mean of their means, each weighted by its ``n_samples``.
    """

    value: Float[Tensor, ""]
    """The mean; 0 with a zero gradient where there is no sample."""
    n_samples: Int64[Tensor, ""]
    """Anchors, regions or labelled people."""


class EmbeddedPeople(NamedTuple):
    """The people of a batch that a re-ID loss has to remember; no gradient."""

    embeddings: Float[Tensor, "N D"]
    """One unit row per sampled region that shows a person."""
    person_ids: Int64[Tensor, " N"]
    """The identity of each row in 0..L-1, or -1 for a person without one."""
    overlaps: Float[Tensor, " N"]
    """Intersection over union of each region with the box of its person, in [0, 1]."""


class RegionOutputs(NamedTuple):
    """What the sampled regions of a batch teach; the embeddings have their gradient.

    Rows are the regions that show a person, and those that show nobody as well where the re-ID loss
    sees background.
    """

    losses: dict[str, MeanLoss]
    """Every loss of the region heads by its name, not yet weighted."""
    reid_terms: dict[str, Tensor]
    """The terms of the re-ID loss, for the log; no gradient."""
    embeddings: Float[Tensor, "N D"]
    """One unit row per region."""
    person_ids: Int64[Tensor, " N"]
    """The identity of each row, -1 for a person without one, ``BACKGROUND_ID`` for nobody."""
    overlaps: Float[Tensor, " N"]
    """Intersection over union with the box of the person, in [0, 1]; 0 for nobody."""
    people: Int64[Tensor, " N"]
    """Which of all annotated people of the batch each row shows, -1 for nobody."""

    def remembered(self) -> EmbeddedPeople:
        """Return what a re-ID loss has to remember, without the gradient."""
        return EmbeddedPeople(self.embeddings.detach(), self.person_ids, self.overlaps)


class TrainingOutputs(NamedTuple):
    """What one batch teaches."""

    losses: dict[str, MeanLoss]
    """Every loss by its name, not yet weighted; ``reid`` is among them."""
    reid_terms: dict[str, Tensor]
    """The terms of the re-ID loss, for the log; no gradient."""
    people: EmbeddedPeople
    """What the criterion has to remember once the step is taken."""
