"""A network of ours that was exported: graphs in a folder, and a description of what lies between.

``fdps export`` writes the folder. :class:`ExportedNetwork` looks at pictures with it as the network
in PyTorch does, without torch: a graph brings the picture to its size, one makes the map and scores
anchors, one looks at regions; proposals are decoded and suppressed between them, in NumPy
(:mod:`fdps.runtime.proposals`).

Axes: N people, R regions, C channels, D length of an embedding.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32

from fdps.config import from_dict
from fdps.devices import check_device_name, n_threads
from fdps.errors import ConfigError, MissingDataError, ModelError, UsageError
from fdps.query import (
    AnyPicture,
    QueryPerson,
    boxes_inside,
    check_min_score,
    choose_person,
    pixels_of,
)
from fdps.runtime.graph import SUFFIXES, open_graph
from fdps.runtime.network_input import digest_of
from fdps.runtime.proposals import (
    REGION_WEIGHTS,
    Size,
    Suppression,
    clipped,
    decode,
    grid_anchors,
    propose,
    select,
)
from fdps.structures import Boxes, Detections, Picture, RegionLimits, empty_boxes

EXPORTED_FILE = "exported.json"
FORMAT, VERSION = "fdps-exported", 1
STRIDE = 32  # pictures are padded to multiples of it

Features = Float32[np.ndarray, "1 C H W"]


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How far an exported network is from the one in PyTorch, on some pictures."""

    pictures: int
    """Number of pictures."""
    people: int
    """Number of people that the network in PyTorch found in them, or that were given."""
    unmatched: int
    """People whom one of both found and the other did not, or elsewhere (IoU below 0.9)."""
    largest_box_px: float
    """Largest difference of a side of a box, in pixels of the given picture."""
    largest_score: float
    """Largest difference of a score."""
    least_cosine: float
    """Least cosine of the two embeddings of one person, found or given by a box."""
    holds: bool
    """Whether these are small enough for an archive of one to be continued with the other."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an exported network says about itself; settings are those of the recipe."""

    runtime: Literal["onnx", "openvino"]
    """What runs the graphs."""
    precision: Literal["float32", "int8"]
    """Numbers that convolutions compute with; some of an int8 network may be float32."""
    source: str
    """Name of the model that was exported."""
    source_hash: str
    """Hash of that model, with which archives are stamped."""
    licence: str
    """Licence of that model."""
    graphs: dict[str, Any]
    """SHA-256 of every file, by its name."""
    dim: int
    """Length of an embedding."""
    short_side: int
    """Shorter picture side in pixels."""
    long_side: int
    """Limit of the longer picture side in pixels."""
    cell_anchors: tuple[tuple[float, float, float, float], ...]
    """Anchors of one position, around the origin."""
    before_nms: int
    """Anchors that are decoded at most."""
    after_nms: int
    """Proposals that are looked at at most."""
    proposal_score: float
    """Least score of a proposal."""
    proposal_iou: float
    """A proposal that overlaps a better one by more is dropped."""
    min_score: float
    """Least score of a detection."""
    max_iou: float
    """A detection that overlaps a better one by more is dropped."""
    second_iou: float = 0.0
    """As ``max_iou``, after the second of two stages; 0 where there is one stage."""
    most: int
    """Most detections in one picture."""
    embeds_again: bool
    """Whether embeddings are those of the final boxes (model.embedded_box), not of proposals."""
    is_relative: bool = False
    """Whether scores are shares of the best in the picture (NAE+)."""
    format: str = FORMAT
    """Kind of the file."""
    version: int = VERSION
    """Version of the file."""
    parity: Parity | None = None
    """How far it is from the network in PyTorch."""

    @property
    def own_hash(self) -> str:
        """Name graphs and settings, but not what was measured of them."""
        settings = {k: v for k, v in asdict(self).items() if k not in ("parity", "source")}
        return digest_of(json.dumps(settings, sort_keys=True).encode())

    @property
    def model_hash(self) -> str:
        """Name the model: as the source where parity holds, else as a model of its own."""
        holds = self.parity is not None and self.parity.holds
        return self.source_hash if holds else self.own_hash


def read_exported(place: Path) -> Exported:
    """Read the description of an exported network; the graphs are not looked at.

    Args:
        place: The description itself.

    Raises:
        MissingDataError: There is no such file.
        ModelError: The file is no description of an exported network, or of another version.
    """
    if not place.is_file():
        raise MissingDataError(f"no exported network at {place}", hint="fdps export writes one")
    try:
        values = json.loads(place.read_text(encoding="utf-8"))
        kind = values["format"], values["version"]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{place} describes no exported network: {error}") from error
    if kind != (FORMAT, VERSION):
        raise ModelError(
            f"{place} holds {kind[0]} {kind[1]}, expected {FORMAT} {VERSION}",
            hint="export the network again with this version of fdps",
        )
    try:
        return from_dict(Exported, values, what="exported network")
    except ConfigError as error:
        raise ModelError(f"{place}: {error}", hint=error.hint) from error


