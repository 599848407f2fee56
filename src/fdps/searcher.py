"""The object that users hold: a trained network that finds and embeds people in pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from fdps.devices import check_device, keep_freed_memory
from fdps.models import PersonSearchNet
from fdps.models.pairwise import Begun, PairwiseNet
from fdps.models.weights import load_weights
from fdps.query import (
    AnyPicture,
    QueryPerson,
    boxes_inside,
    check_min_score,
    choose_person,
    pixels_of,
)
from fdps.structures import Boxes, Compared, Detections, Picture, RegionLimits
from fdps.weights_file import WEIGHTS_FILE as WEIGHTS_FILE
from fdps.weights_file import weights_file as weights_file


class PersonSearcher:
    """A network ready to search with; an :class:`~fdps.structures.Embedder`.

    Args:
        model: In evaluation mode.
        model_hash: Names the weights.
        min_score: Detections below are dropped, in [0, 1]; the default is that of the network's
            recipe.

    Raises:
        UsageError: The score is not in [0, 1].
    """

    def __init__(
        self, model: PersonSearchNet, model_hash: str, *, min_score: float | None = None
    ) -> None:
        check_min_score(min_score)
        self._model = model
        self.model_hash = model_hash
        if min_score is not None:
            model.roi_heads.min_score = min_score

    @property
    def network(self) -> PersonSearchNet:
        """The network itself."""
        return self._model

    @property
    def min_score(self) -> float:
        """Detections below are dropped, in [0, 1]."""
        return self._model.roi_heads.min_score

    @property
    def regions(self) -> RegionLimits:
        """Which proposals are looked at; those of the recipe to begin with, and may be changed.

        They decide who is found and how long it takes, not what an embedding of a region is.
        """
        rpn = self._model.rpn
        return RegionLimits(rpn.min_score, rpn.test_nms_iou)

    @regions.setter
    def regions(self, limits: RegionLimits) -> None:
        self._model.rpn.min_score = limits.min_score
        self._model.rpn.test_nms_iou = limits.max_iou

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self._model.roi_heads.heads.embedding.dim

    def detect(self, image: AnyPicture) -> Detections:
        """Find and embed everybody.

        Args:
            image: RGB array, picture of Pillow, or a file.

        Raises:
            PictureError: The file cannot be decoded.
        """
        return self.detect_batch([pixels_of(image)])[0]

    def detect_batch(self, images: Sequence[Picture]) -> list[Detections]:
        """Find and embed everybody in several pictures at once, which keeps a GPU busy.

        Args:
            images: RGB arrays, which give what they give alone, up to rounding. Those of one size
                are looked at together, others one after another.
        """
        if not images:
            return []
        return [
            Detections(
                boxes=_array(found["boxes"]),
                scores=_array(found["scores"]),
                embeddings=_array(found["embeddings"]),
            )
            for found in self._model.detect([self._tensor(image) for image in images])
        ]

    def embed(self, image: AnyPicture, boxes: Boxes) -> Float32[np.ndarray, "N D"]:
        """Embed given people; nobody else is looked for.

        Raises:
            UsageError: A box has no area inside the picture.
        """
        pixels = pixels_of(image)
        inside = boxes_inside(pixels, boxes)
        given = torch.from_numpy(inside).float().to(self._device)
        return _array(self._model.embed([self._tensor(pixels)], [given])[0])

    def query(
        self,
        image: AnyPicture,
        *,
        box: tuple[float, float, float, float] | None = None,
        point: tuple[float, float] | None = None,
    ) -> QueryPerson:
        """Choose the person to look for.

        Args:
            image: RGB array, picture of Pillow, or a file.
            box: The person, drawn by hand.
            point: A pixel on the person; the smallest detection around it is taken. Without box
                and point the picture must show one person.

        Raises:
            UsageError: Nobody is there, or several people are and none was chosen.
        """
        return choose_person(self, pixels_of(image), box=box, point=point)

    @torch.inference_mode()
    def n_regions(self, image: AnyPicture, limits: Sequence[RegionLimits]) -> list[int]:
        """Count the proposals of a picture that would be looked at under each of several limits."""
        before, net = self.regions, self._model
        batch, _ = net.transform([self._tensor(pixels_of(image))], None)
        features, counts = net.features(batch), []
        try:
            for self.regions in limits:
                proposed = net.rpn(features, batch.image_sizes, batch.tensors.shape[-2:])
                counts.append(len(proposed.boxes[0]))
        finally:
            self.regions = before
        return counts

    @property
    def _device(self) -> torch.device:
        return next(self._model.parameters()).device

    def _tensor(self, pixels: Picture) -> Tensor:
        # Torch takes neither read-only arrays nor mirrored views such as bgr[..., ::-1].
        return torch.from_numpy(pixels.copy()).to(self._device).permute(2, 0, 1).float() / 255


class PairSearcher(PersonSearcher):
    """A network that looks at pairs of pictures; a :class:`~fdps.structures.PairEmbedder`.

    Without a query it finds and embeds people as any other does.

    Args:
        model: In evaluation mode.
        model_hash: Names the weights.
        min_score: Detections below are dropped, in [0, 1]; the default is that of the network's
            recipe.

    Raises:
        UsageError: The score is not in [0, 1].
    """

    def __init__(
        self, model: PairwiseNet, model_hash: str, *, min_score: float | None = None
    ) -> None:
        super().__init__(model, model_hash, min_score=min_score)
        self._pairwise = model

    def sought(
        self, image: AnyPicture, box: Float32[np.ndarray, " 4"]
    ) -> tuple[Begun, Float32[np.ndarray, " 4"]]:
        """Compute what all pairs with a query share.

        Raises:
            UsageError: The box has no area inside the picture.
        """
        pixels = pixels_of(image)
        return self.begun(pixels), boxes_inside(pixels, box[None])[0]

    def begun(self, image: AnyPicture) -> Begun:
        """Compute what all pairs with a gallery picture share."""
        return self._pairwise.begin(self._tensor(pixels_of(image)))

    def compare(self, sought: tuple[Begun, Float32[np.ndarray, " 4"]], begun: Begun) -> Compared:
        """Look for a person in a picture."""
        query, box = sought
        given = torch.from_numpy(box).float().to(self._device)
        found = self._pairwise.compare(query, given, begun)
        return Compared(
            boxes=_array(found["boxes"]),
            scores=_array(found["scores"]),
            similarities=_array(found["similarities"]),
        )


def searcher_of(
    model: PersonSearchNet, model_hash: str, *, min_score: float | None = None
) -> PersonSearcher:
    """Hold a network in the way that fits it; the arguments are those of the searcher."""
    if isinstance(model, PairwiseNet):
        return PairSearcher(model, model_hash, min_score=min_score)
    return PersonSearcher(model, model_hash, min_score=min_score)


def load(
    path: Path | str, *, min_score: float | None = None, device: str = "cpu"
) -> PersonSearcher:
    """Load a trained network.

    Args:
        path: A run folder, a weights file, or the name of weights that come with fdps:
            ``street-people`` or ``drawn-people``.
        min_score: Detections below are dropped; the default is that of the network's recipe.
        device: Device to run on, as :func:`~fdps.devices.check_device` takes it.

    Raises:
        MissingDataError: There are no weights.
        ModelError: The file is not a weights file of fdps.
        UsageError: The device is not here, or the score is not in [0, 1].
    """
    check_min_score(min_score)
    place = check_device(device)
    if place == "cpu":
        keep_freed_memory()
    model, model_hash = load_weights(weights_file(path))
    return searcher_of(model.to(place), model_hash, min_score=min_score)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.float().cpu().numpy()
