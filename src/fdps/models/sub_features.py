"""How the four tasks get their sub-features: the one object in which Table 1's systems differ.

Axes: R regions, C channels, H rows, W columns. Every vector is flat, ready for a linear layer.
"""

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from fdps.models.decomposition import decompose


class SubFeatures(NamedTuple):
    """One vector per task and region."""

    vertical: Float[Tensor, "R Dv"]
    """Serves ``dy, dh`` of the box."""
    horizontal: Float[Tensor, "R Dh"]
    """Serves ``dx, dw`` of the box."""
    person: Float[Tensor, "R Dp"]
    """Serves person/background."""
    reid: Float[Tensor, "R C"]
    """Serves the embedding."""


class SubFeatureDims(NamedTuple):
    """Lengths of the vectors in :class:`SubFeatures`."""

    vertical: int
    horizontal: int
    person: int
    reid: int


class SubFeatureModule(nn.Module, ABC):
    """Hands every task its vector.

    Built from the channels and the height and width of a region map.

    Attributes:
        dims: Lengths of the vectors.
    """

    dims: SubFeatureDims

    @abstractmethod
    def forward(self, features: Float[Tensor, "R C H W"]) -> SubFeatures:
        """Take the sub-features of every region."""


class SharedPeak(SubFeatureModule):
    """OIM-base: one max-pooled vector serves all tasks (Table 1 a)."""

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.dims = SubFeatureDims(channels, channels, channels, channels)

    def forward(self, features: Float[Tensor, "R C H W"]) -> SubFeatures:
        """Take the same peak four times."""
        peak = features.amax(dim=(2, 3))
        return SubFeatures(peak, peak, peak, peak)


class SharedMean(SubFeatureModule):
    """OIM as first published: one average-pooled vector serves all tasks.

    Source: Xiao et al., Joint detection and identification feature learning for person search,
    section 3.1.
    """

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.dims = SubFeatureDims(channels, channels, channels, channels)

    def forward(self, features: Float[Tensor, "R C H W"]) -> SubFeatures:
        """Take the same mean four times."""
        mean = features.mean(dim=(2, 3))
        return SubFeatures(mean, mean, mean, mean)


class Flattened(SubFeatureModule):
    """Flatten: detection reads the whole map, re-ID its peak (Table 1 b)."""

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        whole = channels * size[0] * size[1]
        self.dims = SubFeatureDims(whole, whole, whole, channels)

    def forward(self, features: Float[Tensor, "R C H W"]) -> SubFeatures:
        """Flatten the map for detection."""
        whole = features.flatten(1)
        return SubFeatures(whole, whole, whole, features.amax(dim=(2, 3)))


class LearnedMarginals(SubFeatureModule):
    """Parameter-base: FDPS with learned instead of equal weights (Table 1 c).

    A 1×1 convolution takes the axis that FDPS averages away as its input channels, so that the
    sub-features have the shapes of FDPS. The paper gives neither the initial weights nor whether
    there is a bias: both are PyTorch's defaults here.
    """

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        H, W = size
        self.over_columns = nn.Conv2d(W, 1, kernel_size=1)
        self.over_rows = nn.Conv2d(H, 1, kernel_size=1)
        self.over_both = nn.Conv2d(H * W, 1, kernel_size=1)
        self.dims = SubFeatureDims(channels * H, channels * W, channels, channels)

    def forward(self, features: Float[Tensor, "R C H W"]) -> SubFeatures:
        """Weigh columns, rows and both."""
        positions = features.flatten(2).permute(0, 2, 1).unsqueeze(3)  # R HW C 1
        return SubFeatures(
            self.over_columns(features.permute(0, 3, 1, 2)).flatten(1),  # R W C H -> R C·H
            self.over_rows(features.permute(0, 2, 1, 3)).flatten(1),  # R H C W -> R C·W
            self.over_both(positions).flatten(1),
            features.amax(dim=(2, 3)),
        )


class MarginalDistribution(SubFeatureModule):
    """FDPS: the parameter-free decomposition of Eq. 2-5 (Table 1 d).

    Args:
        channels: Channels of a region map.
        size: Its height and width.
        person_from: What person/background reads: the mean of Eq. 5, or the peak of Eq. 4, which
            it then shares with re-ID.
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        *,
        person_from: Literal["mean", "peak"] = "mean",
    ) -> None:
        super().__init__()
        self.person_from = person_from
        self.dims = SubFeatureDims(channels * size[0], channels * size[1], channels, channels)

    def forward(self, features: Float[Tensor, "R C H W"]) -> SubFeatures:
        """Hand every task its marginal."""
        rows, cols, mean, peak = decompose(features)
        person = mean if self.person_from == "mean" else peak
        return SubFeatures(rows.flatten(1), cols.flatten(1), person, peak)
