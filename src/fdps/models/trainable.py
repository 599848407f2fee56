"""What the training loop knows of a network: how it learns from a batch, and of what it is made.

Axes: B samples of a batch.
"""

from abc import ABC, abstractmethod

from jaxtyping import Float, Int64
from torch import Tensor, nn

from fdps.losses import Criterion
from fdps.models.backbone import Trunk
from fdps.models.outputs import TrainingOutputs
from fdps.models.transform import Size

Samples = list[Float[Tensor, "..."]]
"""What a network looks at, one tensor each: pictures, people cut out of them, or their features."""


class TrainableNet(nn.Module, ABC):
    """A network that can be trained.

    Its pieces are its children: ``backbone``, ``rpn`` where it makes proposals, and heads, which
    are all others. They share no parameter.

    Attributes:
        backbone: Samples to feature maps.
    """

    backbone: Trunk

    @abstractmethod
    def forward(
        self,
        images: Samples,
        targets: list[dict[str, Tensor]],
        criterion: Criterion,
        size: Size | None = None,
    ) -> TrainingOutputs:
        """Compute the losses of a training batch.

        Args:
            images: Samples; without any, every loss is 0.
            targets: What each shows.
            criterion: The re-ID loss. It stays as it is until its ``update``.
            size: Pad to this at least: that of the whole batch, of which this one is a part.
        """

    @abstractmethod
    def count(
        self,
        images: Samples,
        targets: list[dict[str, Tensor]],
        criterion: Criterion,
        size: Size | None = None,
    ) -> dict[str, Int64[Tensor, ""]]:
        """Count the samples of every loss of :meth:`forward`, with the same arguments."""

    @abstractmethod
    def size_of(self, images: Samples, targets: list[dict[str, Tensor]]) -> Size:
        """Return the height and width to which a batch is padded; it has at least one sample."""

    def searching_state(self) -> dict[str, Tensor]:
        """Return the tensors that searching needs, by name; by default all."""
        return self.state_dict()

    @property
    @abstractmethod
    def region_heads(self) -> list[nn.Module]:
        """The halves of the backbone that run behind it, for who compiles them."""
