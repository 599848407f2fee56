"""The people of an archive who are seen most often, and how sure it is that each is one person.

Sightings are linked to appearances when a video is indexed; here appearances are joined to people
(:mod:`fdps.search.query.joining`). A person is a proposal: somebody has to look at it.

Axes in shapes: N sightings, A appearances, K and J pairs, D embedding dimension.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from fdps.boxes import iou
from fdps.search.audit import note_search
from fdps.search.query.joining import (
    RARE,
    join_alike,
    least_similarity,
    usual_similarity,
)
from fdps.search.results.calibration import Calibration
from fdps.search.store import Appearance, SceneRecord, Store
from fdps.structures import Boxes, Hit

SIDE_BY_SIDE = 0.3
"""Two boxes are of different people if they share no more than this of the smaller one; a detector
sometimes draws two boxes around one person."""

PERHAPS = 3
"""Most appearances of which it stays open whether they are of a person."""

_STILL_SCENES, _STILL_SHARE, _STILL_IOU = 20, 0.9, 0.5  # somebody who never leaves their place
_PAIRS_AT_ONCE = 100_000
_MOST_MEMBERS = 200  # of a person, whose pairs are compared: a histogram needs no more


@dataclass(frozen=True, slots=True, eq=False)
class SeenAppearance:
    """One person for a while in a video, or once in a picture.

    Args:
        hits: Every sighting in order of time, with its similarity to the sighting that stands for
            the person.
        similarity: Mean similarity to the other appearances of the person, compared as a whole; 1
            for the only one.
        pooled: Similarity of the sighting that stands for the person and the appearance as a whole.
    """

    hits: tuple[Hit, ...]
    similarity: float
    pooled: float

    @property
    def best(self) -> Hit:
        """The sighting most similar to the one that stands for the person."""
        return max(self.hits, key=lambda hit: hit.similarity)

    @property
    def as_found(self) -> Appearance:
        """The appearance as a search for the sighting that stands for the person finds it."""
        first, last = self.hits[0].record, self.hits[-1].record
        assert first
        assert last
        items = tuple(hit.item for hit in self.hits)
        return Appearance(self.pooled, self.best, items, first, last)


@dataclass(frozen=True, slots=True, eq=False)
class SeenPerson:
    """Appearances that look like one person.

    Args:
        key: The sighting that stands for the person: a large one from the longest appearance that
            is typical for all.
        appearances: In order of place and time; that of ``key`` is among them.
        perhaps: Appearances that look similar and were not joined, the most similar first.
        n_scenes: Number of pictures that show the person.
        stays: Whether it is found at one place in most of the pictures: a person who sits, or a
            thing that was taken for one.
    """

    key: Hit
    appearances: tuple[SeenAppearance, ...]
    perhaps: tuple[SeenAppearance, ...]
    n_scenes: int
    stays: bool

    @property
    def least_similarity(self) -> float:
        """The similarity of the appearance that is least like the others."""
        return min(appearance.similarity for appearance in self.appearances)


@dataclass(frozen=True, slots=True, eq=False)
class SeenPeople:
    """Who is seen how often.

    Args:
        people: Those seen most often first, then those as often seen who never leave their place.
        n_people: Number of people in all, so far as they were joined.
        scenes: Every picture, in order of file and time.
        n_sightings: Number of sightings.
        n_appearances: Number of appearances.
        min_similarity: Mean similarity from which on appearances were joined.
        strangers: Similarities of pairs of appearances that were side by side in one picture.
        joined: Similarities of the pairs of appearances that were joined to one person.
    """

    people: tuple[SeenPerson, ...]
    n_people: int
    scenes: tuple[SceneRecord, ...]
    n_sightings: int
    n_appearances: int
    min_similarity: float
    strangers: Float64[np.ndarray, " K"]
    joined: Float64[np.ndarray, " J"]

    def strangers_as_alike(self, similarity: float) -> int:
        """Return how many of the strangers are at least so similar."""
        return int((self.strangers >= similarity).sum())


def find_seen_people(
    store: Store, top: int, *, calibration: Calibration | None = None
) -> SeenPeople:
    """Join the appearances of an archive to people, and return those who are seen most often.

    Somebody is seen often in many pictures, each counted by the confidence of the detector, so
    that a thing which is doubtfully a person in every picture does not come before people.

    Args:
        store: The archive.
        top: Most people to return, beside those who never leave their place.
        calibration: Calibration of the model; it tells how alike strangers are where the pictures
            do not.

    Raises:
        ArchiveError: The archive is damaged.
    """
    seen = _Sightings(store)
    strangers = seen.similarities(seen.apart)
    known = calibration.similarity_of_rate(RARE) if calibration else None
    least = least_similarity(strangers, known=known)
    groups = join_alike(seen.pooled, seen.apart, least)
    order = seen.most_seen(groups)
    doubtful = (usual_similarity(strangers) + least) / 2
    people: list[SeenPerson] = []
    still: list[SeenPerson] = []
    for group in order:
        person = seen.person(group, groups, doubtful)
        (still if person.stays else people).append(person)
        if len(people) == top:
            break
    people += still
    note_search(store, (person.key for person in people), asked=["who is seen most often"], top=top)
    return SeenPeople(
        people=tuple(people),
        n_people=len(order),
        scenes=tuple(seen.scenes),
        n_sightings=len(seen.items),
        n_appearances=len(seen.pooled),
        min_similarity=least,
        strangers=strangers,
        joined=seen.similarities(_pairs_within(groups)),
    )


class _Sightings:
    """Everybody in an archive, in order of file and time.

    Args:
        store: The archive.

    Attributes:
        scenes: The pictures, with people or without.
        items: Number of each sighting.
        apart: Pairs of appearances that were side by side in a picture, each once.
        pooled: Mean embedding of every appearance, at unit length.
    """

    def __init__(self, store: Store) -> None:
        self.scenes = sorted(store.find_all(), key=lambda scene: (scene.path, scene.frame))
        people = [(n, p) for n, s in enumerate(self.scenes) for p in store.people_in(s.name)]
        self.items = [person.item for _, person in people]
        self._scene_of = np.array([number for number, _ in people], dtype=np.int64)
        self._boxes = np.array([p.box for _, p in people], dtype=np.float32).reshape(-1, 4)
        self._scores = np.array([p.score for _, p in people], dtype=np.float64)
        rows = [p.embedding for _, p in people]
        self._embeddings = np.array(rows, dtype=np.float32).reshape(len(rows), store.info.dim)
        self._labels = _appearances(store, self.items)
        n_appearances = int(self._labels.max(initial=-1)) + 1
        sums = np.zeros((n_appearances, store.info.dim))
        np.add.at(sums, self._labels, self._embeddings)
        self.pooled = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
        self.apart = self._apart()

    def _apart(self) -> Int64[np.ndarray, "K 2"]:
        starts = np.flatnonzero(np.diff(self._scene_of, prepend=-1))
        pairs = [np.zeros((0, 2), dtype=np.int64)]
        for rows in np.split(np.arange(len(self.items)), starts[1:]):
            one, other = np.nonzero(np.triu(_side_by_side(self._boxes[rows]), 1))
            pairs.append(np.sort(self._labels[rows[np.stack([one, other], axis=1)]], axis=1))
        found = np.unique(np.concatenate(pairs), axis=0)
        return np.asarray(found[found[:, 0] != found[:, 1]])

    def similarities(self, pairs: Int64[np.ndarray, "K 2"]) -> Float64[np.ndarray, " K"]:
        """Compare appearances as a whole, pair by pair."""
        parts = np.array_split(pairs, len(pairs) // _PAIRS_AT_ONCE + 1)
        ends = ((self.pooled[part[:, 0]], self.pooled[part[:, 1]]) for part in parts)
        return np.concatenate([np.einsum("kd,kd->k", one, other) for one, other in ends])

    def most_seen(self, groups: Int64[np.ndarray, " A"]) -> list[int]:
        """Order groups by the pictures that show them, each counted by its best score."""
        of_sighting = groups[self._labels]
        n_groups, n_scenes = int(groups.max(initial=-1)) + 1, len(self.scenes)
        best = np.zeros(n_groups)
        order = np.lexsort((-self._scores, self._scene_of, of_sighting))
        _, firsts = np.unique((of_sighting * n_scenes + self._scene_of)[order], return_index=True)
        np.add.at(best, of_sighting[order[firsts]], self._scores[order[firsts]])
        return [int(group) for group in np.argsort(-best, kind="stable")]

    def person(self, group: int, groups: Int64[np.ndarray, " A"], doubtful: float) -> SeenPerson:
        """Describe a group.

        Args:
            group: Number of the group.
            groups: Group of every appearance.
            doubtful: Mean similarity from which on it is open whether an appearance belongs here.
        """
        members = np.flatnonzero(groups == group)
        mean = self.pooled[members].mean(axis=0)
        rows = np.flatnonzero(np.isin(self._labels, members))
        key = self._key(members, mean)
        fits = (self.pooled[members] @ mean * len(members) - 1) / max(len(members) - 1, 1)
        appearances = [
            self._appearance(int(member), key, float(fit) if len(members) > 1 else 1.0)
            for member, fit in zip(members, fits, strict=True)
        ]
        similarity = self.pooled @ mean
        similarity[[*members, *self._apart_from(members)]] = -1.0
        open_ones = np.argsort(-similarity, kind="stable")[:PERHAPS]
        perhaps = [
            self._appearance(int(one), key, float(similarity[one]))
            for one in open_ones
            if similarity[one] >= doubtful
        ]
        n_scenes = len(np.unique(self._scene_of[rows]))
        return SeenPerson(
            key=self._hit(key, key),
            appearances=tuple(appearances),
            perhaps=tuple(perhaps),
            n_scenes=n_scenes,
            stays=self._stays(rows, n_scenes),
        )

    def _apart_from(self, members: Int64[np.ndarray, " _"]) -> Int64[np.ndarray, " _"]:
        """Return the appearances that were beside one of these."""
        is_met = np.isin(self.apart, members)
        return np.asarray(self.apart[is_met[:, ::-1]])

    def _key(self, members: Int64[np.ndarray, " _"], mean: Float64[np.ndarray, " D"]) -> int:
        """Choose the row of a large and typical sighting from the longest appearance."""
        counts = np.bincount(self._labels, minlength=len(self.pooled))[members]
        rows = np.flatnonzero(self._labels == members[np.argmax(counts)])
        heights = self._boxes[rows, 3] - self._boxes[rows, 1]
        rows = rows[heights >= np.median(heights)]
        return int(rows[np.argmax(self._embeddings[rows] @ mean)])

    def _appearance(self, label: int, key: int, similarity: float) -> SeenAppearance:
        rows = np.flatnonzero(self._labels == label)
        hits = tuple(self._hit(int(row), key) for row in rows)
        pooled = float(self.pooled[label] @ self._embeddings[key])
        return SeenAppearance(hits, similarity, pooled)

    def _hit(self, row: int, key: int) -> Hit:
        scene = self.scenes[self._scene_of[row]]
        return Hit(
            scene=scene.name,
            box=self._boxes[row],
            similarity=float(self._embeddings[row].astype(np.float64) @ self._embeddings[key]),
            score=float(self._scores[row]),
            item=self.items[row],
            record=scene,
        )

    def _stays(self, rows: Int64[np.ndarray, " _"], n_scenes: int) -> bool:
        """Tell whether a group is found at one place in most of the pictures of that size."""
        scene = self.scenes[self._scene_of[rows[0]]]
        size = (scene.width, scene.height)
        n_alike = sum((other.width, other.height) == size for other in self.scenes)
        if n_scenes < max(_STILL_SCENES, n_alike / 2):
            return False
        usual = np.median(self._boxes[rows], axis=0)[None]
        return bool((iou(self._boxes[rows], usual) >= _STILL_IOU).mean() >= _STILL_SHARE)


def _appearances(store: Store, items: Sequence[int]) -> Int64[np.ndarray, " N"]:
    """Return the appearance of every sighting; whoever is on no track is one alone."""
    numbers: dict[int, int] = {}
    n_appearances = 0
    for item in items:
        if item not in numbers:
            track = store.track(item)
            numbers |= dict.fromkeys(track or [item], n_appearances)
            n_appearances += 1
    return np.array([numbers[item] for item in items], dtype=np.int64)


def _side_by_side(boxes: Boxes) -> Bool[np.ndarray, "N N"]:
    """Tell for every pair whether the boxes are of different people."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return np.asarray(shared <= SIDE_BY_SIDE * np.minimum(areas[:, None], areas[None]))


def _pairs_within(groups: Int64[np.ndarray, " A"]) -> Int64[np.ndarray, "K 2"]:
    """Return the pairs of appearances that are of one group, for its first members."""
    return np.concatenate([np.zeros((0, 2), dtype=np.int64), *_pairs_of_each(groups)])


def _pairs_of_each(groups: Int64[np.ndarray, " A"]) -> Iterator[Int64[np.ndarray, "K 2"]]:
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    for members in np.split(order, starts[1:]):
        one, other = np.triu_indices(min(len(members), _MOST_MEMBERS), 1)
        yield np.stack([members[one], members[other]], axis=1)
