"""Similarities of one person with themselves and with others, counted on a labelled set.

Every labelled person who was found is looked for, among everybody else who was found. A hit of
another person, or of nobody, is what a search calls a wrong candidate.

Axes: N detections, S scenes, P people, G groups of people, K levels, D embedding dimension.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from fdps.boxes import iou
from fdps.errors import DataError, UsageError
from fdps.predictions import Predictions
from fdps.structures import UNLABELLED, SceneSet

NOBODY = -2
"""Person id of a detection where nobody is annotated."""

MATCH_IOU = 0.5  # a detection is the person annotated there
N_LEVELS = 256
N_GROUPS = 100  # most groups of people, which the confidence bounds resample
_BLOCK = 64  # queries whose similarities are in memory at once


@dataclass(frozen=True, slots=True, eq=False)
class Sightings:
    """Everybody who was found in a labelled set, scene after scene, and who they are.

    Args:
        embeddings: Rows of unit length.
        people: Identity of each, :data:`~fdps.structures.UNLABELLED` or :data:`NOBODY`.
        scenes: Scene of each, never falling.
        shown: The (scene, identity) pairs that are annotated, found or not.
        cameras: Camera of each scene, as a number.
        frames: Frame number of each scene; ``None`` where the set does not tell.
    """

    embeddings: Float32[np.ndarray, "N D"]
    people: Int64[np.ndarray, " N"]
    scenes: Int64[np.ndarray, " N"]
    shown: frozenset[tuple[int, int]]
    cameras: Int64[np.ndarray, " S"]
    frames: Int64[np.ndarray, " S"] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Comparisons:
    """The outcome of looking for everybody.

    Args:
        levels: Rising similarities at which comparisons are counted.
        compared: Number of comparisons of people of one group with other people of another; the
            last column is of detections that are nobody.
        above: Number of these comparisons that are at least as similar as each level.
        same: Similarity of each query with the best detection of the same person in each scene.
        best: The highest of these for each query whose person is seen again.
        n_people: Number of identities that were looked for.
        n_queries: Number of detections that were looked for.
    """

    levels: Float64[np.ndarray, " K"]
    compared: Int64[np.ndarray, "G G1"]
    above: Int64[np.ndarray, "G G1 K"]
    same: Float64[np.ndarray, " M"]
    best: Float64[np.ndarray, " B"]
    n_people: int
    n_queries: int


def find_sightings(predictions: Predictions, scenes: SceneSet) -> Sightings:
    """Tell who each detection is: the annotated person it overlaps most, by half at least.

    Raises:
        DataError: The predictions are of other scenes.
    """
    if predictions.scenes != tuple(scene.name for scene in scenes.scenes):
        raise DataError(f"the predictions are not of the scenes of {scenes.name}")
    order = np.argsort(predictions.scene, kind="stable")
    rows_of = np.split(order, np.searchsorted(predictions.scene[order], range(1, len(scenes))))
    people = np.full(len(order), NOBODY, dtype=np.int64)
    for scene, rows in zip(scenes.scenes, rows_of, strict=True):
        if len(rows) and len(scene.boxes):
            overlaps = iou(predictions.boxes[rows], scene.boxes)
            matched = overlaps.max(axis=1) >= MATCH_IOU
            people[rows[matched]] = scene.person_ids[overlaps.argmax(axis=1)[matched]]
    frames = [scene.frame for scene in scenes.scenes]
    names = [scene.camera or "" for scene in scenes.scenes]
    return Sightings(
        embeddings=predictions.embeddings[order],
        people=people[order],
        scenes=predictions.scene[order],
        shown=frozenset(
            (row, person_id)
            for row, scene in enumerate(scenes.scenes)
            for person_id in scene.person_ids.tolist()
        ),
        cameras=np.unique(names, return_inverse=True)[1].reshape(-1).astype(np.int64),
        frames=None if None in frames else np.array(frames, dtype=np.int64),
    )


def compare(
    seen: Sightings, *, min_frame_gap: int = 0, max_queries: int = 2000, seed: int = 0
) -> Comparisons:
    """Look for everybody among all others.

    Some are left out, because nobody knows whether they are right: people without identity;
    detections of nobody in scenes that show the person; the scene of the query itself, and scenes
    of the same camera within ``min_frame_gap`` frames of it.

    Args:
        seen: Sightings of a labelled set.
        min_frame_gap: Distance in frames; nearer frames show nearly the same picture as the query
            and are left out.
        max_queries: Most queries; of more, so many are drawn, evenly over the people.
        seed: Seed of that draw, and of the groups.

    Raises:
        DataError: Fewer than two people were found, or nobody is seen twice.
        UsageError: A frame gap is asked for and the set has no frame numbers.
    """
    if min_frame_gap and seen.frames is None:
        raise UsageError(
            "a frame gap needs the frame number of every scene, which this data set does not tell"
        )
    ids, person = np.unique(seen.people[seen.people >= 0], return_inverse=True)
    if len(ids) < 2:
        raise DataError(f"calibration needs at least two people with identity, found {len(ids)}")
    rng = np.random.default_rng(seed)
    group_of = rng.permutation(len(ids)) % min(len(ids), N_GROUPS)
    groups = np.full(len(seen.people), group_of.max() + 1)  # the last group is nobody
    groups[seen.people >= 0] = group_of[person.reshape(-1)]
    queries = _drawn(seen.people, max_queries, rng)
    levels = _levels(seen, queries, min_frame_gap, rng)
    n_groups = int(group_of.max()) + 1
    compared = np.zeros((n_groups, n_groups + 1), dtype=np.int64)
    counts = np.zeros((n_groups, n_groups + 1, N_LEVELS + 1), dtype=np.int64)
    same: list[np.ndarray] = []
    for query, similarity, is_same, is_other in _searched(seen, queries, min_frame_gap):
        same.append(_best_per_scene(similarity[is_same], seen.scenes[is_same]))
        theirs = groups[is_other]
        bins = np.searchsorted(levels, similarity[is_other], side="right")
        row = groups[query]
        compared[row] += np.bincount(theirs, minlength=n_groups + 1)
        flat = np.bincount(
            theirs * (N_LEVELS + 1) + bins, minlength=(n_groups + 1) * (N_LEVELS + 1)
        )
        counts[row] += flat.reshape(n_groups + 1, N_LEVELS + 1)
    best = [float(values.max()) for values in same if len(values)]
    if not best or compared.sum() == 0:
        raise DataError(
            "nobody was found again" if not best else "nobody can be taken for another",
            hint="calibration needs people who are found in several scenes; lower the frame gap",
        )
    return Comparisons(
        levels=levels,
        compared=compared,
        # Bin b holds what is at least as similar as b levels.
        above=counts[:, :, :0:-1].cumsum(axis=2)[:, :, ::-1],
        same=np.concatenate(same),
        best=np.array(best),
        n_people=len(ids),
        n_queries=len(queries),
    )


def _drawn(
    people: Int64[np.ndarray, " N"], n: int, rng: np.random.Generator
) -> Int64[np.ndarray, " Q"]:
    """Draw the rows to look for: one of everybody, then a second of everybody, up to n in all."""
    rows = rng.permutation(np.flatnonzero(people >= 0))
    turn = np.zeros(len(rows), dtype=np.int64)
    for person_id in np.unique(people[rows]):
        theirs = people[rows] == person_id
        turn[theirs] = np.arange(theirs.sum())
    return np.sort(rows[np.argsort(turn, kind="stable")][:n]).astype(np.int64)


def _searched(
    seen: Sightings, queries: Int64[np.ndarray, " Q"], gap: int
) -> Iterator[tuple[int, Float64[np.ndarray, " N"], np.ndarray, np.ndarray]]:
    """Yield for each query its similarities, who is the same person, and who is certainly not."""
    shows = {
        person_id: np.zeros(len(seen.cameras), dtype=np.bool_) for person_id in set(seen.people)
    }
    for row, person_id in seen.shown:
        if person_id in shows:
            shows[person_id][row] = True
    for start in range(0, len(queries), _BLOCK):
        block = queries[start : start + _BLOCK]
        table = (seen.embeddings[block] @ seen.embeddings.T).astype(np.float64)
        for query, similarity in zip(block.tolist(), table, strict=True):
            person_id = int(seen.people[query])
            far = ~_near(seen, query, gap)
            is_same = seen.people == person_id
            doubtful = (seen.people == UNLABELLED) | (
                (seen.people == NOBODY) & shows[person_id][seen.scenes]
            )
            yield query, similarity, is_same & far, ~is_same & ~doubtful & far


def _near(seen: Sightings, query: int, gap: int) -> Bool[np.ndarray, " N"]:
    own = seen.scenes[query]
    near = np.arange(len(seen.cameras)) == own
    if gap and seen.frames is not None:
        close = np.abs(seen.frames - seen.frames[own]) <= gap
        near |= close & (seen.cameras == seen.cameras[own])
    return np.asarray(near[seen.scenes])


def _levels(
    seen: Sightings, queries: Int64[np.ndarray, " Q"], gap: int, rng: np.random.Generator
) -> Float64[np.ndarray, " K"]:
    """Choose levels from the middle of the wrong ones, or below most right ones, up to 1."""
    some = np.sort(rng.permutation(queries)[:_BLOCK])
    lows = [1.0 - 1e-6]
    for _, similarity, is_same, is_other in _searched(seen, some, gap):
        for values, share in ((similarity[is_same], 0.02), (similarity[is_other], 0.5)):
            if len(values):
                lows.append(float(np.quantile(values, share)))
    return np.linspace(min(lows), 1.0, N_LEVELS)


def _best_per_scene(
    similarity: Float64[np.ndarray, " M"], scenes: Int64[np.ndarray, " M"]
) -> Float64[np.ndarray, " B"]:
    if len(similarity) == 0:
        return similarity
    starts = np.flatnonzero(np.diff(scenes, prepend=-1))
    return np.asarray(np.maximum.reduceat(similarity, starts))
