"""An embedder that sees damaged pictures, and the files of what it finds."""

import numpy as np
from jaxtyping import Float32

from fdps.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from fdps.structures import Boxes, Detections, Embedder, Picture

_PREFIX, _SUFFIX = "corrupted-", ".safetensors"


class Corrupted:
    """An embedder that sees every picture damaged; a :class:`~fdps.structures.Embedder`.

    Args:
        embedder: Finds and embeds people.
        name: The corruption.
        severity: 1 to 5.
    """

    def __init__(self, embedder: Embedder, name: str, severity: int) -> None:
        self._embedder, self._name, self._severity = embedder, name, severity
        self.model_hash, self.dim = embedder.model_hash, embedder.dim

    def detect(self, image: Picture) -> Detections:
        """Find and embed everybody in the damaged picture."""
        return self._embedder.detect(corrupt(image, self._name, self._severity))

    def embed(self, image: Picture, boxes: Boxes) -> Float32[np.ndarray, "N D"]:
        """Embed given people of the damaged picture."""
        return self._embedder.embed(corrupt(image, self._name, self._severity), boxes)


def file_of(name: str, severity: int) -> str:
    """Name the predictions file of a corruption."""
    return f"{_PREFIX}{name}-{severity}{_SUFFIX}"


def corruption_of(file: str) -> tuple[str, int] | None:
    """Read the name of a predictions file back.

    Example:
        >>> corruption_of("corrupted-fog-3.safetensors"), corruption_of("predictions.safetensors")
        (('fog', 3), None)
    """
    if not file.startswith(_PREFIX):
        return None
    name, _, severity = file.removeprefix(_PREFIX).removesuffix(_SUFFIX).rpartition("-")
    return name, int(severity)


def files() -> tuple[str, ...]:
    """Name the predictions files of all corruptions."""
    return tuple(file_of(name, severity) for name in CORRUPTIONS for severity in SEVERITIES)