def check_exported(place: Path, exported: Exported) -> None:
    """Check that every file of an exported network has the bytes that were exported.

    Raises:
        MissingDataError: A file is not there.
        ModelError: A file was changed, or lies elsewhere.
    """
    for name, sha256 in exported.graphs.items():
        if Path(name).name != name:
            raise ModelError(f"{place} names {name!r}, which is not in its own folder")
        file = place.with_name(name)
        if not file.is_file():
            raise MissingDataError(f"no graph at {file}", hint="export the network again")
        with file.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
        if found != sha256:
            raise ModelError(
                f"{file} was changed after the export: its SHA-256 is {found}, not {sha256}",
                hint="export the network again",
            )


def load_exported(
    place: Path, *, min_score: float | None = None, device: str = "cpu", threads: int | None = None
) -> "ExportedNetwork":
    """Open an exported network.

    Args:
        place: Its description.
        min_score: Least score of a detection, in [0, 1]; the default is that of the recipe.
        device: ``cpu``, or ``auto``, which is the same here.
        threads: Number of processor threads; by default ``OMP_NUM_THREADS``, else one per core.

    Raises:
        MissingDataError: A file is not there.
        ModelError: A file is not what was exported.
        UsageError: The device is another one, the score is not in [0, 1], or the runtime is not
            installed.
    """
    check_min_score(min_score)
    check_device_name(device)
    if device not in {"cpu", "auto"}:
        raise UsageError(f"exported networks run on the CPU, got {device!r}", hint="choose cpu")
    exported = read_exported(place)
    check_exported(place, exported)
    return ExportedNetwork(
        exported, place.parent, min_score=min_score, threads=threads or n_threads()
    )


