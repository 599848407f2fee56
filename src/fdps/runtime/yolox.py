"""A YOLOX detector as an ONNX file.

Axes: N people, H and W of a picture, A anchor points of the detector.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32

from fdps.boxes import clip, iou, is_valid
from fdps.errors import ModelError
from fdps.runtime.network_input import fits, in_order, input_size, resize
from fdps.runtime.onnx_part import OnnxPart, PartSettings
from fdps.runtime.onnx_session import run
from fdps.structures import Boxes, Picture

_STRIDES = (8, 16, 32)
_YOLOX_FIELDS = 5  # x, y, width, height, objectness; then one score per class


@dataclass(frozen=True, kw_only=True)
class YoloxSettings(PartSettings):
    """The settings that a YOLOX network does not state itself."""

    LAYOUT = "yolox"

    person_class: int = 0
    """Number of the class that is a person."""
    letterbox: float = 114.0
    """Level of the border around the picture, 0..255."""
    colours: Literal["RGB", "BGR"] = "BGR"
    """Order of the colours."""
    scale: float = 1.0
    """Factor for pixels of 0..255."""
    min_score: float = 0.3
    """Least objectness times person score, in [0, 1]."""
    max_iou: float = 0.45
    """IoU above which the less certain of two people is dropped."""


class YoloxDetector(OnnxPart[YoloxSettings]):
    """A YOLOX network (Ge et al., 2021) as its authors export it to ONNX.

    The input is 1×3×H×W, the output 1×A×(5 + classes). Arguments and errors are those of
    :class:`~fdps.runtime.onnx_part.OnnxPart`.

    Attributes:
        min_score: Least score of a person; raising it does not make another model.
    """

    def __init__(
        self, path: Path, settings: YoloxSettings | None = None, *, threads: int = 1
    ) -> None:
        settings = settings or YoloxSettings()
        super().__init__(path, settings, threads=threads)
        shape = self.session.get_inputs()[0].shape
        if len(shape) != 4 or shape[1] != 3:
            raise ModelError(f"{path}: a YOLOX input is 1×3×H×W, got {shape}")
        self._height, self._width = input_size(shape[2:], settings.size, path)
        self._centres, self._strides = _anchor_points(self._height, self._width)
        output = self.session.get_outputs()[0].shape
        has_person = len(output) == 3 and (
            not isinstance(output[2], int) or output[2] > _YOLOX_FIELDS + settings.person_class
        )
        if not has_person or not fits(output[1], len(self._centres)):
            n_classes = (
                len(output) == 3 and isinstance(output[2], int) and output[2] - _YOLOX_FIELDS
            )
            raise ModelError(
                f"{path}: the output of this YOLOX is 1×{len(self._centres)}×(5 + classes), with "
                f"class {settings.person_class} a person, got {output}",
                hint=f"it knows the classes 0 to {n_classes - 1}: set person_class in [detector]"
                if n_classes > 0 and fits(output[1], len(self._centres))
                else "is it a YOLOX network, and size that of its input?",
            )
        self.min_score = settings.min_score

    def find(self, image: Picture) -> tuple[Boxes, Float32[np.ndarray, " N"]]:
        """Return boxes inside the picture, and their scores in falling order."""
        height, width = image.shape[:2]
        scale = min(self._height / height, self._width / width)
        raw = run(self.session, self._letterbox(image, scale))[0]
        scores = raw[:, 4] * raw[:, _YOLOX_FIELDS + self._settings.person_class]
        kept = scores >= self.min_score
        raw, scores, stride = raw[kept], scores[kept], self._strides[kept]
        centre = (raw[:, :2] + self._centres[kept]) * stride
        half = np.exp(raw[:, 2:4]) * stride / 2
        boxes = np.concatenate([centre - half, centre + half], axis=1) / scale
        boxes = clip(boxes, width, height).astype(np.float32)
        valid = is_valid(boxes)
        boxes, scores = boxes[valid], scores[valid]
        chosen = suppress(boxes, scores, max_iou=self._settings.max_iou)
        return boxes[chosen], scores[chosen]

    def _letterbox(self, image: Picture, scale: float) -> np.ndarray:
        """Scale a picture into the upper left corner of a grey input, channels first."""
        size = (max(int(image.shape[1] * scale), 1), max(int(image.shape[0] * scale), 1))
        canvas = np.full((self._height, self._width, 3), self._settings.letterbox, dtype=np.float32)
        canvas[: size[1], : size[0]] = resize(image, size)
        pixels = in_order(canvas, self._settings.colours) * np.float32(self._settings.scale)
        return np.ascontiguousarray(pixels[None].transpose(0, 3, 1, 2))


def suppress(boxes: Boxes, scores: Float32[np.ndarray, " N"], *, max_iou: float) -> np.ndarray:
    """Suppress overlapping boxes greedily, keeping the one with the highest score.

    Returns:
        Indices of the boxes that stay, by falling score.

    Example:
        >>> boxes = np.array([[0, 0, 9, 9], [0, 0, 10, 10], [20, 0, 30, 10]], dtype=np.float32)
        >>> suppress(boxes, np.array([0.5, 0.9, 0.7], dtype=np.float32), max_iou=0.5).tolist()
        [1, 2]
    """
    order = np.argsort(-scores, kind="stable")
    overlaps = iou(boxes[order], boxes[order]) > max_iou
    alive = np.ones(len(order), dtype=np.bool_)
    for rank in range(len(order)):
        if alive[rank]:
            alive[rank + 1 :] &= ~overlaps[rank, rank + 1 :]
    return np.asarray(order[alive])


def _anchor_points(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cell (column, row) and the stride of every output row of YOLOX."""
    cells, strides = [], []
    for stride in _STRIDES:
        rows, columns = np.mgrid[: height // stride, : width // stride]
        cells.append(np.stack([columns, rows], axis=-1).reshape(-1, 2))
        strides.append(np.full((rows.size, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)
