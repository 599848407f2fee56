"""Detection figures: recall and average precision over all scenes pooled.

Axes: N detections of the whole set, T distinct scores.
"""

from dataclasses import dataclass
from math import nan

import numpy as np
from jaxtyping import Bool, Float, Float64

from fdps.evaluation.annotated import flatten
from fdps.evaluation.grouping import GroupedDetections
from fdps.evaluation.matching import mutual_matches_of_scenes
from fdps.evaluation.ranking import average_precision
from fdps.structures import UNLABELLED, SceneSet


@dataclass(frozen=True, slots=True, eq=False)
class DetectionResult:
    """Detection figures; fractions in [0, 1], NaN where the set annotates nobody.

    Args:
        recall: People found.
        ap: Average precision; people who were not found lower it.
        labelled_recall: Recall over the people with an identity alone.
        n_people: Annotated people.
        n_detections: Detections above the score threshold.
        curve_score: Distinct scores, falling.
        curve_precision: Share of true detections among those of at least that score.
        curve_recall: People found by those detections, as a fraction.
    """

    recall: float
    ap: float
    labelled_recall: float
    n_people: int
    n_detections: int
    curve_score: Float64[np.ndarray, " T"]
    curve_precision: Float64[np.ndarray, " T"]
    curve_recall: Float64[np.ndarray, " T"]


def evaluate_detection(found: GroupedDetections, scenes: SceneSet) -> DetectionResult:
    """Score detections against all annotated people, labelled or not."""
    people = flatten(scenes)
    is_true = mutual_matches_of_scenes(found.boxes, found.starts, people.boxes, people.starts) >= 0
    is_labelled = people.person_ids != UNLABELLED
    n_labelled = int(is_labelled.sum())
    labelled_found = mutual_matches_of_scenes(
        found.boxes,
        found.starts,
        people.boxes[is_labelled],
        np.concatenate([[0], np.cumsum(is_labelled)])[people.starts],
    )
    n_people = len(people.boxes)
    score, precision, recall = precision_recall(found.scores, is_true, n_people)
    return DetectionResult(
        recall=float(is_true.sum() / n_people) if n_people else nan,
        ap=average_precision(found.scores, is_true, n_people) if n_people else nan,
        labelled_recall=float((labelled_found >= 0).sum() / n_labelled) if n_labelled else nan,
        n_people=n_people,
        n_detections=len(found),
        curve_score=score,
        curve_precision=precision,
        curve_recall=recall,
    )


def precision_recall(
    scores: Float[np.ndarray, " N"], is_true: Bool[np.ndarray, " N"], n_people: int
) -> tuple[Float64[np.ndarray, " T"], Float64[np.ndarray, " T"], Float64[np.ndarray, " T"]]:
    """Score, precision and recall at every distinct score, from the highest down.

    Example:
        >>> scores, is_true = np.array([0.9, 0.7, 0.7]), np.array([True, True, False])
        >>> [x.round(2).tolist() for x in precision_recall(scores, is_true, 4)]
        [[0.9, 0.7], [1.0, 0.67], [0.25, 0.5]]
    """
    falling = np.argsort(-scores, kind="stable")
    ordered = scores[falling].astype(np.float64)
    last_of_tie = np.flatnonzero(np.append(np.diff(ordered) != 0, True))[: len(ordered)]
    true = np.cumsum(is_true[falling])[last_of_tie].astype(np.float64)
    return ordered[last_of_tie], true / (last_of_tie + 1), true / max(n_people, 1)
