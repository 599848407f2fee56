"""Tracklets: the sightings of one person in consecutive frames of a video.

Frames are sampled, half a second apart by default, so a walker's boxes do not overlap from one
frame to the next. Place and appearance decide which sightings may be one person:

* *place*: the centre has moved no further than a person can run in that time, measured in heights
  of the box, and the height has not changed too much;
* *appearance*: the embedding is more similar to that of the track than strangers are. Strangers
  are known without labels: people in one frame are different people. So the least similarity
  follows the embedder and the video.

Each frame is assigned to the tracks as a whole, by the Hungarian method. Where somebody else fits
nearly as well, nobody is linked: two tracks of one person cost a search little, one track of two
persons would show the wrong one.

Axes in shapes: N people of one frame, T tracks, D embedding dimension.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64

from fdps.structures import Boxes

USUAL_STRANGERS = 0.2
"""Similarity assumed for strangers where a video never shows two people at once."""


class PeopleOfFrame(NamedTuple):
    """Everybody who was found in one frame.

    Args:
        time_s: Seconds from the beginning of the video.
        boxes: Boxes in any order.
        embeddings: Rows of unit length.
    """

    time_s: float
    boxes: Boxes
    embeddings: Float32[np.ndarray, "N D"]


@dataclass(frozen=True, slots=True)
class Linking:
    """The limits within which two sightings may be one person.

    The values were chosen on camera 6 of PRW, frames one second apart; see
    ``benchmarks/linking_values.py`` for what half and twice of each give there.

    Args:
        max_gap_s: Longest time without a sighting, in seconds; after it a new track begins.
        max_speed: Speed of the centre of the box, in heights a second; 1.5 is a run of 2.5 m/s.
        slack: Movement that boxes make by themselves, in heights of the box.
        max_ratio: Largest ratio of the larger height to the smaller.
        likeness: Least similarity, from 0 for that of strangers to 1 for that of equals.
        weight_of_place: Weight of being near, against being similar.
        margin: Amount by which a link must be better than those that compete with it.
    """

    max_gap_s: float = 3.0
    max_speed: float = 1.5
    slack: float = 0.25
    max_ratio: float = 1.7
    likeness: float = 0.4
    weight_of_place: float = 0.1
    margin: float = 0.1


@dataclass(slots=True, eq=False)
class _Track:
    """The place and the looks of somebody when last seen."""

    number: int
    time_s: float
    centre: np.ndarray
    height: float
    appearance: np.ndarray  # unit length; every sighting halves the weight of those before

    def see(self, time_s: float, centre: np.ndarray, height: float, embedding: np.ndarray) -> None:
        self.time_s, self.centre, self.height = time_s, centre, height
        self.appearance = _unit(self.appearance + embedding)


def link_people(
    read: Callable[[], Iterable[PeopleOfFrame]], how: Linking | None = None
) -> Iterator[Int64[np.ndarray, " N"]]:
    """Yield the track of everybody, frame after frame.

    Equal input gives equal output, and the order of the people of a frame does not matter.

    Args:
        read: Function that gives the frames of one video in order; it is called twice, so that a
            video of any length needs little memory.
        how: The limits within which two sightings may be one person.

    Yields:
        A number for each person of a frame; people with the same number are one person.
    """
    how = how or Linking()
    strangers = strangers_similarity(read())
    linker = _Linker(how, strangers + how.likeness * (1.0 - strangers))
    for frame in read():
        yield linker.link(frame)


def strangers_similarity(frames: Iterable[PeopleOfFrame]) -> float:
    """Return the median similarity over all pairs of people in one frame, to a hundredth."""
    counts = np.zeros(201, dtype=np.int64)
    for frame in frames:
        similarity = frame.embeddings @ frame.embeddings.T
        pairs = similarity[np.triu_indices(len(similarity), 1)]
        places = np.rint(100 * (1 + pairs.astype(np.float64))).astype(np.int64)
        counts += np.bincount(np.clip(places, 0, 200), minlength=201)
    if not counts.any():
        return USUAL_STRANGERS
    middle = np.searchsorted(np.cumsum(counts), (counts.sum() + 1) // 2)
    return float(middle) / 100 - 1


class _Linker:
    """The tracks of one video that may still go on.

    Args:
        how: The limits within which two sightings may be one person.
        min_similarity: Least similarity of a person and a track.
    """

    def __init__(self, how: Linking, min_similarity: float) -> None:
        self._how, self._min_similarity = how, min_similarity
        self._tracks: list[_Track] = []
        self._n_tracks = 0

    def link(self, frame: PeopleOfFrame) -> Int64[np.ndarray, " N"]:
        """Return numbers for the people of the next frame."""
        oldest = frame.time_s - self._how.max_gap_s
        self._tracks = [track for track in self._tracks if track.time_s >= oldest]
        # The order is that of the boxes alone, unless two people have the same one.
        order = np.lexsort(np.hstack([frame.embeddings[:, :4], frame.boxes]).T)
        boxes = frame.boxes[order].astype(np.float64)
        embeddings = frame.embeddings[order].astype(np.float64)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        heights = np.maximum(boxes[:, 3] - boxes[:, 1], 1e-6)
        fits = self._fits(frame.time_s, centres, heights, embeddings)
        pairs = _sure_pairs(fits, self._how.margin)
        doubtful = set(np.flatnonzero(fits.any(axis=1)).tolist()) - set(pairs.values())
        known = self._tracks
        # A track that may be one of these people, but not surely, must not go on later.
        self._tracks = [track for place, track in enumerate(known) if place not in doubtful]
        numbers = np.empty(len(order), dtype=np.int64)
        for person in range(len(order)):
            sighting = (frame.time_s, centres[person], float(heights[person]), embeddings[person])
            if person in pairs:
                track = known[pairs[person]]
                track.see(*sighting)
            else:
                track = _Track(self._n_tracks, *sighting)
                self._tracks.append(track)
                self._n_tracks += 1
            numbers[order[person]] = track.number
        return numbers

    def _fits(
        self, time_s: float, centres: np.ndarray, heights: np.ndarray, embeddings: np.ndarray
    ) -> Float64[np.ndarray, "T N"]:
        """Return how well everybody fits every track; 0 where they do not fit."""
        how, tracks = self._how, self._tracks
        if not tracks:
            return np.zeros((0, len(centres)))
        since_s = time_s - np.array([track.time_s for track in tracks])[:, None]
        last_heights = np.array([track.height for track in tracks])[:, None]
        last_centres = np.stack([track.centre for track in tracks])[:, None]
        larger = np.maximum(last_heights, heights)
        moved = np.linalg.norm(centres - last_centres, axis=2) / larger
        reach = how.slack + how.max_speed * np.abs(since_s)
        similarity = np.stack([track.appearance for track in tracks]) @ embeddings.T
        is_possible = (
            (moved <= reach)
            & (larger <= how.max_ratio * np.minimum(last_heights, heights))
            & (similarity > self._min_similarity)
        )
        fit = similarity - self._min_similarity + how.weight_of_place * (1 - moved / reach)
        return np.where(is_possible, fit, 0.0)


def _sure_pairs(fits: Float64[np.ndarray, "T N"], margin: float) -> dict[int, int]:
    """Map people to tracks, for the pairs of the best assignment that nothing else comes near."""
    from scipy.optimize import linear_sum_assignment  # slow to load, and no search needs it

    tracks, people = linear_sum_assignment(fits, maximize=True)
    return {
        person: track
        for track, person in zip(tracks.tolist(), people.tolist(), strict=True)
        if fits[track, person] > 0 and fits[track, person] >= _second(fits, track, person) + margin
    }


def _second(fits: np.ndarray, track: int, person: int) -> float:
    """Return the best fit that competes with a pair for its track or its person."""
    others = np.concatenate([np.delete(fits[track], person), np.delete(fits[:, person], track)])
    return float(others.max(initial=0.0))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
