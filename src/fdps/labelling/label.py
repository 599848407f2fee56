"""Find and embed everybody in pictures and videos, and write a data set of it."""

import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from fdps.boxes import clip, is_valid
from fdps.data.readers.folder import IMAGES, write_folder
from fdps.decoding.messages import DecodedFrame, Ending
from fdps.decoding.pool import Decoders
from fdps.decoding.sampling import DEFAULT_EVERY, Sampling
from fdps.durable import write_file
from fdps.errors import DataError, UsageError
from fdps.labelling.shards import Shard, ShardFrame, Shards
from fdps.names import shortened
from fdps.search.ingest.frames import Found, Frame, Skipped
from fdps.search.ingest.looking import decode_ahead
from fdps.search.ingest.scene_writer import Progress
from fdps.search.ingest.skipped import note_skipped
from fdps.structures import UNLABELLED, Detections, Embedder, Scene, SceneSet, empty_boxes

_QUALITY = 95


@dataclass(frozen=True, slots=True)
class LabelRules:
    """How what a teacher sees becomes annotations.

    Args:
        sure: Boxes of this score or more are people.
        doubtful: Boxes of this score or more are marked to be ignored; those below are dropped.
        every: Frames of a video to look at.
        embeddings: How embeddings are stored.

    Raises:
        UsageError: The scores are not in order.
    """

    sure: float = 0.5
    doubtful: float = 0.2
    every: str = DEFAULT_EVERY
    embeddings: Literal["float16", "float32"] = "float16"

    def __post_init__(self) -> None:
        if not 0 <= self.doubtful <= self.sure <= 1:
            raise UsageError(
                f"scores must be 0 ≤ doubtful ≤ sure ≤ 1, got {self.doubtful:g} and {self.sure:g}"
            )
        Sampling.parse(self.every)


@dataclass(frozen=True, slots=True)
class Labelled:
    """What a labelling came to.

    Args:
        n_scenes: Pictures and frames.
        n_people: Boxes that are people.
        n_ignored: Boxes that are to be ignored.
        n_known: Files that an earlier call had looked at before it was interrupted.
        skipped: Files that were not read, or only in part.
    """

    n_scenes: int
    n_people: int
    n_ignored: int
    n_known: int = 0
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True, slots=True)
class _Wanted:
    file: Frame
    place: Path
    request: dict[str, Any] | None


