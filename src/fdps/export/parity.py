"""Compare an exported network with the one in PyTorch, picture by picture."""

from dataclasses import dataclass, field
from itertools import repeat

import numpy as np

from fdps.boxes import iou
from fdps.export.given import PeopleInPictures, Pictures
from fdps.query import Searcher
from fdps.runtime.exported import Parity
from fdps.structures import Detections, empty_boxes

SAME_IOU = 0.9
LARGEST_BOX_PX, LARGEST_SCORE, LEAST_COSINE = 1.0, 0.01, 0.999
"""Where a difference is no larger, an archive of one network may be continued with the other."""


def compare(
    source: Searcher,
    exported: Searcher,
    pictures: Pictures,
    boxes: PeopleInPictures | None = None,
) -> Parity:
    """Let both look at the same pictures.

    People are matched by their boxes. Those whom the source finds are embedded by both once more,
    from the same boxes, as the query of a search is.

    Args:
        source: The network in PyTorch.
        exported: The same network elsewhere.
        pictures: RGB.
        boxes: People of each picture to embed besides, where they are known.
    """
    seen = _Differences()
    for picture, given in zip(pictures, boxes or repeat(empty_boxes()), strict=False):
        theirs, ours = source.detect(picture), exported.detect(picture)
        seen.add(theirs, ours)
        looked_at = np.concatenate([theirs.boxes, given])
        if len(looked_at):
            seen.people += len(given)
            both = (each.embed(picture, looked_at) for each in (source, exported))
            seen.add_cosines(*both)
    return seen.parity()


@dataclass
class _Differences:
    pictures: int = 0
    people: int = 0
    unmatched: int = 0
    boxes: list[float] = field(default_factory=lambda: [0.0])
    scores: list[float] = field(default_factory=lambda: [0.0])
    cosines: list[float] = field(default_factory=lambda: [1.0])

    def add(self, theirs: Detections, ours: Detections) -> None:
        self.pictures += 1
        self.people += len(theirs)
        rows, columns = matched(theirs, ours)
        self.unmatched += len(theirs) + len(ours) - 2 * len(rows)
        if len(rows):
            self.boxes.append(float(np.abs(theirs.boxes[rows] - ours.boxes[columns]).max()))
            self.scores.append(float(np.abs(theirs.scores[rows] - ours.scores[columns]).max()))
            self.add_cosines(theirs.embeddings[rows], ours.embeddings[columns])

    def add_cosines(self, theirs: np.ndarray, ours: np.ndarray) -> None:
        products = (theirs.astype(np.float64) * ours.astype(np.float64)).sum(axis=1)
        self.cosines.append(float(products.min()))

    def parity(self) -> Parity:
        box, score, cosine = max(self.boxes), max(self.scores), min(self.cosines)
        return Parity(
            pictures=self.pictures,
            people=self.people,
            unmatched=self.unmatched,
            largest_box_px=box,
            largest_score=score,
            least_cosine=cosine,
            holds=self.people > 0
            and self.unmatched == 0
            and box <= LARGEST_BOX_PX
            and score <= LARGEST_SCORE
            and cosine >= LEAST_COSINE,
        )


def matched(theirs: Detections, ours: Detections) -> tuple[np.ndarray, np.ndarray]:
    """Pair the people whom both found, the best of one first, each once.

    Returns:
        Rows of one and of the other.
    """
    pairs: list[tuple[int, int]] = []
    free = np.ones(len(ours), dtype=np.bool_)
    overlaps = iou(theirs.boxes, ours.boxes)
    for row in range(len(theirs)):
        candidates = np.where(free, overlaps[row], 0.0)
        if len(candidates) and candidates.max() >= SAME_IOU:
            column = int(candidates.argmax())
            free[column] = False
            pairs.append((row, column))
    rows = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]
