"""Detectors that predict a set of boxes, as ONNX files: RF-DETR, RT-DETR and D-FINE.

They need no suppression of overlaps: each of a fixed number of queries finds another thing or
nothing. Both layouts below squeeze the picture to the size of the input, whatever its shape.

Axes: N people, Q queries, C classes; the input is 1×3×H×W.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float32
from PIL import Image

from fdps.boxes import clip, is_valid
from fdps.errors import ModelError
from fdps.runtime.network_input import fits, in_order, input_size
from fdps.runtime.onnx_part import OnnxPart, PartSettings
from fdps.runtime.onnx_session import run_all
from fdps.structures import Boxes, Picture

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_PER_LEVEL = 1 / 255
_RT_DETR_AXES = {"labels": 2, "boxes": 3, "scores": 2}


@dataclass(frozen=True, kw_only=True)
class DetrSettings(PartSettings):
    """The settings that such a network does not state itself.

    Pixels become ``(pixels * scale - mean) / std``.
    """

    person_class: int = 0
    """Number of the class that is a person."""
    colours: Literal["RGB", "BGR"] = "RGB"
    """Order of the colours."""
    scale: float = _PER_LEVEL
    """Factor for pixels of 0..255."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Values subtracted from every channel after scaling, in the order of the colours."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Values by which every channel is then divided."""
    min_score: float = 0.3
    """Least score of a person, in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class RtDetrSettings(DetrSettings):
    """The settings of RT-DETR and D-FINE: levels from 0 to 1, classes counted from 0."""

    LAYOUT = "rt_detr"


@dataclass(frozen=True, kw_only=True)
class RfDetrSettings(DetrSettings):
    """The settings of RF-DETR: pixels as ImageNet networks know them, classes counted as COCO does.

    With ``person_class = 0``, ``mean = [0, 0, 0]`` and ``std = [1, 1, 1]`` they are those of an
    RT-DETR or D-FINE that gives logits and boxes as shares of the picture.
    """

    LAYOUT = "rf_detr"

    person_class: int = 1
    """Number of the class that is a person; RF-DETR counts them from 1."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Values subtracted from every channel after scaling, in the order of the colours."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Values by which every channel is then divided."""


class RfDetrDetector(OnnxPart[RfDetrSettings]):
    """RF-DETR (Robinson et al., 2025) as its authors export it, or any network with that layout.

    The two outputs are told apart by their shapes: 1×Q×4 are boxes (centre x, centre y, width,
    height; shares of the picture), 1×Q×C are logits, of which each class has its own probability.
    The input is 1×3×H×W. Arguments and errors are those of
    :class:`~fdps.runtime.onnx_part.OnnxPart`.

    Attributes:
        min_score: Least score of a person; raising it does not make another model.
    """

    def __init__(
        self, path: Path, settings: RfDetrSettings | None = None, *, threads: int = 1
    ) -> None:
        settings = settings or RfDetrSettings()
        super().__init__(path, settings, threads=threads)
        self._input = _Input(self.session, settings, path)
        outputs = {output.name: output.shape for output in self.session.get_outputs()}
        shapes = {name: shape for name, shape in outputs.items() if len(shape) == 3}
        boxes = [name for name, shape in shapes.items() if shape[2] == 4]
        scores = [name for name in shapes if name not in boxes]
        if len(boxes) != 1 or len(scores) != 1 or not _has_class(shapes[scores[0]][2], settings):
            raise ModelError(
                f"{path}: the outputs must be boxes 1×Q×4 and logits 1×Q×C, with class "
                f"{settings.person_class} a person, got {outputs}"
            )
        self._boxes, self._scores = boxes[0], scores[0]
        self.min_score = settings.min_score

    def find(self, image: Picture) -> tuple[Boxes, Float32[np.ndarray, " N"]]:
        """Return boxes inside the picture, and their scores in falling order."""
        height, width = image.shape[:2]
        found = run_all(self.session, {self._input.name: self._input.pixels(image)})
        logits = found[self._scores][0, :, self._settings.person_class].astype(np.float64)
        scores = 1 / (1 + np.exp(-np.clip(logits, -500, 500)))
        centre, half = found[self._boxes][0, :, :2], found[self._boxes][0, :, 2:] / 2
        shares = np.concatenate([centre - half, centre + half], axis=1)
        return _best(shares * [width, height, width, height], scores, image, self.min_score)


