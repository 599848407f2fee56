"""A real, small embedder: finds saturated patches and describes them by their colours."""

import hashlib

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

from fdps.structures import Boxes, Detections, Picture

SATURATED = 120  # difference between the strongest and the weakest channel
MIN_PIXELS = 100


class ColourEmbedder:
    """Finds the people of :mod:`fake.people` and embeds them by shirt and trousers.

    Args:
        name: Embedders of different names count as different models.
    """

    dim = 6

    def __init__(self, name: str = "colour") -> None:
        self.model_hash = hashlib.sha256(name.encode()).hexdigest()

    def detect(self, image: Picture) -> Detections:
        spread = np.ptp(image.astype(np.int64), axis=2)
        labels, _ = ndimage.label(spread > SATURATED)
        boxes, scores = [], []
        for label, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
            n_pixels = int((labels[rows, columns] == label).sum())
            if n_pixels >= MIN_PIXELS:
                boxes.append([columns.start, rows.start, columns.stop, rows.stop])
                scores.append(
                    n_pixels / ((rows.stop - rows.start) * (columns.stop - columns.start))
                )
        order = np.argsort(-np.array(scores), kind="stable").astype(np.int64)
        found = np.array(boxes, dtype=np.float32).reshape(-1, 4)[order]
        return Detections(
            boxes=found,
            scores=np.array(scores, dtype=np.float32)[order],
            embeddings=self.embed(image, found),
        )

    def embed(self, image: Picture, boxes: Boxes) -> Float32[np.ndarray, "N D"]:
        rows = np.zeros((len(boxes), self.dim))
        for row, (x1, y1, x2, y2) in enumerate(boxes.astype(np.int64)):
            person = image[y1:y2, x1:x2] / 127.5 - 1
            half = len(person) // 2
            rows[row, :3] = person[:half].mean(axis=(0, 1))
            rows[row, 3:] = person[half:].mean(axis=(0, 1))
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
