"""Person search in two steps: a detector, then a description of every crop.

What one would put together from parts today, and the baseline that one network has to beat. The
parts are any :class:`Detector` and any :class:`Describer`; here are a YOLOX detector and a re-ID
network, both as ONNX files.

Axes: N people, H and W of a picture, A anchor points of the detector, D length of an embedding.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32
from torch.nn import functional

from fdps.boxes import clip, iou, is_valid
from fdps.errors import MissingDataError, ModelError, UsageError
from fdps.structures import Boxes, Detections, Picture

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_LETTERBOX = 114  # grey level of the border that YOLOX was trained with
_STRIDES = (8, 16, 32)
_YOLOX_FIELDS = 5  # x, y, width, height, objectness; then one score per class


@runtime_checkable
class Detector(Protocol):
    """Finds people."""

    @property
    def model_hash(self) -> str:
        """Identifies weights and settings."""

    def find(self, image: Picture) -> tuple[Boxes, Float32[np.ndarray, " N"]]:
        """Boxes inside the picture and their scores, falling."""


@runtime_checkable
class Describer(Protocol):
    """Describes crops, so that crops of one person are alike."""

    @property
    def model_hash(self) -> str:
        """Identifies weights and settings."""

    @property
    def dim(self) -> int:
        """Length of a description."""

    def embed(self, image: Picture, boxes: Boxes) -> Float32[np.ndarray, "N D"]:
        """Unit rows, one per box."""


class TwoStep:
    """An embedder made of a detector and a describer.

    Args:
        detector: Finds people.
        describer: Describes them.
    """

    def __init__(self, detector: Detector, describer: Describer) -> None:
        self.detector = detector
        self.describer = describer

    @property
    def model_hash(self) -> str:
        """Identifies both parts."""
        return _hash(self.detector.model_hash.encode(), self.describer.model_hash.encode())

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.describer.dim

    def detect(self, image: Picture) -> Detections:
        """Find and embed everybody in an RGB picture."""
        boxes, scores = self.detector.find(image)
        return Detections(boxes, scores, self.describer.embed(image, boxes))

    def embed(self, image: Picture, boxes: Boxes) -> Float32[np.ndarray, "N D"]:
        """Embed given people, without looking for others."""
        return self.describer.embed(image, boxes)


class YoloxDetector:
    """A YOLOX network (Ge et al., 2021) as its authors export it to ONNX; class 0 is a person.

    Args:
        path: The ONNX file: input 1×3×H×W, BGR in 0..255; output 1×A×(5 + classes).
        min_score: Least objectness times person score, in [0, 1].
        max_iou: Of two people that overlap more, the one with the lower score is dropped.
        threads: Processor threads of the network.

    Raises:
        MissingDataError: No such file.
        ModelError: Not an ONNX network, or one with another input or output.
        UsageError: onnxruntime is not installed.
    """

    def __init__(
        self, path: Path, *, min_score: float = 0.3, max_iou: float = 0.45, threads: int = 1
    ) -> None:
        self._session = _open(path, threads)
        shape = self._session.get_inputs()[0].shape
        if len(shape) != 4 or shape[1] != 3 or not all(isinstance(n, int) for n in shape):
            raise ModelError(f"{path}: a YOLOX input is 1×3×H×W, got {shape}")
        self._height, self._width = shape[2:]
        self._centres, self._strides = _anchor_points(self._height, self._width)
        output = self._session.get_outputs()[0].shape
        if len(output) != 3 or output[1] != len(self._centres) or output[2] <= _YOLOX_FIELDS:
            raise ModelError(
                f"{path}: the output of this YOLOX is 1×{len(self._centres)}×(5 + classes), "
                f"got {output}"
            )
        self.min_score, self.max_iou = min_score, max_iou
        self.model_hash = _hash(path.read_bytes(), f"{min_score} {max_iou}".encode())

    def find(self, image: Picture) -> tuple[Boxes, Float32[np.ndarray, " N"]]:
        """Boxes inside the picture and their scores, falling."""
        height, width = image.shape[:2]
        scale = min(self._height / height, self._width / width)
        raw = _run(self._session, self._letterbox(image, scale))[0]
        scores = raw[:, 4] * raw[:, 5]
        kept = scores >= self.min_score
        raw, scores, stride = raw[kept], scores[kept], self._strides[kept]
        centre = (raw[:, :2] + self._centres[kept]) * stride
        half = np.exp(raw[:, 2:4]) * stride / 2
        boxes = np.concatenate([centre - half, centre + half], axis=1) / scale
        boxes = clip(boxes, width, height).astype(np.float32)
        valid = is_valid(boxes)
        boxes, scores = boxes[valid], scores[valid]
        chosen = suppress(boxes, scores, max_iou=self.max_iou)
        return boxes[chosen], scores[chosen]

    def _letterbox(self, image: Picture, scale: float) -> np.ndarray:
        """Scale into the upper left corner of a grey input, BGR, channels first."""
        size = (int(image.shape[1] * scale), int(image.shape[0] * scale))
        canvas = np.full((self._height, self._width, 3), _LETTERBOX, dtype=np.float32)
        canvas[: size[1], : size[0]] = _resize(image, size)
        return np.ascontiguousarray(canvas[None, :, :, ::-1].transpose(0, 3, 1, 2))


class ReidNetwork:
    """A re-ID network as an ONNX file that takes one crop at a time, compared by cosine.

    Args:
        path: The ONNX file: input 1×H×W×3, BGR in 0..255; output 1×D.
        threads: Processor threads of the network.

    Raises:
        MissingDataError: No such file.
        ModelError: Not an ONNX network, or one with another input or output.
        UsageError: onnxruntime is not installed.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        self._session = _open(path, threads)
        shape = self._session.get_inputs()[0].shape
        if len(shape) != 4 or shape[3] != 3 or not all(isinstance(n, int) for n in shape):
            raise ModelError(f"{path}: the input must be 1×H×W×3, got {shape}")
        self._height, self._width = shape[1:3]
        output = self._session.get_outputs()[0].shape
        if len(output) != 2 or not isinstance(output[1], int):
            raise ModelError(f"{path}: the output must be 1×D, got {output}")
        self.dim: int = output[1]
        self.model_hash = _hash(path.read_bytes())

    def embed(self, image: Picture, boxes: Boxes) -> Float32[np.ndarray, "N D"]:
        """Unit rows, one per box."""
        rows = np.zeros((len(boxes), self.dim), dtype=np.float32)
        size = (self._width, self._height)
        for row, crop in enumerate(_crops(image, boxes)):
            pixels = _resize(crop, size)[None, :, :, ::-1]
            rows[row] = _run(self._session, np.ascontiguousarray(pixels))[0]
        return _unit(rows)