class RtDetrDetector(OnnxPart[RtDetrSettings]):
    """RT-DETR (Zhao et al., 2024) or D-FINE (Peng et al., 2024) as their authors export them.

    The inputs are ``images`` 1×3×H×W and ``orig_target_sizes`` 1×2 (width and height of the
    picture), the outputs ``labels`` 1×Q, ``boxes`` 1×Q×4 (two corners, in pixels of the picture)
    and ``scores`` 1×Q. Arguments and errors are those of
    :class:`~fdps.runtime.onnx_part.OnnxPart`.

    Attributes:
        min_score: Least score of a person; raising it does not make another model.
    """

    def __init__(
        self, path: Path, settings: RtDetrSettings | None = None, *, threads: int = 1
    ) -> None:
        settings = settings or RtDetrSettings()
        super().__init__(path, settings, threads=threads)
        inputs = {each.name for each in self.session.get_inputs()}
        outputs = {each.name: len(each.shape) for each in self.session.get_outputs()}
        if inputs != {"images", "orig_target_sizes"} or outputs != _RT_DETR_AXES:
            raise ModelError(
                f"{path}: such a network takes images and orig_target_sizes and gives labels, "
                f"boxes and scores; this one takes {sorted(inputs)} and gives {sorted(outputs)}",
                hint="one that gives logits and boxes is read by kind = 'rf_detr'",
            )
        self._input = _Input(self.session, settings, path)
        self.min_score = settings.min_score

    def find(self, image: Picture) -> tuple[Boxes, Float32[np.ndarray, " N"]]:
        """Return boxes inside the picture, and their scores in falling order."""
        size = np.array([[image.shape[1], image.shape[0]]], dtype=np.int64)
        given = {"images": self._input.pixels(image), "orig_target_sizes": size}
        found = run_all(self.session, given)
        is_person = found["labels"][0] == self._settings.person_class
        boxes, scores = found["boxes"][0][is_person], found["scores"][0][is_person]
        return _best(boxes, scores, image, self.min_score)


class _Input:
    """The picture that goes into a network."""

    def __init__(self, session: "InferenceSession", settings: DetrSettings, path: Path) -> None:
        shapes = {each.name: each.shape for each in session.get_inputs()}
        pictures = [name for name, shape in shapes.items() if len(shape) == 4]
        if len(pictures) != 1 or not fits(shapes[pictures[0]][1], 3):
            raise ModelError(f"{path}: the picture that goes in must be 1×3×H×W, got {shapes}")
        self.name = pictures[0]
        self._height, self._width = input_size(shapes[self.name][2:], settings.size, path)
        self._settings = settings

    def pixels(self, image: Picture) -> Float32[np.ndarray, "1 3 height width"]:
        """Squeeze a picture to the size of the input, smoothed as in training, channels first."""
        settings = self._settings
        size = (self._width, self._height)
        scaled = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
        levels = in_order(scaled, settings.colours).astype(np.float32) * np.float32(settings.scale)
        mean, std = (np.array(each, dtype=np.float32) for each in (settings.mean, settings.std))
        return np.ascontiguousarray(((levels - mean) / std)[None].transpose(0, 3, 1, 2))


def _has_class(n_classes: object, settings: DetrSettings) -> bool:
    return not isinstance(n_classes, int) or n_classes > settings.person_class


def _best(
    boxes: np.ndarray, scores: np.ndarray, image: Picture, min_score: float
) -> tuple[Boxes, Float32[np.ndarray, " N"]]:
    """Return what is certain enough and lies in the picture, the most certain first."""
    inside = clip(boxes, image.shape[1], image.shape[0]).astype(np.float32)
    scores = scores.astype(np.float32)
    kept = np.flatnonzero((scores >= min_score) & is_valid(inside))
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    return inside[kept], scores[kept]
