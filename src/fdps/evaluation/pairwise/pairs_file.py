"""The pairs file: what was found in every picture for every person who was sought there.

``fdps predict --pairwise`` writes it, ``fdps evaluate --pairwise`` reads it. It is a safetensors
file. The queries are a choice of those of the data set; each has detections of its own in every
picture that it was compared with, and the network without a query has its detections as well:

==================  ======  =======================================================
tensor              shape   meaning
==================  ======  =======================================================
``queries``         (K,)    int64 row of each query in the data set, rising
``compared``        (K, S)  bool whether a query was compared with a scene
``boxes``           (M, 4)  float32 ``x1 y1 x2 y2``, pixels of the given picture
``scores``          (M,)    float32 detector confidence in [0, 1]
``similarities``    (M,)    float32 how alike to the person of the query
``query``           (M,)    int64 row into ``queries``
``scene``           (M,)    int64 row into the scene list
``plain_boxes``     (N, 4)  float32 detections without a query
``plain_scores``    (N,)    float32 confidence of each
``plain_scene``     (N,)    int64 row into the scene list
==================  ======  =======================================================

Its metadata has one key, ``fdps``: JSON with ``format`` ("fdps-pairs"), ``version`` (1), ``scenes``
(names in order), ``model_hash``, ``data_hash``, ``versions``, and the seconds that the pairs and
the pictures took.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fdps.boxes import is_valid
from fdps.durable import write_file
from fdps.errors import MissingDataError, PredictionsError
from fdps.predictions import Predictions
from fdps.structures import SceneSet

FORMAT, VERSION = "fdps-pairs", 1
_TENSORS = {
    "queries": ("I64", "K"),
    "compared": ("BOOL", "K S"),
    "boxes": ("F32", "M 4"),
    "scores": ("F32", "M"),
    "similarities": ("F32", "M"),
    "query": ("I64", "M"),
    "scene": ("I64", "M"),
    "plain_boxes": ("F32", "N 4"),
    "plain_scores": ("F32", "N"),
    "plain_scene": ("I64", "N"),
}
_ROWS = ("boxes", "scores", "similarities", "query", "scene")
_PLAIN_ROWS = ("plain_boxes", "plain_scores", "plain_scene")


@dataclass(frozen=True, slots=True, eq=False)
class PairPredictions:
    """Detections of every query in every picture that it was compared with.

    Args:
        scenes: Names in order; ``scene`` and ``plain_scene`` index them.
        queries: Row of each query in the data set.
        compared: Whether a query was compared with a scene.
        boxes: Detections of all pairs.
        scores: Confidence of each.
        similarities: How alike each is to the person of its query.
        query: Query of each, as a row into ``queries``.
        scene: Scene of each.
        plain_boxes: Detections without a query.
        plain_scores: Confidence of each.
        plain_scene: Scene of each.
        model_hash: Which weights made them.
        data_hash: Which annotations they belong to (:func:`fdps.predictions.data_hash`).
        seconds_pairs: What all pairs took, pictures decoded.
        seconds_pictures: What the detections without a query took, pictures decoded.
        versions: Versions of fdps, torch and others.
    """

    scenes: tuple[str, ...]
    queries: Int64[np.ndarray, " K"]
    compared: Bool[np.ndarray, "K S"]
    boxes: Float32[np.ndarray, "M 4"]
    scores: Float32[np.ndarray, " M"]
    similarities: Float32[np.ndarray, " M"]
    query: Int64[np.ndarray, " M"]
    scene: Int64[np.ndarray, " M"]
    plain_boxes: Float32[np.ndarray, "N 4"]
    plain_scores: Float32[np.ndarray, " N"]
    plain_scene: Int64[np.ndarray, " N"]
    model_hash: str = ""
    data_hash: str = ""
    seconds_pairs: float = 0.0
    seconds_pictures: float = 0.0
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def n_pairs(self) -> int:
        """Pairs of a query and a picture that were compared."""
        return int(self.compared.sum())

    def plain(self, scenes: SceneSet) -> Predictions:
        """Return the detections without a query as predictions that embed nobody.

        Args:
            scenes: The data set, for its queries.
        """
        return Predictions(
            scenes=self.scenes,
            boxes=self.plain_boxes,
            scores=self.plain_scores,
            embeddings=np.zeros((len(self.plain_boxes), 0), dtype=np.float32),
            scene=self.plain_scene,
            queries=scenes.queries,
            query_embeddings=np.zeros((len(scenes.queries), 0), dtype=np.float32),
            model_hash=self.model_hash,
            data_hash=self.data_hash,
            versions=self.versions,
        )

    def is_part_of(self, other: "PairPredictions") -> bool:
        """Tell whether both come from the same weights, code, queries and annotations."""
        names = ("scenes", "model_hash", "data_hash", "versions")
        return all(getattr(self, n) == getattr(other, n) for n in names) and np.array_equal(
            self.queries, other.queries
        )


def joined(parts: Sequence[PairPredictions]) -> PairPredictions:
    """Put parts of one prediction together; there is at least one."""
    rows: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in (*_ROWS, *_PLAIN_ROWS)
    }
    return replace(
        parts[0],
        compared=np.any([part.compared for part in parts], axis=0),
        seconds_pairs=sum(part.seconds_pairs for part in parts),
        seconds_pictures=sum(part.seconds_pictures for part in parts),
        **rows,
    )


def save_pairs(pairs: PairPredictions, path: Path) -> None:
    """Write a pairs file; an older file at ``path`` is replaced whole or not at all."""
    header = {
        "format": FORMAT,
        "version": VERSION,
        "scenes": list(pairs.scenes),
        "model_hash": pairs.model_hash,
        "data_hash": pairs.data_hash,
        "seconds_pairs": pairs.seconds_pairs,
        "seconds_pictures": pairs.seconds_pictures,
        "versions": dict(pairs.versions),
    }
    tensors = {name: np.ascontiguousarray(getattr(pairs, name)) for name in _TENSORS}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, save(tensors, metadata={"fdps": json.dumps(header)}))


def load_pairs(path: Path) -> PairPredictions:
    """Read and check a pairs file.

    Raises:
        MissingDataError: No such file.
        PredictionsError: Not a pairs file, a tensor is missing or of another type or shape, or a
            value is out of range; the message names it.
    """
    if not path.is_file():
        raise MissingDataError(
            f"no pairs file at {path}", hint="write one with: fdps predict RUN --pairwise"
        )
    try:
        with safe_open(path, framework="numpy") as file:
            header = _header(file.metadata() or {}, path)
            _check_layout(file, len(header["scenes"]), path)
            tensors = {name: file.get_tensor(name) for name in _TENSORS}
    except (SafetensorError, OSError) as error:
        raise PredictionsError(f"{path} is not a safetensors file: {error}") from error
    _check_values(tensors, len(header["scenes"]), path)
    scenes = tuple(header.pop("scenes"))
    return PairPredictions(scenes=scenes, **header, **tensors)


def _header(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    try:
        header = json.loads(metadata["fdps"])
        found = header.pop("format"), header.pop("version")
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise PredictionsError(
            f"{path} has no metadata of a pairs file",
            hint="it is written by fdps predict RUN --pairwise",
        ) from error
    if found != (FORMAT, VERSION):
        raise PredictionsError(f"{path} holds {found[0]} {found[1]}, expected {FORMAT} {VERSION}")
    kinds = {
        "scenes": list,
        "model_hash": str,
        "data_hash": str,
        "seconds_pairs": float,
        "seconds_pictures": float,
        "versions": dict,
    }
    if header.keys() != kinds.keys() or not all(
        isinstance(header[name], kind) for name, kind in kinds.items()
    ):
        raise PredictionsError(f"{path}: the metadata must be {', '.join(kinds)}")
    names = header["scenes"]
    if not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise PredictionsError(f"{path}: metadata 'scenes' must be distinct names")
    return dict(header)


def _check_layout(file: Any, n_scenes: int, path: Path) -> None:
    """Refuse missing tensors, other types and other shapes before anything is read."""
    present, sizes = set(file.keys()), {"4": 4, "S": n_scenes}
    for name, (dtype, layout) in _TENSORS.items():
        if name not in present:
            raise PredictionsError(f"{path}: tensor {name!r} is missing")
        stored, axes = file.get_slice(name), layout.split()
        shape = stored.get_shape()
        fits = len(shape) == len(axes) and all(
            sizes.setdefault(axis, size) == size for axis, size in zip(axes, shape, strict=True)
        )
        if stored.get_dtype() != dtype or not fits:
            expected = [sizes.get(axis, axis) for axis in axes]
            raise PredictionsError(
                f"{path}: tensor {name!r} must be {dtype} of shape {expected}, "
                f"got {stored.get_dtype()} of shape {shape}"
            )


def _check_values(tensors: Mapping[str, np.ndarray], n_scenes: int, path: Path) -> None:
    queries = tensors["queries"]
    if (np.diff(queries, prepend=-1) <= 0).any():
        raise PredictionsError(f"{path}: tensor 'queries' must rise from 0 or more")
    most = {
        "scores": 1,
        "plain_scores": 1,
        "scene": n_scenes - 1,
        "plain_scene": n_scenes - 1,
        "query": len(queries) - 1,
    }
    for name, high in most.items():
        values = tensors[name]
        if not ((values >= 0) & (values <= high)).all():
            raise PredictionsError(f"{path}: tensor {name!r} must be in 0..{high}")
    if not np.isfinite(tensors["similarities"]).all():
        raise PredictionsError(f"{path}: tensor 'similarities' holds NaN or infinity")
    for name in ("boxes", "plain_boxes"):
        if not is_valid(tensors[name]).all():
            raise PredictionsError(
                f"{path}: a row of {name!r} has no area: a box is x1 y1 x2 y2 with x1 < x2 and "
                "y1 < y2"
            )
    if not tensors["compared"][tensors["query"], tensors["scene"]].all():
        raise PredictionsError(f"{path}: a detection is of a pair that was not compared")
