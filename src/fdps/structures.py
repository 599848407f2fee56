"""The structures that travel between all parts, and the conventions they follow.

Conventions, everywhere in fdps:

* A *scene* is an uncropped picture. Its ``boxes`` are float32 ``x1 y1 x2 y2`` in the pixels of the
  picture as it is shown (upright), with ``0 <= x1 < x2 <= width`` and likewise for y.
* A *person id* is an integer ``>= 0``; :data:`UNLABELLED` (-1) marks a person without identity.
* An *embedding* has unit length; *similarity* is the inner product of two, higher is more alike.
* A *score* is the confidence of the detector in [0, 1].

Axes in shapes: N boxes or detections, D embedding dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt8
from numpy.typing import NDArray

UNLABELLED = -1
"""Person id of a person whose identity nobody annotated."""

BACKGROUND_ID = -2
"""Person id of a region or a detection that shows nobody; no annotation has it."""

Boxes = Float32[np.ndarray, "N 4"]
PersonIds = Int64[np.ndarray, " N"]
Picture = UInt8[np.ndarray, "H W 3"]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One uncropped picture and the people annotated in it.

    Args:
        name: Unique within its set; never an absolute path.
        path: The picture file.
        boxes: People, one row each; may be empty.
        person_ids: Identity of each row, or :data:`UNLABELLED`.
        camera: Name of the camera, where the data set tells.
        frame: Frame number within the recording of that camera, where the data set tells.
        seconds: When the picture was taken, where the data set tells; scenes of one camera share
            a clock, which may start anywhere.
        ignored: Boxes, like ``boxes``, of which nobody can say whether they are people: training
            takes what is there neither for a person nor for background. ``None`` for none.
        teacher: Embedding of each row by another model, as it came from that model; a row of NaN
            where there is none. ``None`` if there is none at all.
    """

    name: str
    path: Path
    boxes: Boxes
    person_ids: PersonIds
    camera: str | None = None
    frame: int | None = None
    seconds: float | None = None
    ignored: Float32[np.ndarray, "M 4"] | None = None
    teacher: Float[np.ndarray, "N D"] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A person to look for: one box in one scene.

    Args:
        scene: Name of the scene that shows the person.
        box: The person, ``x1 y1 x2 y2`` in pixels of that scene.
        person_id: Identity, at least 0.
        gallery: Names of the scenes to search, in protocol order (entries may repeat, as in
            CUHK-SYSU); ``None`` means all scenes of the set but the query's own.
        gallery_boxes: The person as the list has them: position in ``gallery`` → box, in pixels
            of that scene. A position that is missing shows somebody else. Two entries of one
            scene may have two boxes. ``None``: the list has names only, and the annotations of
            the scenes tell who is where.
    """

    scene: str
    box: Float32[np.ndarray, " 4"]
    person_id: int
    gallery: tuple[str, ...] | None = None
    gallery_boxes: Mapping[int, Float32[np.ndarray, " 4"]] | None = None

    def gallery_entries(self) -> Iterator[tuple[str, Float32[np.ndarray, " 4"] | None]]:
        """Scene name and listed box (or ``None``) of every gallery entry, in order.

        Example:
            >>> box = np.array([0, 0, 10, 20], dtype=np.float32)
            >>> query = Query("a", box, 7, gallery=("b", "c", "b"), gallery_boxes={0: box})
            >>> [(name, shown is not None) for name, shown in query.gallery_entries()]
            [('b', True), ('c', False), ('b', False)]
        """
        boxes = self.gallery_boxes or {}
        for position, name in enumerate(self.gallery or ()):
            yield name, boxes.get(position)


@dataclass(frozen=True, slots=True, eq=False)
class SceneSet:
    """A split of a data set: its scenes and, for test splits, its queries.

    Args:
        name: A name such as ``prw/test``.
        scenes: In data set order; names are unique.
        queries: Every query names a scene of this set.
        query_lists: Further lists of queries that the data set brings, read when they are called
            for. A list named by a number (``"100"``) has the same queries as ``queries``, in the
            same order, with galleries of so many entries; any other name (``"occlusion"``,
            ``"mini"``) is a choice of queries, with or without galleries of their own.
        teacher_hash: The model whose embeddings the scenes have; empty if they have none.
    """

    name: str
    scenes: tuple[Scene, ...]
    queries: tuple[Query, ...] = field(default=())
    query_lists: Mapping[str, Callable[[], tuple[Query, ...]]] = field(default_factory=dict)
    teacher_hash: str = ""

    def __len__(self) -> int:
        return len(self.scenes)

    @property
    def n_boxes(self) -> int:
        """Annotated people, counted once per picture."""
        return sum(len(scene.boxes) for scene in self.scenes)

    @property
    def teacher_dim(self) -> int:
        """Length of the teacher's embeddings; 0 if no scene has any."""
        return next((s.teacher.shape[1] for s in self.scenes if s.teacher is not None), 0)

    @property
    def person_ids(self) -> list[int]:
        """The distinct labelled identities, ascending."""
        ids: set[int] = set()
        for scene in self.scenes:
            ids.update(scene.person_ids.tolist())
        return sorted(ids - {UNLABELLED})


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """People found in one picture, best first.

    Args:
        boxes: In pixels of the picture that was given.
        scores: Detector confidence, falling.
        embeddings: Unit rows.
    """

    boxes: Boxes
    scores: Float32[np.ndarray, " N"]
    embeddings: Float32[np.ndarray, "N D"]

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, slots=True)
class SceneRecord:
    """One picture in an archive, or one frame of a video.

    Args:
        name: Unique in the archive; what results show.
        path: The file, absolute, when it was added; unique together with ``frame``.
        sha256: Hash of the file's bytes, 64 hexadecimal digits; unique together with ``frame``.
        width: Pixels, upright.
        height: Pixels, upright.
        camera: Name of the camera, where it is known.
        time: When it was taken, ISO 8601, where it is known. Without an offset from UTC it is the
            time of day of this machine.
        frame: Number of the frame in the video, from 0; 0 for a picture.
        offset_s: Seconds from the beginning of the video; ``None`` for a picture.
    """

    name: str
    path: str
    sha256: str
    width: int
    height: int
    camera: str | None = None
    time: str | None = None
    frame: int = 0
    offset_s: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Hit:
    """One search result.

    Args:
        scene: Name of the scene in the archive.
        box: The person found, in pixels of that scene.
        similarity: Inner product of the embeddings, in [-1, 1].
        score: Detector confidence of the box.
        item: Number of the person in the archive, never given to another; -1 outside an archive.
        record: What the archive knows about the scene, where the search read it along.
    """

    scene: str
    box: Float32[np.ndarray, " 4"]
    similarity: float
    score: float
    item: int = -1
    record: SceneRecord | None = None


