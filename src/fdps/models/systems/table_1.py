"""OIM as first published, and the systems of FDPS, Table 1: they differ in the sub-features alone.

Sources: Xiao et al., *Joint detection and identification feature learning for person search*,
section 3.1, for OIM; FDPS, section 3.2 and Table 1, for the others.
"""

from fdps.models.sub_features import (
    Flattened,
    LearnedMarginals,
    MarginalDistribution,
    SharedMean,
    SharedPeak,
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


class FDPS(System):
    """Parameter-free marginals (Table 1 d)."""

    sub_features = MarginalDistribution
