"""Compare the colours of annotated boxes: the simplest person search that is not a guess.

It shows how much of a data set colour alone solves; a network has to be better than that.
"""

import numpy as np
from jaxtyping import Float32
from PIL import Image

from fdps.pictures import read_picture
from fdps.predictions import Predictions, data_hash
from fdps.structures import Boxes, Picture, SceneSet, empty_boxes

STRIPES = 3
"""Number of horizontal parts of a person: about head and chest, hips, legs."""

_BINS = (8, 4, 4)  # numbers of hues, saturations and values
_LEVELS = int(np.prod(_BINS))


def predict_by_colour(scenes: SceneSet) -> Predictions:
    """Make predictions whose detections are the annotated boxes and whose embeddings are colours.

    Args:
        scenes: Scenes, with queries if they are to be searched.

    Returns:
        Predictions with every annotated box at score 1, so detection is perfect and only the search
        tells something.

    Raises:
        MissingDataError: A picture is not there.
        PictureError: A picture cannot be read.
    """
    wanted: dict[str, list[int]] = {}
    for row, query in enumerate(scenes.queries):
        wanted.setdefault(query.scene, []).append(row)
    query_embeddings = np.zeros((len(scenes.queries), STRIPES * _LEVELS), dtype=np.float32)
    embeddings = [np.zeros((0, STRIPES * _LEVELS), dtype=np.float32)]
    for scene in scenes.scenes:
        picture = read_picture(scene.path)
        embeddings.append(colour_histograms(picture, scene.boxes))
        rows = wanted.get(scene.name, [])
        if rows:
            boxes = np.stack([scenes.queries[row].box for row in rows])
            query_embeddings[rows] = colour_histograms(picture, boxes)
    counts = [len(scene.boxes) for scene in scenes.scenes]
    return Predictions(
        scenes=tuple(scene.name for scene in scenes.scenes),
        boxes=np.concatenate([empty_boxes(), *(scene.boxes for scene in scenes.scenes)]),
        scores=np.ones(sum(counts), dtype=np.float32),
        embeddings=np.concatenate(embeddings),
        scene=np.repeat(np.arange(len(scenes), dtype=np.int64), counts),
        queries=scenes.queries,
        query_embeddings=query_embeddings,
        model_hash="colour-histogram",
        data_hash=data_hash(scenes),
    )


def colour_histograms(picture: Picture, boxes: Boxes) -> Float32[np.ndarray, "N D"]:
    """Describe people by how often each colour occurs in the parts of their boxes.

    The histograms are of hue, saturation and value. Their square roots are taken, which makes
    the inner product of two the Bhattacharyya coefficient.

    Args:
        picture: RGB picture.
        boxes: Boxes in pixels of the picture; each covers at least a part of it.

    Returns:
        Rows of unit length, D = 3 stripes × 128 colours.

    Example:
        >>> red = np.full((9, 6, 3), (200, 0, 0), dtype=np.uint8)
        >>> colour_histograms(red, np.array([[0, 0, 6, 9]], dtype=np.float32)).max().round(3)
        np.float32(0.577)
    """
    hsv = np.asarray(Image.fromarray(picture).convert("HSV"), dtype=np.int64)
    hue, saturation, value = (hsv[:, :, k] * bins // 256 for k, bins in enumerate(_BINS))
    level = (hue * _BINS[1] + saturation) * _BINS[2] + value
    rows = np.zeros((len(boxes), STRIPES, _LEVELS), dtype=np.float32)
    height, width = level.shape
    for i, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        left = min(int(x1), width - 1)
        right = max(left + 1, round(x2))
        edges = np.linspace(y1, y2, STRIPES + 1)
        for k in range(STRIPES):
            top = min(int(edges[k]), height - 1)
            stripe = level[top : max(top + 1, round(edges[k + 1])), left:right]
            counts = np.bincount(stripe.ravel(), minlength=_LEVELS)
            rows[i, k] = np.sqrt(counts / counts.sum())
    flat = rows.reshape(len(boxes), STRIPES * _LEVELS)
    return np.asarray(flat / np.float32(np.sqrt(STRIPES)), dtype=np.float32)
