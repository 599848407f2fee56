"""Write a data set that was made up, drawn or pasted, in the folder format."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np

from fdps.data.readers.folder import ANNOTATIONS, IMAGES, INFO, QUERIES, read_info
from fdps.errors import DataError, UsageError
from fdps.pictures import StrPath
from fdps.structures import UNLABELLED, Query, Scene

T = TypeVar("T")

Progress = Callable[[int, int], None]
"""Called with the number of scenes made so far and of all scenes."""


@contextmanager
def replaced_folder(root: StrPath, table: str, *, overwrite: bool) -> Iterator[Path]:
    """Make a data set beside a folder and put it there when it is complete.

    Args:
        root: Folder to write to, made if it is missing. A data set that was made the same way
            earlier is replaced.
        table: Table of ``fdps.toml`` that marks a folder as made this way.
        overwrite: Whether to write also into a folder that holds something else. Only the four
            entries of the format are replaced there, other files stay.

    Yields:
        An empty folder to write to. An interruption leaves ``root`` as it was.

    Raises:
        UsageError: ``root`` is a file, or it holds something else and ``overwrite`` is off.
    """
    root = Path(root).resolve()
    _check_target(root, table, overwrite)
    root.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-") as name:
        part = Path(name)
        yield part
        _move(part, root)


def in_order(draw: Callable[[int], T], n: int, workers: int) -> Iterator[T]:
    """Call a function with 0 to n - 1, in processes if there are several, and yield in order.

    Args:
        draw: A function that can be pickled.
        n: Number of calls.
        workers: Number of processes, at least 1; one is this process.
    """
    if workers == 1:
        yield from map(draw, range(n))
        return
    # A forked child would inherit the threads of torch or of a progress bar half-way.
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        try:
            yield from pool.map(draw, range(n), chunksize=8)
        except BaseException:  # an interrupt too: nobody needs the scenes that wait
            pool.shutdown(cancel_futures=True)
            raise


def choose_queries(
    scenes: list[Scene], per_person: int, random: Callable[[int], np.random.Generator]
) -> tuple[Query, ...]:
    """Choose whom to look for.

    Args:
        scenes: Scenes of a split.
        per_person: Most queries of one person.
        random: Returns the random numbers for a person id.

    Returns:
        The queries, by person. A person of whom there is one scene only cannot be found elsewhere
        and gets no query; cameras differ where they can.
    """
    appearances: dict[int, list[tuple[int, int]]] = {}
    for i, scene in enumerate(scenes):
        for j, person_id in enumerate(scene.person_ids.tolist()):
            if person_id != UNLABELLED:
                appearances.setdefault(person_id, []).append((i, j))
    chosen = []
    for person_id in sorted(appearances):
        seen = appearances[person_id]
        if len(seen) < 2:
            continue
        order = [seen[i] for i in random(person_id).permutation(len(seen))]
        cameras = [scenes[scene].camera for scene, _ in order]
        # One query of each camera comes first, then a second one of each, and so on.
        turn = [cameras[:i].count(camera) for i, camera in enumerate(cameras)]
        best = sorted(range(len(order)), key=lambda i: (turn[i], i))
        chosen += [order[i] for i in best[:per_person]]
    return tuple(
        Query(scenes[i].name, scenes[i].boxes[j], int(scenes[i].person_ids[j])) for i, j in chosen
    )


def _check_target(root: Path, table: str, overwrite: bool) -> None:
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is a file, expected a folder")
    if overwrite or not root.is_dir() or not any(root.iterdir()) or _was_made(root, table):
        return
    raise UsageError(
        f"{root} is not empty and was not drawn by fdps",
        hint="choose another folder, or --force to replace "
        f"{INFO}, {ANNOTATIONS}, {QUERIES} and {IMAGES}/ in it",
    )


def _was_made(root: Path, table: str) -> bool:
    try:
        return table in read_info(root)
    except DataError:
        return False


def _move(part: Path, root: Path) -> None:
    """Put the finished files in place; ``fdps.toml`` goes first and comes last."""
    root.mkdir(exist_ok=True)
    for name in (INFO, ANNOTATIONS, QUERIES, IMAGES):
        old = root / name
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        else:
            old.unlink(missing_ok=True)
    for name in (IMAGES, QUERIES, ANNOTATIONS, INFO):
        (part / name).replace(root / name)
