"""Files that not every machine of a cluster can read: one that can sends a copy.

A file is what its SHA-256 says, not what its path says: two machines may have different files at
one path. A machine is asked for the content that was planned, and what arrives is compared.

The work stays with whoever has it; only bytes travel, in parts that fit into the store of Ray.
"""

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from fdps.errors import PictureError
from fdps.search.ingest.folders import is_file
from fdps.search.ingest.plan import content_hash

PART_BYTES = 16 << 20  # of a file, sent at once

Answer = TypeVar("Answer")


def hash_here(path: Path) -> str:
    """Return the SHA-256 of a file as this machine sees it; empty if it cannot be read."""
    try:
        return content_hash(path)
    except PictureError:
        return ""


def hashes_elsewhere(paths: Sequence[bytes]) -> list[str]:
    """Return the SHA-256 of files as other machines see them; empty for those that none can read.

    Args:
        paths: Paths that this machine cannot read.
    """
    found = [""] * len(paths)
    for ask in _other_machines():
        missing = [number for number, sha256 in enumerate(found) if not sha256]
        if not missing:
            break
        answers = ask(_hashes, [paths[number] for number in missing]) or []
        for number, sha256 in zip(missing, answers, strict=False):
            found[number] = sha256
    return found


class Copies:
    """Copies of files of other machines, in a temporary folder of this one.

    A copy is there until it is dropped. A process that is killed leaves its copies behind.
    """

    def __init__(self) -> None:
        self._folders: dict[Path, tempfile.TemporaryDirectory[str]] = {}

    def at_hand(self, path: Path, sha256: str) -> Path:
        """Return where this machine can read some content.

        Args:
            path: Path of the file, on the machines that see it.
            sha256: SHA-256 of the content.

        Returns:
            The path itself if the content is there, otherwise that of a copy.

        Raises:
            PictureError: No machine has this content at this path, or there is no room for a copy.
        """
        if hash_here(path) == sha256:
            return path
        folder = tempfile.TemporaryDirectory(prefix="fdps-copy-")
        copy = Path(folder.name) / path.name
        try:
            is_whole = any(_fetch(ask, path, sha256, copy) for ask in _other_machines())
        except OSError as error:
            folder.cleanup()
            raise PictureError(f"cannot be copied to this machine: {error.strerror}") from error
        if is_whole:
            self._folders[copy] = folder
            return copy
        folder.cleanup()
        raise PictureError("cannot be read any more: no machine has this content at this path")

    def drop(self, copy: Path) -> None:
        """Remove a copy; a path that is none is left alone."""
        if folder := self._folders.pop(copy, None):
            folder.cleanup()


Ask = Callable[..., Any]
"""Runs a function on one other machine; ``None`` if that machine does not answer."""


def _other_machines() -> Iterator[Ask]:
    """Yield the other machines of the cluster that are alive; none where Ray does not run."""
    ray = sys.modules.get("ray")  # whoever works for a cluster has it loaded
    if ray is None or not ray.is_initialized():
        return
    own = ray.get_runtime_context().get_node_id()
    for node in ray.nodes():
        if node["Alive"] and node["NodeID"] != own:
            yield _asking(node["NodeID"])


def _asking(node_id: str) -> Ask:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node_id, soft=False)

    def ask(function: Callable[..., Answer], *arguments: object) -> Answer | None:
        # Without a share of the CPUs, because the workers that wait for it hold them all.
        task = ray.remote(num_cpus=0, scheduling_strategy=there)(function)
        try:
            answer: Answer = ray.get(task.remote(*arguments))
        except ray.exceptions.RayError:  # the machine has left the cluster
            return None
        return answer

    return ask


def _fetch(ask: Ask, path: Path, sha256: str, copy: Path) -> bool:
    """Copy a file of another machine; false if it has not this content."""
    digest = hashlib.sha256()
    with copy.open("wb") as file:
        while part := ask(_part, os.fsencode(path), file.tell()):
            digest.update(part)
            file.write(part)
    return digest.hexdigest() == sha256


def _hashes(paths: Sequence[bytes]) -> list[str]:
    return [hash_here(Path(os.fsdecode(path))) for path in paths]


def _part(path: bytes, offset: int) -> bytes:
    """Return a part of a file; nothing behind its end, or if it cannot be read."""
    there = Path(os.fsdecode(path))
    if not is_file(there):  # opening a pipe would wait for ever
        return b""
    try:
        with there.open("rb") as file:
            file.seek(offset)
            return file.read(PART_BYTES)
    except OSError:
        return b""
