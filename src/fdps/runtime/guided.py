"""Two steps of which the first one knows who is sought: it hands on what looks like the query.

Without a query such a model is the plain pair of its parts. With one, every detection is compared
twice: by the detector's own embedding, which decides whether it is handed on, and by that of the
re-ID network, which ranks it. Both are computed once per picture; a pair costs two inner products.

Axes: N people, D length of an embedding.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from fdps.query import AnyPicture, boxes_inside, pixels_of
from fdps.runtime.network_input import digest_of
from fdps.runtime.two_step import Describer, IdentityDetector, TwoStep
from fdps.structures import Boxes, Compared


@dataclass(frozen=True)
class Guidance:
    """The section ``[guidance]`` of a card: how the query guides the detector."""

    min_similarity: float = 0.2
    """Least inner product of the detector's embeddings of a detection and the query, in [-1, 1]."""


class Sought(NamedTuple):
    """A query, as either part sees it."""

    to_detector: Float32[np.ndarray, " _"]
    to_describer: Float32[np.ndarray, " D"]


class Begun(NamedTuple):
    """The people of a picture, as either part sees them; best score first."""

    boxes: Boxes
    scores: Float32[np.ndarray, " N"]
    by_detector: Float32[np.ndarray, "N _"]
    by_describer: Float32[np.ndarray, "N D"]


class GuidedTwoStep(TwoStep):
    """A :class:`~fdps.structures.PairEmbedder` made of a detector that embeds, and a describer.

    Args:
        detector: Part that finds people and says whom they look like.
        describer: Part that describes them.
        guidance: How the query guides the detector.
    """

    def __init__(
        self, detector: IdentityDetector, describer: Describer, guidance: Guidance
    ) -> None:
        super().__init__(detector, describer)
        self._seer, self.guidance = detector, guidance

    @property
    def model_hash(self) -> str:
        """Hash that identifies both parts and the guidance."""
        return guided_hash(super().model_hash, self.guidance)

    def sought(self, image: AnyPicture, box: Float32[np.ndarray, " 4"]) -> Sought:
        """Compute what all pairs with a query share.

        Raises:
            UsageError: The box has no area inside the picture.
        """
        pixels = pixels_of(image)
        inside = boxes_inside(pixels, box[None])
        return Sought(self._seer.embed(pixels, inside)[0], self.describer.embed(pixels, inside)[0])

    def begun(self, image: AnyPicture) -> Begun:
        """Find the people of a picture, and describe them in both ways."""
        pixels = pixels_of(image)
        found = self._seer.detect(pixels)
        described = self.describer.embed(pixels, found.boxes)
        return Begun(found.boxes, found.scores, found.embeddings, described)

    def compare(self, sought: Sought, begun: Begun) -> Compared:
        """Keep who looks like the query to the detector, and compare them by the re-ID network."""
        is_like = _product(begun.by_detector, sought.to_detector) >= self.guidance.min_similarity
        alike = _product(begun.by_describer[is_like], sought.to_describer)
        return Compared(begun.boxes[is_like], begun.scores[is_like], alike)


def guided_hash(plain: str, guidance: Guidance) -> str:
    """Name a guided model by the pair of its parts and by the guidance."""
    return digest_of(plain.encode(), f"{guidance.min_similarity}".encode())


def _product(
    rows: Float32[np.ndarray, "N _"], row: Float32[np.ndarray, " _"]
) -> Float32[np.ndarray, " N"]:
    """Return inner products, rounded as in every search of fdps."""
    return np.asarray((rows.astype(np.float64) @ row.astype(np.float64)).astype(np.float32))
