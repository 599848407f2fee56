"""OIM as first published, and the systems of FDPS, Table 1: they differ in the sub-features alone.

Sources: Xiao et al., *Joint detection and identification feature learning for person search*,
section 3.1, for OIM; FDPS, section 3.2 and Table 1, for the others.
"""

from dataclasses import dataclass
from typing import Literal

from fdps.models.backbone import Backbone
from fdps.models.sub_features import (
    Flattened,
    LearnedMarginals,
    MarginalDistribution,
    SharedMean,
    SharedPeak,
    SubFeatureModule,
)
from fdps.models.systems.system import System


class OIM(System):
    """One average-pooled vector serves all tasks."""

    sub_features = SharedMean


class OIMBase(System):
    """One max-pooled vector serves all tasks (Table 1 a)."""

    sub_features = SharedPeak


class Flatten(System):
    """Detection reads the whole map and re-ID its peak (Table 1 b)."""

    sub_features = Flattened


class ParameterBase(System):
    """Marginals of learned weights (Table 1 c)."""

    sub_features = LearnedMarginals


@dataclass(frozen=True)
class FDPSOptions:
    """What ``model.options`` of an FDPS recipe may say."""

    person_from: Literal["mean", "peak"] = "mean"
    """What person/background reads; the paper has the mean (Eq. 5)."""


class FDPS(System):
    """Parameter-free marginals (Table 1 d)."""

    Options = FDPSOptions
    sub_features = MarginalDistribution

    def task_features(self, backbone: Backbone) -> SubFeatureModule:
        """Build the decomposition."""
        person_from = self.options.person_from
        return MarginalDistribution(
            backbone.region_channels, self.region_map, person_from=person_from
        )
