"""The predictions file: what a system found in every scene of a data set, and in the queries.

``fdps predict`` writes it, ``fdps evaluate --predictions FILE`` reads it; any other system can
write one to be scored by the same evaluator. It is a safetensors file:

=====================  =========  ======================================================
tensor                 shape      meaning
=====================  =========  ======================================================
``boxes``              (N, 4)     float32 ``x1 y1 x2 y2``, pixels of the given picture
``scores``             (N,)       float32 detector confidence in [0, 1]
``embeddings``         (N, D)     float32 unit rows
``scene``              (N,)       int64 row into the scene list; any order
``query_embeddings``   (Q, D)     float32 unit rows
=====================  =========  ======================================================

Its metadata has one key, ``fdps``: JSON with ``format`` ("fdps-predictions"), ``version`` (1),
``scenes`` (names in order), ``queries`` (``scene``, ``box``, ``person_id``), ``model_hash``,
``data_hash`` (empty: unknown) and ``versions``.
"""

import hashlib
import json
import os
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fdps.boxes import is_valid
from fdps.durable import write_file
from fdps.errors import MissingDataError, PredictionsError
from fdps.structures import Query, SceneSet

FORMAT, VERSION = "fdps-predictions", 1
_TENSORS = {
    "boxes": ("F32", "N 4"),
    "scores": ("F32", "N"),
    "embeddings": ("F32", "N D"),
    "scene": ("I64", "N"),
    "query_embeddings": ("F32", "Q D"),
}
_UNIT_TOLERANCE = 1e-2  # what half precision leaves of a unit length, and more
_MAX_PX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Detections and embeddings of every scene, and the embeddings of every query.

    Args:
        scenes: Names in order; ``scene`` indexes them. A scene without detections is listed too.
        boxes: Detections of all scenes.
        scores: Confidence of each.
        embeddings: Unit row of each.
        scene: Scene of each.
        queries: Who is looked for.
        query_embeddings: Unit row of each query.
        model_hash: Which weights made the file.
        data_hash: Which annotations it belongs to (:func:`data_hash`), or empty.
        versions: Versions of fdps, torch and others.
    """

    scenes: tuple[str, ...]
    boxes: Float32[np.ndarray, "N 4"]
    scores: Float32[np.ndarray, " N"]
    embeddings: Float32[np.ndarray, "N D"]
    scene: Int64[np.ndarray, " N"]
    queries: tuple[Query, ...]
    query_embeddings: Float32[np.ndarray, "Q D"]
    model_hash: str = ""
    data_hash: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


def data_hash(scenes: SceneSet) -> str:
    """Name the annotations of a scene set: equal sets have equal hashes on every machine.

    Returns:
        Sixteen hexadecimal digits over names, boxes, identities and queries, in order.
    """
    digest = hashlib.sha256()
    for scene in scenes.scenes:
        # Names of files that are not UTF-8 hold lone surrogates (PEP 383).
        digest.update(scene.name.encode(errors="surrogatepass") + b"\0")
        digest.update(scene.boxes.astype("<f4").tobytes())
        digest.update(scene.person_ids.astype("<i8").tobytes())
    for query in scenes.queries:
        digest.update(f"{query.scene}\0{query.person_id}\0".encode(errors="surrogatepass"))
        digest.update(query.box.astype("<f4").tobytes())
    return digest.hexdigest()[:16]


def save_predictions(predictions: Predictions, path: os.PathLike[str] | str) -> None:
    """Write a predictions file; an older file at ``path`` is replaced whole or not at all."""
    header = {
        "format": FORMAT,
        "version": VERSION,
        "scenes": list(predictions.scenes),
        "queries": [
            {"scene": q.scene, "box": q.box.tolist(), "person_id": q.person_id}
            for q in predictions.queries
        ],
        "model_hash": predictions.model_hash,
        "data_hash": predictions.data_hash,
        "versions": dict(predictions.versions),
    }
    tensors = {name: np.ascontiguousarray(getattr(predictions, name)) for name in _TENSORS}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, save(tensors, metadata={"fdps": json.dumps(header)}))


def load_predictions(path: os.PathLike[str] | str) -> Predictions:
    """Read and check a predictions file, ours or another system's.

    Raises:
        MissingDataError: No such file.
        PredictionsError: Not a predictions file, a field is missing or of the wrong type or
            shape, or a value contradicts another (the message names it).
    """
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(
            f"no predictions file at {path}", hint="write one with: fdps predict RUN --data KIND"
        )
    try:
        with safe_open(path, framework="numpy") as file:
            header = _header(file.metadata() or {}, path)
            _check_layout(file, len(header["queries"]), path)
            tensors = {name: file.get_tensor(name) for name in _TENSORS}
    except (SafetensorError, OSError) as error:
        raise PredictionsError(f"{path} is not a safetensors file: {error}") from error
    _check_values(tensors, len(header["scenes"]), path)
    names = set(header["scenes"])
    return Predictions(
        scenes=tuple(header["scenes"]),
        queries=tuple(_query(row, i, names, path) for i, row in enumerate(header["queries"])),
        model_hash=header["model_hash"],
        data_hash=header["data_hash"],
        versions=header["versions"],
        **tensors,
    )


def _header(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    try:
        header = json.loads(metadata["fdps"])
    except KeyError:
        raise PredictionsError(
            f"{path} has no 'fdps' metadata", hint="docs/reference/predictions.md has the format"
        ) from None
    except (ValueError, RecursionError) as error:
        raise PredictionsError(f"{path}: the 'fdps' metadata is not JSON: {error}") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise PredictionsError(f"{path}: metadata 'format' must be {FORMAT!r}")
    if header.get("version") != VERSION:
        raise PredictionsError(
            f"{path} has format version {header.get('version')!r}, this fdps reads {VERSION}"
        )
    header = {"model_hash": "", "data_hash": "", "versions": {}} | header
    kinds = {"scenes": list, "queries": list, "model_hash": str, "data_hash": str, "versions": dict}
    for name, kind in kinds.items():
        if not isinstance(header.get(name), kind):
            json_name = {list: "a list", str: "a string", dict: "an object"}[kind]
            raise PredictionsError(f"{path}: metadata {name!r} must be {json_name}")
    names = header["scenes"]
    if not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise PredictionsError(f"{path}: metadata 'scenes' must be distinct names")
    return header


def _query(row: object, index: int, names: Container[str], path: Path) -> Query:
    match row:
        case {"scene": str(scene), "box": [_, _, _, _] as box, "person_id": int(person_id)}:
            if scene in names and person_id >= 0 and _is_box(box):
                return Query(scene, np.array(box, dtype=np.float32), person_id)
    raise PredictionsError(
        f"{path}: query {index} must have a listed scene, a box [x1, y1, x2, y2] with x1 < x2 and "
        f"y1 < y2, and a person_id of at least 0, got {row!r}"
    )


def _is_box(box: list[Any]) -> bool:
    if not all(isinstance(side, int | float) for side in box):
        return False
    x1, y1, x2, y2 = box
    return bool(-_MAX_PX < x1 < x2 < _MAX_PX and -_MAX_PX < y1 < y2 < _MAX_PX)


def _check_layout(file: Any, n_queries: int, path: Path) -> None:
    """Refuse missing tensors, other types and other shapes before anything is read."""
    present, sizes = set(file.keys()), {"4": 4, "Q": n_queries}
    for name, (dtype, layout) in _TENSORS.items():
        if name not in present:
            raise PredictionsError(f"{path}: tensor {name!r} is missing")
        stored, axes = file.get_slice(name), layout.split()
        if stored.get_dtype() != dtype:
            raise PredictionsError(
                f"{path}: tensor {name!r} must be {dtype}, got {stored.get_dtype()}"
            )
        shape = stored.get_shape()
        if len(shape) != len(axes) or any(
            sizes.setdefault(axis, size) != size for axis, size in zip(axes, shape, strict=True)
        ):
            expected = [sizes.get(axis, axis) for axis in axes]
            raise PredictionsError(
                f"{path}: tensor {name!r} must have shape {expected}, got {shape}"
            )


def _check_values(tensors: Mapping[str, np.ndarray], n_scenes: int, path: Path) -> None:
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise PredictionsError(f"{path}: tensor {name!r} holds NaN or infinity")
    for name, low, high in (("scores", 0, 1), ("scene", 0, n_scenes - 1)):
        values = tensors[name]
        if len(values) and (values.min() < low or values.max() > high):
            raise PredictionsError(
                f"{path}: tensor {name!r} must be in {low}..{high}, "
                f"got {values.min()}..{values.max()}"
            )
    _check_boxes(tensors["boxes"], path)
    for name in ("embeddings", "query_embeddings"):
        lengths = np.linalg.norm(tensors[name].astype(np.float64), axis=1)
        wrong = np.flatnonzero(np.abs(lengths - 1) > _UNIT_TOLERANCE)
        if len(wrong):
            row = int(wrong[0])
            raise PredictionsError(
                f"{path}: {len(wrong)} rows of {name!r} are not of unit length, the first is row "
                f"{row} with length {lengths[row]:.6g}",
                hint="divide every embedding by its length; similarities are inner products",
            )


def _check_boxes(boxes: np.ndarray, path: Path) -> None:
    if len(boxes) and np.abs(boxes).max() <= 1 and not np.array_equal(boxes, boxes.round()):
        raise PredictionsError(
            f"{path}: all {len(boxes)} boxes lie within one pixel, the first is "
            f"{boxes[0].tolist()}: their coordinates look like shares of the picture",
            hint="boxes are in pixels: multiply x by the width and y by the height",
        )
    wrong = np.flatnonzero(~is_valid(boxes))
    if not len(wrong):
        return
    row = int(wrong[0])
    x, y, width, height = boxes[row].tolist()
    could_be_sizes = bool((boxes[:, 2:] > 0).all())
    raise PredictionsError(
        f"{path}: {len(wrong)} of {len(boxes)} boxes have no area, the first is row {row}, "
        f"{boxes[row].tolist()}: a box is x1 y1 x2 y2 with x1 < x2 and y1 < y2",
        hint=f"if these are x y width height, write {[x, y, x + width, y + height]}"
        if could_be_sizes
        else "correct the rows or take them out",
    )
