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
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fdps.errors import MissingDataError, PredictionsError
from fdps.structures import Query, SceneSet

FORMAT, VERSION = "fdps-predictions", 1
_DTYPES = {
    "boxes": np.float32,
    "scores": np.float32,
    "embeddings": np.float32,
    "scene": np.int64,
    "query_embeddings": np.float32,
}


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
        versions: Of fdps, torch and others.
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
        digest.update(scene.name.encode() + b"\0")
        digest.update(scene.boxes.astype("<f4").tobytes())
        digest.update(scene.person_ids.astype("<i8").tobytes())
    for query in scenes.queries:
        digest.update(f"{query.scene}\0{query.person_id}\0".encode())
        digest.update(query.box.astype("<f4").tobytes())
    return digest.hexdigest()[:16]


def save_predictions(predictions: Predictions, path: Path) -> None:
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
    tensors = {name: np.ascontiguousarray(getattr(predictions, name)) for name in _DTYPES}
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    aside.write_bytes(save(tensors, metadata={"fdps": json.dumps(header)}))
    aside.replace(path)


def load_predictions(path: Path) -> Predictions:
    """Read and check a predictions file, ours or another system's.

    Raises:
        MissingDataError: No such file.
        PredictionsError: Not a predictions file, a field is missing or of the wrong type or
            shape, or a value contradicts another (the message names it).
    """
    if not path.is_file():
        raise MissingDataError(
            f"no predictions file at {path}", hint="write one with: fdps predict RUN --data KIND"
        )
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise PredictionsError(f"{path} is not a safetensors file: {error}") from error
    header = _header(metadata, path)
    _check_tensors(tensors, len(header["scenes"]), len(header["queries"]), path)
    return Predictions(
        scenes=tuple(header["scenes"]),
        queries=tuple(_query(row, i, path) for i, row in enumerate(header["queries"])),
        model_hash=str(header.get("model_hash", "")),
        data_hash=str(header.get("data_hash", "")),
        versions=dict(header.get("versions", {})),
        **{name: tensors[name] for name in _DTYPES},
    )


def _header(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    try:
        header = json.loads(metadata["fdps"])
    except KeyError:
        raise PredictionsError(
            f"{path} has no 'fdps' metadata", hint="docs/reference/predictions.md has the format"
        ) from None
    except json.JSONDecodeError as error:
        raise PredictionsError(f"{path}: the 'fdps' metadata is not JSON: {error}") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise PredictionsError(f"{path}: metadata 'format' must be {FORMAT!r}")
    if header.get("version") != VERSION:
        raise PredictionsError(
            f"{path} has format version {header.get('version')!r}, this fdps reads {VERSION}"
        )
    for name in ("scenes", "queries"):
        if not isinstance(header.get(name), list):
            raise PredictionsError(f"{path}: metadata {name!r} must be a list")
    names = header["scenes"]
    if not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise PredictionsError(f"{path}: metadata 'scenes' must be distinct names")
    return header


def _query(row: object, index: int, path: Path) -> Query:
    try:
        assert isinstance(row, dict)
        box = np.asarray(row["box"], dtype=np.float32).reshape(4)
        return Query(scene=str(row["scene"]), box=box, person_id=int(row["person_id"]))
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise PredictionsError(
            f"{path}: query {index} must have scene, box [x1,y1,x2,y2] and person_id, got {row!r}"
        ) from error


def _check_tensors(
    tensors: Mapping[str, np.ndarray], n_scenes: int, n_queries: int, path: Path
) -> None:
    for name, dtype in _DTYPES.items():
        if name not in tensors:
            raise PredictionsError(f"{path}: tensor {name!r} is missing")
        if tensors[name].dtype != dtype:
            raise PredictionsError(
                f"{path}: tensor {name!r} must be {np.dtype(dtype)}, got {tensors[name].dtype}"
            )
    n, dim = len(tensors["boxes"]), tensors["embeddings"].shape[-1]
    shapes = {
        "boxes": (n, 4),
        "scores": (n,),
        "embeddings": (n, dim),
        "scene": (n,),
        "query_embeddings": (n_queries, dim),
    }
    for name, shape in shapes.items():
        if tensors[name].shape != shape:
            raise PredictionsError(
                f"{path}: tensor {name!r} must have shape {shape}, got {tensors[name].shape}"
            )
        if not np.isfinite(tensors[name]).all():
            raise PredictionsError(f"{path}: tensor {name!r} holds NaN or infinity")
    rows = tensors["scene"]
    if n and (rows.min() < 0 or rows.max() >= n_scenes):
        raise PredictionsError(
            f"{path}: tensor 'scene' must be in 0..{n_scenes - 1}, got {rows.min()}..{rows.max()}"
        )
