"""Networks with the outputs that public detectors and re-ID networks have, a few bytes each.

Where the things are is constant, so that a test knows it; how certain they are depends on the
picture that comes in, by the means of its channels, so that a test sees what came in.
"""

from pathlib import Path

import numpy as np

from fake.onnx_graph import Shape, node, write_graph

MEANS = node("ReduceMean", "images", "means", axes=[2, 3], keepdims=0)


def write_yolox(path: Path, raw: np.ndarray, size: tuple[int, int]) -> Path:
    """A YOLOX whose output is constant, and whose objectness grows by the mean of channel 0.

    Args:
        path: The file.
        raw: What it gives, A×(5 + classes): offset of the centre, logarithm of the size,
            objectness, scores.
        size: Height and width of the input.
    """
    grows = np.zeros((3, raw.shape[1]), dtype=np.float32)
    grows[0, 4] = 1
    return write_graph(
        path,
        [MEANS, node("MatMul", "means grows", "row"), node("Add", "raw row", "output")],
        inputs={"images": ((1, 3, *size), np.float32)},
        outputs={"output": ((1, *raw.shape), np.float32)},
        constants={"raw": raw[None].astype(np.float32), "grows": grows},
    )


def write_set(
    path: Path,
    boxes: np.ndarray,
    logits: np.ndarray,
    size: Shape,
    *,
    names: tuple[str, str, str] = ("images", "dets", "labels"),
) -> Path:
    """A detector that gives shares of the picture and logits: RF-DETR, or RT-DETR of other makers.

    Args:
        path: The file.
        boxes: Q×4: centre and size.
        logits: Q×3, one of each class; class c grows by the mean of channel c.
        size: Height and width of the input; a word leaves one open.
        names: Of the input, the boxes and the logits.
    """
    picture, dets, labels = names
    return write_graph(
        path,
        [
            node("ReduceMean", picture, "means", axes=[2, 3], keepdims=0),
            node("Add", "given means", labels),
            node("Identity", "boxes", dets),
        ],
        inputs={picture: (("batch", 3, *size), np.float32)},
        outputs={
            labels: ((1, *logits.shape), np.float32),
            dets: ((1, *boxes.shape), np.float32),
        },
        constants={
            "boxes": boxes[None].astype(np.float32),
            "given": logits[None].astype(np.float32),
        },
    )


def write_sized(
    path: Path, boxes: np.ndarray, classes: list[int], scores: list[float], size: Shape
) -> Path:
    """A detector that is told the size of the picture: RT-DETR and D-FINE of their authors.

    Args:
        path: The file.
        boxes: Q×4: two corners, as shares of the picture; the network gives pixels.
        classes: Class of each.
        scores: Score of each, to which the mean of channel 0 is added.
        size: Height and width of the input.
    """
    first = np.array([[1.0], [0.0], [0.0]], dtype=np.float32)
    return write_graph(
        path,
        [
            MEANS,
            node("MatMul", "means first", "level"),
            node("Add", "given level", "scores"),
            node("Identity", "classes", "labels"),
            node("Cast", "orig_target_sizes", "sides", to=1),
            node("Concat", "sides sides", "corners", axis=1),
            node("Mul", "shares corners", "boxes"),
        ],
        inputs={
            "images": (("N", 3, *size), np.float32),
            "orig_target_sizes": (("N", 2), np.int64),
        },
        outputs={
            "labels": ((1, len(classes)), np.int64),
            "boxes": ((1, *boxes.shape), np.float32),
            "scores": ((1, len(scores)), np.float32),
        },
        constants={
            "first": first,
            "given": np.array([scores], dtype=np.float32),
            "classes": np.array([classes], dtype=np.int64),
            "shares": boxes[None].astype(np.float32),
        },
    )


def write_reid(path: Path, size: Shape, *, layout: str = "NCHW", keeps_axes: bool = False) -> Path:
    """A re-ID network that describes a crop by the means of its channels, and their sum.

    Args:
        path: The file.
        size: Height and width of the input.
        layout: Order of the axes of the input.
        keeps_axes: Whether the output is 1×4×1×1.
    """
    axes = [2, 3] if layout == "NCHW" else [1, 2]
    shape = (1, 3, *size) if layout == "NCHW" else (1, *size, 3)
    mixed = np.concatenate([np.eye(3), np.ones((3, 1))], axis=1).astype(np.float32)
    last = node("Reshape", "row shape", "output")
    return write_graph(
        path,
        [
            node("ReduceMean", "data", "means", axes=axes, keepdims=0),
            node("MatMul", "means mixed", "row"),
            last,
        ],
        inputs={"data": (shape, np.float32)},
        outputs={"output": ((1, 4, 1, 1) if keeps_axes else (1, 4), np.float32)},
        constants={
            "mixed": mixed,
            "shape": np.array([1, 4, 1, 1] if keeps_axes else [1, 4], dtype=np.int64),
        },
    )
