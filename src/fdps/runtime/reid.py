"""A re-ID network as an ONNX file, which describes one crop at a time.

Axes: N people, H and W of the input, D length of a description.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32

from fdps.crops import cut, scaled
from fdps.errors import ModelError
from fdps.runtime.network_input import in_order, input_size, resize
from fdps.runtime.onnx_part import OnnxPart, PartSettings
from fdps.runtime.onnx_session import run
from fdps.structures import Boxes, Picture


@dataclass(frozen=True, kw_only=True)
class ReidSettings(PartSettings):
    """The settings that a re-ID network does not state itself.

    Pixels become ``(pixels * scale - mean) / std``.
    """

    LAYOUT = "reid"

    layout: Literal["NHWC", "NCHW"] = "NHWC"
    """Order of the axes of its input."""
    colours: Literal["RGB", "BGR"] = "BGR"
    """Order of the colours."""
    scale: float = 1.0
    """Factor for pixels of 0..255."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Values subtracted from every channel after scaling, in the order of the colours."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Values by which every channel is then divided."""
    smoothed: bool = False
    """Smooth a crop where it shrinks, as in the training of most re-ID networks."""


class ReidNetwork(OnnxPart[ReidSettings]):
    """A re-ID network as an ONNX file that takes one crop at a time, compared by cosine.

    The input is 1×H×W×3 or 1×3×H×W, the output 1×D, or 1×D×1×1. Arguments and errors are those of
    :class:`~fdps.runtime.onnx_part.OnnxPart`.
    """

    def __init__(
        self, path: Path, settings: ReidSettings | None = None, *, threads: int = 1
    ) -> None:
        settings = settings or ReidSettings()
        super().__init__(path, settings, threads=threads)
        shape = self.session.get_inputs()[0].shape
        channels = settings.layout.index("C")
        if len(shape) != 4 or shape[channels] != 3:
            expected = "1×H×W×3" if settings.layout == "NHWC" else "1×3×H×W"
            other = "NCHW" if settings.layout == "NHWC" else "NHWC"
            is_other = len(shape) == 4 and shape[other.index("C")] == 3
            raise ModelError(
                f"{path}: the input must be {expected}, got {shape}",
                hint=f"set layout = {other!r} in [reid]" if is_other else "is it a re-ID network?",
            )
        sides = shape[1:3] if settings.layout == "NHWC" else shape[2:]
        self._height, self._width = input_size(sides, settings.size, path)
        output = self.session.get_outputs()[0].shape
        # Some networks keep the axes over which they have averaged.
        is_row = len(output) >= 2 and isinstance(output[1], int) and set(output[2:]) <= {1}
        if not is_row:
            raise ModelError(
                f"{path}: the output must be 1×D, one row for a crop, got {output}",
                hint="is it a re-ID network?",
            )
        self.dim: int = output[1]
        self._mean = np.array(settings.mean, dtype=np.float32)
        self._std = np.array(settings.std, dtype=np.float32)

    def embed(self, image: Picture, boxes: Boxes) -> Float32[np.ndarray, "N D"]:
        """Return rows of unit length, one per box."""
        rows = np.zeros((len(boxes), self.dim), dtype=np.float32)
        for row, crop in enumerate(cut(image, boxes)):
            rows[row] = run(self.session, self._pixels(crop))[0].ravel()
        return _unit(rows)

    def _pixels(self, crop: Picture) -> np.ndarray:
        settings = self._settings
        size = (self._height, self._width)
        fitted = scaled(crop, size) if settings.smoothed else resize(crop, size[::-1])
        pixels = in_order(fitted, settings.colours)
        pixels = (pixels * np.float32(settings.scale) - self._mean) / self._std
        if settings.layout == "NCHW":
            pixels = pixels.transpose(2, 0, 1)
        return np.ascontiguousarray(pixels[None])


def _unit(rows: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, np.finfo(np.float32).tiny))
