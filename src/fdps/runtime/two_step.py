"""Person search in two steps: a detector, then a description of every crop.

It is what one would put together from parts today, and the baseline that one network has to beat.
The parts are any :class:`Detector` and any :class:`Describer`. :mod:`fdps.runtime.yolox`,
:mod:`fdps.runtime.detr` and :mod:`fdps.runtime.reid` are such parts, and :mod:`fdps.runtime.card`
joins two of them as a file says.

Axes: N people, D length of an embedding.
"""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from fdps.query import AnyPicture, QueryPerson, boxes_inside, choose_person, pixels_of
from fdps.runtime.network_input import digest_of
from fdps.runtime.reid import ReidNetwork
from fdps.runtime.yolox import YoloxDetector, YoloxSettings
from fdps.structures import Boxes, Compared, Detections, Picture


@runtime_checkable
class Detector(Protocol):
    """A part that finds people."""

    @property
    def model_hash(self) -> str:
        """Hash that identifies the weights and the settings."""

    def find(self, image: Picture) -> tuple[Boxes, Float32[np.ndarray, " N"]]:
        """Return boxes inside the picture, and their scores in falling order."""


@runtime_checkable
class IdentityDetector(Detector, Protocol):
    """A detector that also says whom people look like, in embeddings of its own."""

    def detect(self, image: Picture) -> Detections:
        """Return what :meth:`find` does, with embeddings."""

    def embed(self, image: Picture, boxes: Boxes) -> Float32[np.ndarray, "N _"]:
        """Embed given people."""


@runtime_checkable
class PairDetector(Detector, Protocol):
    """A detector that looks at two pictures at once, as :class:`~fdps.structures.PairEmbedder`."""

    def sought(self, image: Picture, box: Float32[np.ndarray, " 4"]) -> Any:
        """Compute what all pairs with a query share."""

    def begun(self, image: Picture) -> Any:
        """Compute what all pairs with a gallery picture share."""

    def compare(self, sought: Any, begun: Any) -> Compared:
        """Look for a person in a picture."""


@runtime_checkable
class Describer(Protocol):
    """A part that describes crops, so that crops of one person are alike."""

    @property
    def model_hash(self) -> str:
        """Hash that identifies the weights and the settings."""

    @property
    def dim(self) -> int:
        """Length of a description."""

    def embed(self, image: Picture, boxes: Boxes) -> Float32[np.ndarray, "N D"]:
        """Return rows of unit length, one per box."""


class TwoStep:
    """An embedder made of a detector and a describer.

    Args:
        detector: Part that finds people.
        describer: Part that describes them.
    """

    def __init__(self, detector: Detector, describer: Describer) -> None:
        self.detector = detector
        self.describer = describer

    @property
    def model_hash(self) -> str:
        """Hash that identifies both parts."""
        return joined_hash(self.detector.model_hash, self.describer.model_hash)

    @property
    def min_score(self) -> float | None:
        """Least score of a detection, in [0, 1]; ``None`` where the detector does not tell."""
        return getattr(self.detector, "min_score", None)

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.describer.dim

    def detect(self, image: AnyPicture) -> Detections:
        """Find and embed everybody in an RGB array, a picture of Pillow, or a file."""
        pixels = pixels_of(image)
        boxes, scores = self.detector.find(pixels)
        return Detections(boxes, scores, self.describer.embed(pixels, boxes))

    def embed(self, image: AnyPicture, boxes: Boxes) -> Float32[np.ndarray, "N D"]:
        """Embed given people, without looking for others.

        Raises:
            UsageError: A box has no area inside the picture.
        """
        pixels = pixels_of(image)
        return self.describer.embed(pixels, boxes_inside(pixels, boxes))

    def query(
        self,
        image: AnyPicture,
        *,
        box: tuple[float, float, float, float] | None = None,
        point: tuple[float, float] | None = None,
    ) -> QueryPerson:
        """Choose the person to look for, as :func:`~fdps.query.choose_person` does."""
        return choose_person(self, pixels_of(image), box=box, point=point)


def load_two_step(
    detector: Path, reid: Path, *, min_score: float = 0.3, threads: int = 1
) -> TwoStep:
    """Join a YOLOX detector and a re-ID network whose settings are the usual ones.

    Raises:
        MissingDataError: A file is not there.
        ModelError: A file is not such a network.
        UsageError: onnxruntime is not installed.
    """
    return TwoStep(
        YoloxDetector(detector, YoloxSettings(min_score=min_score), threads=threads),
        ReidNetwork(reid, threads=threads),
    )


def joined_hash(detector: str, describer: str) -> str:
    """Name a pair of parts by their hashes."""
    return digest_of(detector.encode(), describer.encode())
