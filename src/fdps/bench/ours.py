"""A model of fdps that takes part in a measurement, in its own process."""

from pathlib import Path

from fdps.bench.flops import counting
from fdps.embedders import load
from fdps.export.stages import Look, look, parts_of


class OpenedModel:
    """A loaded model.

    Args:
        place: As :func:`fdps.embedders.load` takes it; its errors are those.
    """

    def __init__(self, place: str) -> None:
        self._model = load(place)
        self._parts = parts_of(self._model)

    def look(self, picture: Path) -> Look:
        """Look at a picture, and return the seconds of every stage."""
        return look(self._model, self._parts, picture)

    def count(self, picture: Path) -> Look:
        """Look at a picture, and return the operations of every stage."""
        with counting(self._model) as meter:
            return look(self._model, self._parts, picture, meter)