def label_pictures(
    embedder: Embedder,
    found: Found,
    out: Path,
    *,
    rules: LabelRules | None = None,
    name: str,
    split: str = "train",
    licence: str = "",
    about: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Labelled:
    """Write a folder data set of everybody whom a model finds, with its embeddings.

    Nobody gets an identity. It may be interrupted at any moment, and the same call goes on: files
    that were looked at are not looked at again, and the data set comes out the same.

    Args:
        embedder: The teacher; it should find people down to ``rules.doubtful``.
        found: Files from :func:`fdps.search.find_pictures`.
        out: Folder to write.
        rules: The scores, and the frames of videos.
        name: Name of the data set.
        split: Its only split.
        licence: Licence of the pictures, to be noted.
        about: What else is to be noted of the teacher, such as its name and licence.
        progress: Called after every file with the number done and the number of all.

    Raises:
        DataError: No file could be read.
        UsageError: Two files would get one name.
        ResourceError: No decoder can be started.
    """
    rules = rules or LabelRules()
    _check_names(found)
    settings = json.dumps(["pictures", embedder.model_hash, embedder.dim, asdict(rules)])
    shards = Shards(out, settings)
    wanted = [_wanted(file, shards, rules) for file in found.frames]
    n_done = n_known = sum(each.request is None for each in wanted)
    scenes: list[Scene] = []
    details: dict[str, list[dict[str, float]]] = {}
    skipped = list(found.skipped)
    with Decoders() as decoders:
        decoded = decode_ahead(wanted, decoders)
        for each, shard in _looked(decoded, shards, embedder, out, rules):
            if each.request is not None:
                n_done += 1
            if progress:
                progress(n_done, len(wanted))
            if shard.problem:
                skipped.append(Skipped(each.file.path, shard.problem))
            for scene, rows in _scenes(shard, rules):
                scenes.append(scene)
                details[scene.name] = rows
    if not scenes:
        raise DataError(f"none of {len(skipped)} files could be read")
    taught = SceneSet(f"{name}/{split}", tuple(scenes), teacher_hash=embedder.model_hash)
    notes = "boxes and embeddings of a teacher; nobody has an identity"
    tables = {"teacher": {**(about or {}), "model_hash": embedder.model_hash, **asdict(rules)}}
    write_folder(
        out,
        {split: taught},
        name=name,
        licence=licence,
        notes=notes,
        tables=tables,
        details=details,
    )
    if skipped:
        note_skipped(out, skipped, [file.path for file in found.frames])
    shards.remove()
    n_ignored = sum(0 if scene.ignored is None else len(scene.ignored) for scene in scenes)
    return Labelled(len(scenes), taught.n_boxes, n_ignored, n_known, tuple(skipped))


def _check_names(found: Found) -> None:
    names = [file.name for file in found.frames]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UsageError(
            f"several files would be called {shortened(twice, most=3)}",
            hint="name the folder above them, or label them one after another into two folders",
        )


def _wanted(file: Frame, shards: Shards, rules: LabelRules) -> _Wanted:
    place = shards.place(file.path, file.name)
    if shards.read(place) is not None:
        return _Wanted(file, place, None)
    request: dict[str, Any] = {"do": "picture", "path": str(file.path)}
    if file.is_video:
        request |= {"do": "video", "every": rules.every}
    return _Wanted(file, place, request)


def _looked(
    decoded: Iterator[tuple[_Wanted, DecodedFrame | Ending | None]],
    shards: Shards,
    embedder: Embedder,
    out: Path,
    rules: LabelRules,
) -> Iterator[tuple[_Wanted, Shard]]:
    """Yield every file with its shard, in order; those that are new are written."""
    frames: list[ShardFrame] = []
    seen: list[Detections] = []
    for each, event in decoded:
        if isinstance(event, DecodedFrame):
            seen.append(_within(embedder.detect(event.image), event.image.shape, rules))
            frames.append(_frame(each.file, event, out))
            continue
        shard = None
        if event is None:
            shard = shards.read(each.place)
        if shard is None:
            problem = "" if event is None else event.problem.removeprefix(f"{each.file.path} ")
            if problem and frames:
                problem += f"; {len(frames)} frames of it were read"
            shard = _shard(frames, seen, embedder.dim, problem, rules)
            shards.write(each.place, shard)
        frames, seen = [], []
        yield each, shard


def _frame(file: Frame, event: DecodedFrame, out: Path) -> ShardFrame:
    """Name a picture; a frame of a video becomes a picture of its own."""
    if not file.is_video:
        return ShardFrame(file.name, str(file.path))
    name = f"{file.name}/{event.frame:06}.jpg"
    path = out / IMAGES / name
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = io.BytesIO()
    Image.fromarray(event.image).save(picture, "JPEG", quality=_QUALITY)
    write_file(path, picture.getvalue())
    return ShardFrame(name, str(path.absolute()), event.frame, event.offset_s)


def _within(people: Detections, shape: tuple[int, ...], rules: LabelRules) -> Detections:
    """Cut boxes at the border, and drop those that are empty then or below all scores."""
    boxes = clip(people.boxes, shape[1], shape[0]).astype(np.float32)
    kept = is_valid(boxes) & (people.scores >= rules.doubtful)
    return Detections(boxes[kept], people.scores[kept], people.embeddings[kept])


def _shard(
    frames: list[ShardFrame], seen: list[Detections], dim: int, problem: str, rules: LabelRules
) -> Shard:
    rows = np.concatenate([np.zeros((0, dim), np.float32), *(p.embeddings for p in seen)])
    return Shard(
        frames=tuple(frames),
        counts=np.array([len(people) for people in seen], dtype=np.int64),
        boxes=np.concatenate([empty_boxes(), *(people.boxes for people in seen)]),
        scores=np.concatenate([np.zeros(0, np.float32), *(people.scores for people in seen)]),
        embeddings=rows.astype(rules.embeddings),
        problem=problem,
    )


def _scenes(shard: Shard, rules: LabelRules) -> Iterator[tuple[Scene, list[dict[str, float]]]]:
    """Yield every frame as a scene, with what else is known of its boxes."""
    ends = np.cumsum(shard.counts)
    for frame, start, end in zip(shard.frames, ends - shard.counts, ends, strict=True):
        boxes, scores = shard.boxes[start:end], shard.scores[start:end]
        is_sure = scores >= rules.sure
        scene = Scene(
            frame.name,
            Path(frame.path),
            boxes[is_sure],
            np.full(int(is_sure.sum()), UNLABELLED, dtype=np.int64),
            camera=None if frame.frame is None else frame.name.rpartition("/")[0],
            frame=frame.frame,
            seconds=frame.seconds,
            ignored=None if is_sure.all() else boxes[~is_sure],
            teacher=shard.embeddings[start:end][is_sure],
        )
        order = np.concatenate([scores[is_sure], scores[~is_sure]])
        yield scene, [{"score": round(float(score), 4)} for score in order]