@dataclass(frozen=True, slots=True)
class RegionLimits:
    """Which proposals of a network are looked at in tests.

    Args:
        min_score: Least score of a proposal, in [0, 1); 0 looks at all that are kept.
        max_iou: A proposal that overlaps a better one by more is left out; above 0, at most 1.
    """

    min_score: float
    max_iou: float


@runtime_checkable
class Embedder(Protocol):
    """A model that finds and embeds people: a trained network, or detector and re-ID."""

    @property
    def model_hash(self) -> str:
        """Identifies weights and preprocessing; embeddings of different hashes never mix."""

    @property
    def dim(self) -> int:
        """Length of an embedding."""

    def detect(self, image: Picture) -> Detections:
        """Find and embed everybody in an RGB picture."""

    def embed(self, image: Picture, boxes: Boxes) -> Float32[np.ndarray, "N D"]:
        """Embed given people, without looking for others."""


@runtime_checkable
class BatchEmbedder(Embedder, Protocol):
    """An embedder that looks at several pictures at once."""

    def detect_batch(self, images: Sequence[Picture]) -> list[Detections]:
        """Find and embed everybody in RGB pictures of one size, as one after another would."""


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """People found in one picture when a given person was sought there, best score first.

    Args:
        boxes: In pixels of the picture that was searched.
        scores: Detector confidence, falling.
        similarities: How alike each is to the person who is sought; higher is more alike.
    """

    boxes: Boxes
    scores: Float32[np.ndarray, " N"]
    similarities: Float32[np.ndarray, " N"]

    def __len__(self) -> int:
        return len(self.boxes)


@runtime_checkable
class PairEmbedder(Embedder, Protocol):
    """A model that looks at two pictures at once: what it finds depends on who is sought.

    What it does without a query is what an :class:`Embedder` does.
    """

    def sought(self, image: Picture, box: Float32[np.ndarray, " 4"]) -> Any:
        """Compute what all pairs with a query share.

        Args:
            image: The picture that shows the person.
            box: The person.
        """

    def begun(self, image: Picture) -> Any:
        """Compute what all pairs with a gallery picture share."""

    def compare(self, sought: Any, begun: Any) -> Compared:
        """Look for a person in a picture.

        Args:
            sought: From :meth:`sought`.
            begun: From :meth:`begun`.
        """


def empty_boxes() -> NDArray[np.float32]:
    """Return an array of no boxes, in the shape and dtype of boxes."""
    return np.zeros((0, 4), dtype=np.float32)


def names_are_unique(names: Sequence[str]) -> bool:
    """Return whether no name occurs twice."""
    return len(set(names)) == len(names)
