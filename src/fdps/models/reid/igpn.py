"""IGPN: a re-ID network behind a detector that is given the query.

Source: Dong et al., Instance guided proposal network for person search, CVPR 2020. What is new is
the detector, :mod:`fdps.models.systems.igpn`, which is trained first and by itself. When somebody
is sought, it looks for that person in every picture anew, and hands on whom it finds at least
``least_likeness`` like the query: :class:`fdps.runtime.guided.PairGuidedTwoStep`. The network on
crops is a plain one.

No code was published. What is from the abstract, and what is decided here, is told in
``docs/concepts/two_step_systems.md``.
"""

from dataclasses import dataclass

from fdps.errors import ConfigError
from fdps.models.reid.plain import PlainReid


@dataclass(frozen=True)
class IGPNOptions:
    """How much like the query a detection has to be for the re-ID network to look at it.

    Args:
        least_likeness: Least similarity by the detector, in [0, 1]; 0 hands everything on.

    Raises:
        ConfigError: The value is outside its range.
    """

    least_likeness: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.least_likeness <= 1:
            raise ConfigError(
                f"recipe key model.options.least_likeness must be in 0..1, got "
                f"{self.least_likeness}"
            )


class IGPN(PlainReid):
    """A plain network behind a detector that looks for the query."""

    Options = IGPNOptions
    guided_by = "pairs"

    @property
    def least_likeness(self) -> float:
        """How much like the query a detection has to look to the detector."""
        likeness: float = self.options.least_likeness
        return likeness
