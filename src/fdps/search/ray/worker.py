"""The work of a machine of a Ray cluster: read content, find people, and report.

Rows travel between our own processes. They hold plain numbers, JSON and the bytes of arrays, so a
row can be read wherever it arrives; pixels stay where they were decoded.

.. code-block:: text

    files to read     {"path": bytes}
    their content     {"sha256": str, "problem": str, "machine": str}
    files to look at  {"number": int64, "sha256": str, "request": str}, JSON as for a decoder
    what they give    {"number": int64, "header": str, and boxes, scores, embeddings: bytes}

``number`` is the place of the file in the list of whoever sent it.
"""

import json
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fdps.decoding.messages import Ending
from fdps.decoding.pool import Decoders
from fdps.errors import ArchiveError, FdpsError, ModelError, PictureError
from fdps.search.ingest.looking import SeenFrame, look_at_all
from fdps.search.ingest.plan import content_hash
from fdps.search.ray.copies import Copies, hashes_elsewhere
from fdps.structures import Detections, Embedder

LoadModel = Callable[[], Embedder]
"""A function that loads the model from its place.

It is called on every machine, so it must be possible to pickle it.
"""

Rows = dict[str, Any]
"""Columns by name."""

_ARRAYS = ("boxes", "scores", "embeddings")
_FRAME_FIELDS = ("width", "height", "time", "frame", "offset_s", "duration_s")
_FLOAT32 = np.dtype("<f4")


def read_contents(batch: Rows) -> Rows:
    """Return the SHA-256 of every file, or why no machine can read it."""
    hashes, problems = [], []
    for path in batch["path"]:
        sha256 = problem = ""
        try:
            sha256 = content_hash(Path(os.fsdecode(path)))
        except PictureError as error:
            problem = str(error)
        hashes.append(sha256)
        problems.append(problem)
    unread = [number for number, sha256 in enumerate(hashes) if not sha256]
    elsewhere = hashes_elsewhere([batch["path"][number] for number in unread])
    for number, sha256 in zip(unread, elsewhere, strict=True):
        hashes[number] = sha256
    machine = [platform.node()] * len(hashes)
    return {"sha256": hashes, "problem": problems, "machine": machine}


class LookingWorker:
    """Holds the model and decoders, and looks at one batch of files after the other.

    A file that this machine cannot read is copied from one that can, and the copy is removed when
    it was looked at. A model that cannot be used is reported as a row: exceptions of Ray would hide
    what is wrong.

    Args:
        load_model: Function that loads the model as this machine has it.
        model_hash: Hash of the model that made the archive.
        n_decoders: Number of processes that decode.
        batch: Number of frames that the model looks at together.
    """

    def __init__(
        self, load_model: LoadModel, model_hash: str, n_decoders: int, batch: int = 1
    ) -> None:
        self._decoders = Decoders(n_decoders)
        self._batch = batch
        self._copies = Copies()
        self._embedder: Embedder | None = None
        self._trouble = ""
        try:
            embedder = load_model()
        except FdpsError as error:
            self._trouble = json.dumps({"kind": "no model", "text": f"{platform.node()}: {error}"})
            return
        if embedder.model_hash == model_hash:
            self._embedder = embedder
        else:
            text = f"{platform.node()} has another model there ({embedder.model_hash[:12]})"
            self._trouble = json.dumps({"kind": "other model", "text": text})

    def __call__(self, batch: Rows) -> Iterator[Rows]:
        """Look at files; yield a row for every frame and every ending, as soon as there is one."""
        numbers = batch["number"]
        if self._embedder is None:
            yield _row(int(numbers[0]), self._trouble)
            return
        columns = (batch[name] for name in ("number", "sha256", "request"))
        files = (self._at_hand(int(number), *rest) for number, *rest in zip(*columns, strict=True))
        for file, events in look_at_all(files, self._decoders, self._embedder, self._batch):
            if file.problem:
                yield to_row(file.number, Ending(file.problem))
            for event in events:
                yield to_row(file.number, file.of_its_path(event))
            self._copies.drop(file.copy)

    def _at_hand(self, number: int, sha256: str, request: str) -> "_File":
        asked = json.loads(request)
        path = Path(asked["path"])
        try:
            copy = self._copies.at_hand(path, sha256)
        except PictureError as error:
            return _File(number, path, path, None, str(error))
        return _File(number, path, copy, {**asked, "path": str(copy)})


@dataclass(frozen=True, slots=True)
class _File:
    number: int
    path: Path
    copy: Path  # where this machine reads it; often the path itself
    request: dict[str, Any] | None
    problem: str = ""

    def of_its_path(self, event: SeenFrame | Ending) -> SeenFrame | Ending:
        """Name the file, and not its copy, in what is said of it."""
        if isinstance(event, Ending) and self.copy != self.path:
            return replace(event, problem=event.problem.replace(str(self.copy), str(self.path)))
        return event


def to_row(number: int, event: SeenFrame | Ending) -> Rows:
    """Turn one event of a file into a batch of one row."""
    if isinstance(event, Ending):
        return _row(number, json.dumps({"kind": "end", "problem": event.problem}))
    header = {name: getattr(event, name) for name in _FRAME_FIELDS}
    arrays = {
        name: np.ascontiguousarray(getattr(event.people, name), dtype=_FLOAT32).tobytes()
        for name in _ARRAYS
    }
    return _row(number, json.dumps({"kind": "frame", **header}), **arrays)


def from_row(row: Rows, dim: int) -> SeenFrame | Ending:
    """Turn a row into its event.

    Args:
        row: A row made by :func:`to_row`, or a report of trouble.
        dim: Length of an embedding.

    Raises:
        ArchiveError: The machine has another model than the archive.
        ModelError: The machine cannot load the model.
    """
    header = json.loads(row["header"])
    kind = header.pop("kind")
    if kind == "end":
        return Ending(header["problem"])
    if kind in ("no model", "other model"):
        error = ArchiveError if kind == "other model" else ModelError
        raise error(header["text"], hint="the same model must be at the same place everywhere")
    boxes, scores, embeddings = (np.frombuffer(row[name], _FLOAT32).copy() for name in _ARRAYS)
    people = Detections(boxes.reshape(-1, 4), scores, embeddings.reshape(-1, dim))
    return SeenFrame(people=people, **header)


def _row(number: int, header: str, **arrays: bytes) -> Rows:
    columns = dict.fromkeys(_ARRAYS, b"") | arrays
    return {
        "number": np.array([number], dtype=np.int64),
        "header": [header],
        **{name: [column] for name, column in columns.items()},
    }