class ExportedNetwork:
    """A network ready to search with; an :class:`~fdps.structures.Embedder` without torch.

    Args:
        exported: Its description.
        folder: Where its graphs are.
        min_score: Least score of a detection; the default is that of the description.
        threads: Number of processor threads.

    Attributes:
        exported: The description.
        files: The files of the graphs, by the names of the graphs.
        model_hash: The hash of the network in PyTorch where parity holds, else one of its own.
        min_score: Least score of a detection, in [0, 1]; may be changed.
        regions: Which proposals are looked at; may be changed.
        graphs: The graphs by name.

    Raises:
        MissingDataError: A graph is not there.
        ModelError: A graph cannot be opened.
        UsageError: The runtime is not installed.
    """

    def __init__(
        self,
        exported: Exported,
        folder: Path,
        *,
        min_score: float | None = None,
        threads: int = 1,
    ) -> None:
        self.exported, self.model_hash = exported, exported.model_hash
        self.min_score = exported.min_score if min_score is None else min_score
        self.regions = RegionLimits(exported.proposal_score, exported.proposal_iou)
        suffix = SUFFIXES[exported.runtime][0]
        names = [Path(name).stem for name in exported.graphs if name.endswith(suffix)]
        self.files = {name: folder / f"{name}{suffix}" for name in names}
        self.graphs = {
            name: open_graph(file, exported.runtime, threads=threads)
            for name, file in self.files.items()
        }
        self._cells = np.array(exported.cell_anchors, dtype=np.float32)

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.exported.dim

    def detect(self, image: AnyPicture) -> Detections:
        """Find and embed everybody.

        Args:
            image: RGB array, picture of Pillow, or a file.

        Raises:
            PictureError: The file cannot be decoded.
        """
        pixels = pixels_of(image)
        batch, size = self.picture(pixels)
        features, logits, deltas = self.trunk(batch)
        proposals = self.propose(logits, deltas, features, batch, size)
        found = self.look(features, proposals, size)
        return self.restored(found, size, pixels)

    def detect_batch(self, images: Sequence[Picture]) -> list[Detections]:
        """Find and embed everybody in several pictures, one after another."""
        return [self.detect(image) for image in images]

    def embed(self, image: AnyPicture, boxes: Boxes) -> Float32[np.ndarray, "N D"]:
        """Embed given people; nobody else is looked for.

        Raises:
            UsageError: A box has no area inside the picture.
        """
        pixels = pixels_of(image)
        inside = boxes_inside(pixels, boxes)
        batch, size = self.picture(pixels)
        features, _, _ = self.trunk(batch)
        return self._embed(features, _scaled(inside, pixels.shape[:2], size))

    def query(
        self,
        image: AnyPicture,
        *,
        box: tuple[float, float, float, float] | None = None,
        point: tuple[float, float] | None = None,
    ) -> QueryPerson:
        """Choose the person to look for, as :func:`~fdps.query.choose_person` does."""
        return choose_person(self, pixels_of(image), box=box, point=point)

    def picture(self, pixels: Picture) -> tuple[Float32[np.ndarray, "1 3 _ _"], Size]:
        """Bring a picture to the size of the network: the batch, and the size before padding."""
        height, width = pixels.shape[:2]
        scale = min(
            self.exported.short_side / min(height, width),
            self.exported.long_side / max(height, width),
        )
        size = math.floor(height * scale), math.floor(width * scale)
        padding = [-side % STRIDE for side in size]
        given = {
            "picture": np.ascontiguousarray(pixels),
            "size": np.array(size, dtype=np.int64),
            "padding": np.array(padding, dtype=np.int64),
        }
        return self.graphs["picture"](given)["batch"], size

    def trunk(self, batch: np.ndarray) -> tuple[Features, np.ndarray, np.ndarray]:
        """Compute the map of a picture, and the logits and deltas of all anchors."""
        out = self.graphs["trunk"]({"batch": batch})
        return out["features"], out["logits"][0], out["deltas"][0]

    def propose(
        self,
        logits: np.ndarray,
        deltas: np.ndarray,
        features: Features,
        batch: np.ndarray,
        size: Size,
    ) -> Float32[np.ndarray, "R 4"]:
        """Decode proposals, in pixels of the resized picture."""
        grid, padded = features.shape[2:], batch.shape[2:]
        anchors = grid_anchors(self._cells, (grid[0], grid[1]), (padded[0], padded[1]))
        limits = self.regions
        rules = Suppression(limits.min_score, limits.max_iou, self.exported.after_nms)
        return propose(logits, deltas, anchors, size, before=self.exported.before_nms, rules=rules)

    def look(self, features: Features, proposals: Boxes, size: Size) -> Detections:
        """Find and embed people in proposals; boxes in pixels of the resized picture."""
        exported = self.exported
        rules = Suppression(self.min_score, exported.max_iou, exported.most)
        first_scores = None
        if exported.second_iou:
            out = self._regions("first", features, proposals)
            boxes = clipped(decode(out["box_deltas"], proposals, REGION_WEIGHTS), size)
            rows = select(boxes, out["scores"], size, rules)
            proposals, first_scores = boxes[rows], out["scores"][rows]
            rules = rules._replace(max_iou=exported.second_iou)
        out = self._regions("regions", features, proposals)
        scores = out["scores"] if first_scores is None else first_scores
        if exported.is_relative and first_scores is None and len(scores):
            scores = scores / max(scores.max(), np.finfo(np.float32).tiny)
        boxes = clipped(decode(out["box_deltas"], proposals, REGION_WEIGHTS), size)
        rows = select(boxes, scores, size, rules)
        if exported.embeds_again:
            embeddings = self._embed(features, boxes[rows])
        elif "embeddings" in out:
            embeddings = out["embeddings"][rows]
        else:
            embeddings = self._embed(features, proposals[rows])
        return Detections(boxes[rows], scores[rows], embeddings)

    def restored(self, found: Detections, size: Size, pixels: Picture) -> Detections:
        """Take detections back to the pixels of the given picture."""
        height, width = pixels.shape[:2]
        boxes = clipped(_scaled(found.boxes, size, (height, width)), (height, width))
        return Detections(boxes, found.scores, found.embeddings)

    def _embed(self, features: Features, boxes: Boxes) -> Float32[np.ndarray, "N D"]:
        name = "embed" if "embed" in self.graphs else "regions"
        return self._regions(name, features, boxes)["embeddings"]

    def _regions(self, name: str, features: Features, boxes: Boxes) -> dict[str, np.ndarray]:
        """Run a graph of regions, of which there may be none."""
        if len(boxes):
            return self.graphs[name]({"features": features, "boxes": boxes})
        return {
            "box_deltas": empty_boxes(),
            "scores": np.zeros(0, dtype=np.float32),
            "embeddings": np.zeros((0, self.dim), dtype=np.float32),
        }


def description_text(exported: Exported) -> str:
    """Write a description so that :func:`read_exported` reads it back."""
    return json.dumps(asdict(exported), indent=2) + "\n"


def _scaled(boxes: Boxes, before: Sequence[int], after: Sequence[int]) -> Boxes:
    """Move boxes from a picture of one height and width to one of another."""
    y, x = (np.float32(b) / np.float32(a) for a, b in zip(before, after, strict=True))
    return np.asarray(boxes * np.array([x, y, x, y], dtype=np.float32))


def file_hashes(files: Mapping[str, Path]) -> dict[str, str]:
    """Return the SHA-256 of files, by the names that they go by."""
    return {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}
