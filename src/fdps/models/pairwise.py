"""Networks that look at two pictures at once: where the person who is sought is, and how surely.

What such a network says of a picture depends on who is looked for, so that every pair of a query
and a gallery picture needs a pass of its own. By itself it is a :class:`PersonSearchNet` like any
other: its plain part finds and embeds people in one picture.

Axes: H and W of a picture, N boxes.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from fdps.models.person_search import PersonSearchNet
from fdps.models.transform import Size


class Begun(NamedTuple):
    """A picture, computed as far as no other picture matters."""

    maps: Float[Tensor, "1 _ _ _"]
    """Of the last stage that sees one picture alone."""
    size: Size
    """Height and width of the resized picture."""
    padded: Size
    """Height and width that the maps cover."""
    given: Size
    """Height and width of the given picture."""


class PairwiseNet(PersonSearchNet, ABC):
    """A network that compares a person in one picture with the people of another."""

    @abstractmethod
    def begin(self, image: Float[Tensor, "3 H W"]) -> Begun:
        """Compute what every pair with this picture shares."""

    @abstractmethod
    def compare(self, query: Begun, box: Float[Tensor, " 4"], gallery: Begun) -> dict[str, Tensor]:
        """Look for a person of one picture in another.

        Args:
            query: The picture that shows the person.
            box: The person, in pixels of that picture as it was given.
            gallery: The picture to search.

        Returns:
            ``boxes`` (N, 4) in pixels of the gallery picture as it was given, ``scores`` (N,) of
            the detector, and ``similarities`` (N,) in [0, 1]; best score first.
        """
