"""Networks of fdps as the parts of a two-step model: any of them finds people for another."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from fdps.devices import check_device, keep_freed_memory
from fdps.embedders.licences import check_licence, licence_of
from fdps.embedders.places import is_card
from fdps.query import Searcher
from fdps.runtime.two_step import Describer, Detector
from fdps.structures import Boxes, Compared, Detections, PairEmbedder, Picture

if TYPE_CHECKING:
    from fdps.runtime.card import Card


class NetworkDetector:
    """A whole model as a detector; whom it takes people for is left, unless somebody asks.

    Args:
        searcher: The model.
        model_hash: Names the weights and the settings; by default the model's own name.
    """

    def __init__(self, searcher: Searcher, model_hash: str = "") -> None:
        self.searcher, self.model_hash = searcher, model_hash or searcher.model_hash

    @property
    def min_score(self) -> float | None:
        """Least score of a detection, in [0, 1]; ``None`` where the model does not tell."""
        return getattr(self.searcher, "min_score", None)

    def find(self, image: Picture) -> tuple[Boxes, Float32[np.ndarray, " N"]]:
        """Return boxes inside the picture, and their scores in falling order."""
        found = self.detect(image)
        return found.boxes, found.scores

    def detect(self, image: Picture) -> Detections:
        """Return the same with the model's own embeddings."""
        return self.searcher.detect(image)

    def embed(self, image: Picture, boxes: Boxes) -> Float32[np.ndarray, "N _"]:
        """Embed given people by the model itself."""
        return self.searcher.embed(image, boxes)


class PairNetworkDetector(NetworkDetector):
    """A pair-wise model as a detector: it looks for the query in each picture anew.

    Args:
        searcher: The model.
        model_hash: Names the weights and the settings; by default the model's own name.
    """

    def __init__(self, searcher: Searcher, model_hash: str = "") -> None:
        super().__init__(searcher, model_hash)
        assert isinstance(searcher, PairEmbedder)
        self._pairs: PairEmbedder = searcher

    def sought(self, image: Picture, box: Float32[np.ndarray, " 4"]) -> Any:
        """Compute what all pairs with a query share."""
        return self._pairs.sought(image, box)

    def begun(self, image: Picture) -> Any:
        """Compute what all pairs with a gallery picture share."""
        return self._pairs.begun(image)

    def compare(self, sought: Any, begun: Any) -> Compared:
        """Look for a person in a picture."""
        return self._pairs.compare(sought, begun)


def _as_detector(searcher: Searcher, model_hash: str = "") -> NetworkDetector:
    is_pairwise = isinstance(searcher, PairEmbedder)
    return (PairNetworkDetector if is_pairwise else NetworkDetector)(searcher, model_hash)


def load_detector(place: Path, *, min_score: float | None = None, device: str = "cpu") -> Detector:
    """Load what finds people: the detector of a card, or any other model.

    Args:
        place: A place that :func:`~fdps.embedders.find_model` returns.
        min_score: Least score of a detection, in [0, 1]; the default is that of the recipe or card.
        device: The device to run on.

    Raises:
        MissingDataError: It is not there.
        ModelError: It is no such model, or it finds no people.
        UsageError: A package is missing, or the device is not here.
    """
    if is_card(place):
        from fdps.runtime.card import load_card_detector

        card = _allowed_card(place)
        return load_card_detector(
            card, place.parent, min_score=min_score, device=device, networks=Networks()
        )
    return _as_detector(_searcher(place, min_score, device))


def load_describer(place: Path, *, device: str = "cpu") -> Describer:
    """Load what embeds people of a card.

    Args:
        place: A place that :func:`~fdps.embedders.find_model` returns.
        device: The device to run on.

    Raises:
        MissingDataError: It is not there.
        ModelError: It is no card, or what it names is no such network.
    """
    from fdps.runtime.card import load_card_describer

    part = _allowed_card(place).reid
    return load_card_describer(part, place.parent, device=device, networks=Networks())


class Networks:
    """Opens the networks of fdps that a card names; :mod:`fdps.runtime` itself needs no torch."""

    def detector(
        self, path: Path, model_hash: str, *, min_score: float | None, device: str
    ) -> Detector:
        """Open a network as a detector."""
        return _as_detector(_searcher(path, min_score, device), model_hash)

    def describer(self, path: Path, model_hash: str, *, device: str) -> Describer:
        """Open a network on crops."""
        from fdps.describer import CropDescriber
        from fdps.models.weights import load_reid

        net, _ = load_reid(path)
        return CropDescriber(net.to(_place(device)), model_hash)

    def head(self, on: Describer, path: Path, model_hash: str, *, device: str) -> Describer:
        """Open a head on what another network says."""
        from fdps.describer import HeadDescriber
        from fdps.models.weights import load_reid

        net, _ = load_reid(path, n_features=on.dim)
        return HeadDescriber(on, net.to(_place(device)), model_hash)


def _allowed_card(place: Path) -> "Card":
    """Read a card whose licence is allowed here."""
    from fdps.runtime.card import read_card

    card = read_card(place)
    check_licence(licence_of(place), place)
    return card


def _place(device: str) -> str:
    """Check a device, and make this process ready for it."""
    place = check_device(device)
    if place == "cpu":
        keep_freed_memory()
    return place


def _searcher(place: Path, min_score: float | None, device: str) -> Searcher:
    from fdps.embedders import load  # which opens cards by this module

    return load(place, min_score=min_score, device=device)
