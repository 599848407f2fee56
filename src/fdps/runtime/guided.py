"""Two steps of which the first one knows who is sought: it hands on what looks like the query.

Without a query such a model is the plain pair of its parts. With one, every detection is compared
twice: by the detector, which decides whether it is handed on, and by the re-ID network, which ranks
it. Where the detector compares embeddings, both are computed once per picture, and a pair costs two
inner products. Where it looks at the pair, it runs anew for every pair, and the re-ID network on
whom it hands on.

Axes: N people, D length of an embedding.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float32

from fdps.errors import ModelError
from fdps.query import AnyPicture, boxes_inside, pixels_of
from fdps.runtime.network_input import digest_of
from fdps.runtime.two_step import (
    Describer,
    Detector,
    IdentityDetector,
    PairDetector,
    TwoStep,
)
from fdps.structures import Boxes, Compared, Picture


@dataclass(frozen=True)
class Guidance:
    """The section ``[guidance]`` of a card: how the query guides the detector."""

    min_similarity: float = 0.2
    """Least similarity of a detection and the query by the detector, in [-1, 1]."""
    by: Literal["embeddings", "pairs"] = "embeddings"
    """The similarity is the inner product of embeddings, or that of a look at the pair."""


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


class _Guided(TwoStep):
    """A pair of parts of which the query guides the first.

    Args:
        detector: Part that finds people.
        describer: Part that describes them.
        guidance: How the query guides the detector.
    """

    def __init__(self, detector: Detector, describer: Describer, guidance: Guidance) -> None:
        super().__init__(detector, describer)
        self.guidance = guidance

    @property
    def model_hash(self) -> str:
        """Hash that identifies both parts and the guidance."""
        return guided_hash(super().model_hash, self.guidance)


class GuidedTwoStep(_Guided):
    """A :class:`~fdps.structures.PairEmbedder` made of a detector that embeds, and a describer.

    Args:
        detector: Part that finds people and says whom they look like.
        describer: Part that describes them.
        guidance: How the query guides the detector.
    """

    def __init__(
        self, detector: IdentityDetector, describer: Describer, guidance: Guidance
    ) -> None:
        super().__init__(detector, describer, guidance)
        self._seer = detector

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


class PairSought(NamedTuple):
    """A query, as a detector that looks at pairs prepares it, and as the re-ID network sees it."""

    by_detector: Any
    to_describer: Float32[np.ndarray, " D"]


class PairBegun(NamedTuple):
    """A picture, and what the detector computes of it whoever is sought."""

    pixels: Picture
    by_detector: Any


class PairGuidedTwoStep(_Guided):
    """A :class:`~fdps.structures.PairEmbedder` made of one that detects, and a describer.

    Args:
        detector: Part that looks for a person in a picture.
        describer: Part that describes whom it hands on.
        guidance: How the query guides the detector.
    """

    def __init__(self, detector: PairDetector, describer: Describer, guidance: Guidance) -> None:
        super().__init__(detector, describer, guidance)
        self._looker = detector

    def sought(self, image: AnyPicture, box: Float32[np.ndarray, " 4"]) -> PairSought:
        """Compute what all pairs with a query share.

        Raises:
            UsageError: The box has no area inside the picture.
        """
        pixels = pixels_of(image)
        inside = boxes_inside(pixels, box[None])
        described = self.describer.embed(pixels, inside)[0]
        return PairSought(self._looker.sought(pixels, inside[0]), described)

    def begun(self, image: AnyPicture) -> PairBegun:
        """Compute what all pairs with a picture share."""
        pixels = pixels_of(image)
        return PairBegun(pixels, self._looker.begun(pixels))

    def compare(self, sought: PairSought, begun: PairBegun) -> Compared:
        """Let the detector look for the query, and describe and compare whom it hands on."""
        found = self._looker.compare(sought.by_detector, begun.by_detector)
        is_like = found.similarities >= self.guidance.min_similarity
        described = self.describer.embed(begun.pixels, found.boxes[is_like])
        alike = _product(described, sought.to_describer)
        return Compared(found.boxes[is_like], found.scores[is_like], alike)


def guided(detector: Detector, describer: Describer, guidance: Guidance) -> TwoStep:
    """Join two parts of which the query guides the first, as the guidance says.

    Raises:
        ModelError: The detector cannot tell what the guidance asks of it.
    """
    if guidance.by == "pairs":
        if isinstance(detector, PairDetector):
            return PairGuidedTwoStep(detector, describer, guidance)
        raise ModelError(
            "[guidance] asks the detector to look for the query, and this one sees each picture "
            "alone",
            hint="take a pair-wise network of fdps, such as igpn_detector, or guidance.by = "
            "'embeddings'",
        )
    if isinstance(detector, IdentityDetector):
        return GuidedTwoStep(detector, describer, guidance)
    raise ModelError(
        "[guidance] asks the detector whom people look like, and this one cannot tell",
        hint="take a network of fdps (detector.kind = 'network'), or leave [guidance] out",
    )


def guided_hash(plain: str, guidance: Guidance) -> str:
    """Name a guided model by the pair of its parts and by the guidance."""
    by = "" if guidance.by == "embeddings" else f" {guidance.by}"
    return digest_of(plain.encode(), f"{guidance.min_similarity}{by}".encode())


def _product(
    rows: Float32[np.ndarray, "N _"], row: Float32[np.ndarray, " _"]
) -> Float32[np.ndarray, " N"]:
    """Return inner products, rounded as in every search of fdps."""
    return np.asarray((rows.astype(np.float64) @ row.astype(np.float64)).astype(np.float32))