def load_two_step(
    detector: Path, reid: Path, *, min_score: float = 0.3, threads: int = 1
) -> TwoStep:
    """Join a YOLOX detector and a re-ID network; the arguments are those of the two classes.

    Raises:
        MissingDataError: A file is not there.
        ModelError: A file is not such a network.
        UsageError: onnxruntime is not installed.
    """
    return TwoStep(
        YoloxDetector(detector, min_score=min_score, threads=threads),
        ReidNetwork(reid, threads=threads),
    )


def suppress(boxes: Boxes, scores: Float32[np.ndarray, " N"], *, max_iou: float) -> np.ndarray:
    """Greedy non-maximum suppression.

    Returns:
        Rows that stay, by falling score.

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
    """Cell (column, row) and stride of every output row of YOLOX."""
    cells, strides = [], []
    for stride in _STRIDES:
        rows, columns = np.mgrid[: height // stride, : width // stride]
        cells.append(np.stack([columns, rows], axis=-1).reshape(-1, 2))
        strides.append(np.full((rows.size, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _crops(image: Picture, boxes: Boxes) -> list[np.ndarray]:
    """Cut people out at the nearest pixels, at least one pixel each."""
    height, width = image.shape[:2]
    low = np.clip(boxes[:, :2].round(), 0, [width - 1, height - 1]).astype(int)
    high = np.maximum(np.clip(boxes[:, 2:].round(), 0, [width, height]).astype(int), low + 1)
    return [
        image[y1:y2, x1:x2] for (x1, y1), (x2, y2) in zip(low.tolist(), high.tolist(), strict=True)
    ]


def _resize(image: Picture, size: tuple[int, int]) -> Float32[np.ndarray, "height width 3"]:
    """Scale to (width, height): bilinear, whole levels, no smoothing, as both networks know it.

    Pillow would smooth where it shrinks.
    """
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    scaled = functional.interpolate(pixels, size=size[::-1], mode="bilinear", align_corners=False)
    return scaled[0].permute(1, 2, 0).round().numpy()


def _unit(rows: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, np.finfo(np.float32).tiny))


def _hash(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]


def _open(path: Path, threads: int) -> "InferenceSession":
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError(
            "ONNX networks need onnxruntime, which is not installed",
            hint="pip install 'fdps[bench]'",
        ) from error
    if not path.is_file():
        raise MissingDataError(f"no network at {path}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(
            path, sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime has a class of its own for every cause
        raise ModelError(f"{path} is not an ONNX network: {error}") from error


def _run(session: "InferenceSession", pixels: np.ndarray) -> np.ndarray:
    """First output of the network for its one input."""
    (output,) = session.run(None, {session.get_inputs()[0].name: pixels})
    return np.asarray(output)
