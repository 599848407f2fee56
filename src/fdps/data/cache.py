"""Keep what was parsed, so that it is parsed once only.

A cache file holds one split: names, boxes, identities, queries. Its name is a hash of the kind, the
split, the place and the content of every annotation file; for every picture it notes size and time
of change. So a changed annotation or picture is never served from it, and the folder may be
deleted at any time. Files are safetensors: arrays and JSON, nothing that is executed.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from fdps.structures import Query, Scene, SceneSet, empty_boxes

log = logging.getLogger("fdps.data")

VERSION = 4
"""Version in the hash; it counts up when readers read the same files differently."""

SUFFIXES = (".mat", ".json", ".txt", ".csv", ".xml", ".ini", ".toml")
"""Patterns of the files whose content is hashed."""

Read = Callable[[], SceneSet]


def cached(kind: str, root: Path, split: str, folder: Path, read: Read) -> SceneSet:
    """Serve a split from the cache, or read it and put it there.

    A cache that cannot be read or written is passed over; the reason is logged.

    Args:
        kind: Kind of the data set.
        root: Folder of the data set.
        split: Name of the split.
        folder: Folder of the cache; made if it is missing.
        read: Function that reads the split.
    """
    file = folder / f"{kind}-{split}-{key_of(kind, root, split)}.safetensors"
    if file.is_file():
        scenes = _load(file, root)
        if scenes is not None:
            lists = {name: partial(_list, read, name) for name in scenes.query_lists}
            return SceneSet(scenes.name, scenes.scenes, scenes.queries, lists)
    scenes = read()
    try:
        _save(file, scenes, root)
    except (OSError, SafetensorError) as error:
        log.info("nothing cached in %s: %s", folder, error)
    return scenes


def key_of(kind: str, root: Path, split: str) -> str:
    """Return a hash of everything that the annotations of a split follow from."""
    digest = hashlib.sha256(json.dumps([VERSION, kind, str(root.resolve()), split]).encode())
    for path in _annotation_files(root):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root.parent)} {content}\n".encode(errors="surrogatepass"))
    return digest.hexdigest()[:32]


def _annotation_files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    for folder, folders, names in os.walk(root):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names) if name.endswith(SUFFIXES))


def _list(read: Read, name: str) -> tuple[Query, ...]:
    """Read the split again for a further query list, since these are not cached."""
    return read().query_lists[name]()


def _save(file: Path, scenes: SceneSet, root: Path) -> None:
    states = [scene.path.stat() for scene in scenes.scenes]
    rows = {scene.name: row for row, scene in enumerate(scenes.scenes)}
    queries = scenes.queries
    galleries = [[rows[name] for name in query.gallery or ()] for query in queries]
    located = [
        (number, position, box)
        for number, query in enumerate(queries)
        for position, box in (query.gallery_boxes or {}).items()
    ]
    text = {
        "name": scenes.name,
        "lists": list(scenes.query_lists),
        "scenes": [
            [s.name, _relative(s.path, root), s.camera, s.frame, s.seconds] for s in scenes.scenes
        ],
        "has_gallery": [query.gallery is not None for query in queries],
        "has_boxes": [query.gallery_boxes is not None for query in queries],
    }
    arrays: dict[str, np.ndarray] = {
        "text": np.frombuffer(json.dumps(text).encode(), dtype=np.uint8),
        "n_boxes": np.array([len(s.boxes) for s in scenes.scenes], dtype=np.int64),
        "boxes": np.concatenate([np.zeros((0, 4), np.float32), *(s.boxes for s in scenes.scenes)]),
        "person_ids": np.concatenate(
            [np.zeros(0, np.int64), *(s.person_ids for s in scenes.scenes)]
        ),
        "n_ignored": np.array([len(_ignored(s)) for s in scenes.scenes], dtype=np.int64),
        "ignored": np.concatenate([empty_boxes(), *map(_ignored, scenes.scenes)]),
        "files": np.array([[s.st_size, s.st_mtime_ns] for s in states], np.int64).reshape(-1, 2),
        "query_scenes": np.array([rows[query.scene] for query in queries], dtype=np.int64),
        "query_ids": np.array([query.person_id for query in queries], dtype=np.int64),
        "query_boxes": np.array([q.box for q in queries], dtype=np.float32).reshape(-1, 4),
        "n_entries": np.array([len(entries) for entries in galleries], dtype=np.int64),
        "entries": np.array([row for rows_ in galleries for row in rows_], dtype=np.int32),
        "located": np.array([row[:2] for row in located], dtype=np.int64).reshape(-1, 2),
        "located_boxes": np.array([row[2] for row in located], np.float32).reshape(-1, 4),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(".part")
    save_file(arrays, aside)
    aside.replace(file)


def _ignored(scene: Scene) -> np.ndarray:
    return empty_boxes() if scene.ignored is None else scene.ignored


def _relative(path: Path, root: Path) -> str:
    base = root if root.is_dir() else root.parent
    return path.relative_to(base).as_posix()


def _load(file: Path, root: Path) -> SceneSet | None:
    """Load the scene set of a file; ``None`` if it is damaged or a picture has changed."""
    try:
        with safe_open(file, framework="numpy") as opened:
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        text = json.loads(arrays["text"].tobytes())
        scenes = _scenes(text, arrays, root if root.is_dir() else root.parent)
        if scenes is None:
            return None
        queries = _queries(text, arrays, scenes)
        lists: dict[str, Callable[[], tuple[Query, ...]]] = dict.fromkeys(text["lists"], tuple)
        return SceneSet(text["name"], scenes, queries, lists)
    except (OSError, SafetensorError, ValueError, KeyError, IndexError, TypeError) as error:
        log.info("cache file %s is passed over: %s", file, error)
        return None


def _scenes(
    text: dict[str, Any], arrays: dict[str, np.ndarray], base: Path
) -> tuple[Scene, ...] | None:
    ends = np.cumsum(arrays["n_boxes"])
    starts = (ends - arrays["n_boxes"]).tolist()
    boxes, ids = arrays["boxes"], arrays["person_ids"]
    last = np.cumsum(arrays["n_ignored"])
    regions = zip((last - arrays["n_ignored"]).tolist(), last.tolist(), strict=True)
    scenes = []
    for row, start, end, state, (first, stop) in zip(
        text["scenes"], starts, ends.tolist(), arrays["files"].tolist(), regions, strict=True
    ):
        name, relative, camera, frame, seconds = row
        path = base / relative
        found = path.stat()  # a picture that is gone is an OSError: the reader will name it
        if [found.st_size, found.st_mtime_ns] != state:
            return None
        people = boxes[start:end], ids[start:end]
        ignored = arrays["ignored"][first:stop] if stop > first else None
        scenes.append(Scene(name, path, *people, camera, frame, seconds, ignored))
    return tuple(scenes)


def _queries(
    text: dict[str, Any], arrays: dict[str, np.ndarray], scenes: tuple[Scene, ...]
) -> tuple[Query, ...]:
    names = [scene.name for scene in scenes]
    located: dict[int, dict[int, np.ndarray]] = {}
    for (query, position), box in zip(
        arrays["located"].tolist(), arrays["located_boxes"], strict=True
    ):
        located.setdefault(query, {})[position] = box
    ends = np.cumsum(arrays["n_entries"])
    starts = (ends - arrays["n_entries"]).tolist()
    entries = arrays["entries"].tolist()
    queries = []
    for number, (start, end) in enumerate(zip(starts, ends.tolist(), strict=True)):
        listed = tuple(names[row] for row in entries[start:end])
        queries.append(
            Query(
                names[int(arrays["query_scenes"][number])],
                arrays["query_boxes"][number],
                int(arrays["query_ids"][number]),
                listed if text["has_gallery"][number] else None,
                located.get(number, {}) if text["has_boxes"][number] else None,
            )
        )
    return tuple(queries)
