"""Who takes part in a measurement, in a form that can be sent to another process.

This module imports nothing that computes: the process that opens an entrant first says how many
threads there are, and libraries read that when they are loaded.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from fdps.export.stages import Look


@runtime_checkable
class Opened(Protocol):
    """An entrant, ready to look at pictures."""

    def look(self, picture: Path) -> "Look":
        """Look at a picture, and return the seconds of every stage."""

    def count(self, picture: Path) -> "Look":
        """Look at a picture, and return the operations of every stage."""


@runtime_checkable
class Entrant(Protocol):
    """Somebody who takes part."""

    def open(self) -> Opened:
        """Load it; this runs in the process of the entrant."""


@dataclass(frozen=True)
class OurModel:
    """A model of fdps.

    Args:
        place: As :func:`fdps.embedders.load` takes it.
    """

    place: str

    def open(self) -> Opened:
        """Load the model."""
        from fdps.bench.ours import OpenedModel

        return OpenedModel(self.place)


@dataclass(frozen=True)
class PublicModel:
    """A network of other people's code.

    Args:
        folder: That code.
        system: The network, as :data:`fdps.bench.public.SYSTEMS` calls it.
        config: A file of settings of that code.
        checkpoint: Its weights; random ones without.
    """

    folder: Path
    system: str
    config: Path | None = None
    checkpoint: Path | None = None

    def open(self) -> Opened:
        """Import that code, and build the network."""
        from fdps.bench.public import OpenedPublic

        return OpenedPublic(self)


@dataclass(frozen=True)
class MatrixProduct:
    """A product of two matrices, whose speed is the peak that models are compared with."""

    def open(self) -> Opened:
        """Make the matrices."""
        from fdps.bench.product import OpenedProduct

        return OpenedProduct()
