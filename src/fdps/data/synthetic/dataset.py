"""Draw a whole data set and write it in the folder format."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from fdps.data.folder import ANNOTATIONS, IMAGES, INFO, QUERIES, read_info, write_folder
from fdps.data.synthetic.config import SPLITS, SyntheticConfig
from fdps.data.synthetic.scene import draw_scene
from fdps.data.synthetic.schedule import draw_queries
from fdps.durable import named
from fdps.errors import DataError, UsageError
from fdps.pictures import StrPath
from fdps.structures import UNLABELLED, Query, Scene, SceneSet

Progress = Callable[[int, int], None]
"""Called with the number of scenes drawn so far and of all scenes."""

_TABLE = "synthetic"  # table of fdps.toml: the config, and the mark that the folder was drawn
_NOTES = "Drawn by fdps; nobody in these pictures exists."


def draw_dataset(
    config: SyntheticConfig,
    root: StrPath,
    *,
    progress: Progress | None = None,
    overwrite: bool = False,
    workers: int = 1,
) -> None:
    """Draw both splits and write them as a folder that :func:`fdps.data.folder.read` reads.

    Equal configs give equal files, byte for byte, with the same versions of numpy and Pillow.
    Everything is drawn beside ``root`` first; an interruption leaves what was there.

    Args:
        config: Settings of what to draw.
        root: Folder to write to, made if it is missing. A data set drawn earlier is replaced.
        progress: Called after every scene.
        overwrite: Whether to write also into a folder that holds something else. Only the four
            entries of the format are replaced there, other files stay.
        workers: Number of processes that draw; the files do not depend on it.

    Raises:
        UsageError: ``workers`` is below 1, or ``root`` is a file, or it holds something else and
            ``overwrite`` is off.
    """
    if workers < 1:
        raise UsageError(f"workers must be at least 1, got {workers}")
    root = Path(root).resolve()
    _check_target(root, overwrite)
    root.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-") as name:
        part = Path(name)
        n_drawn, n_scenes = 0, sum(config.n_scenes(split) for split in SPLITS)
        splits = {}
        for split in SPLITS:
            scenes = []
            for scene in _draw_files(config, part, split, workers):
                scenes.append(scene)
                n_drawn += 1
                if progress is not None:
                    progress(n_drawn, n_scenes)
            queries = _queries(config, scenes) if split == "test" else ()
            splits[split] = SceneSet(f"synthetic/{split}", tuple(scenes), queries)
        write_folder(
            part,
            splits,
            name="synthetic",
            licence="CC0-1.0",
            notes=_NOTES,
            tables={_TABLE: asdict(config)},
        )
        _move(part, root)


def _check_target(root: Path, overwrite: bool) -> None:
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is a file, expected a folder")
    if overwrite or not root.is_dir() or not any(root.iterdir()) or _was_drawn(root):
        return
    raise UsageError(
        f"{root} is not empty and was not drawn by fdps",
        hint="choose another folder, or --force to replace "
        f"{INFO}, {ANNOTATIONS}, {QUERIES} and {IMAGES}/ in it",
    )


def _was_drawn(root: Path) -> bool:
    try:
        return _TABLE in read_info(root)
    except DataError:
        return False


def _draw_files(config: SyntheticConfig, root: Path, split: str, workers: int) -> Iterator[Scene]:
    """Draw the scenes of a split in order; every scene has random numbers of its own."""
    (root / IMAGES / split).mkdir(parents=True)
    indices = range(config.n_scenes(split))
    if workers == 1:
        yield from map(partial(_draw_file, config, root, split), indices)
        return
    # A forked child would inherit the threads of torch or of a progress bar half-way.
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        try:
            yield from pool.map(
                _draw_file, repeat(config), repeat(root), repeat(split), indices, chunksize=8
            )
        except BaseException:  # an interrupt too: nobody needs the scenes that wait
            pool.shutdown(cancel_futures=True)
            raise


def _draw_file(config: SyntheticConfig, root: Path, split: str, index: int) -> Scene:
    drawn = draw_scene(config, split, index)
    name = f"{split}/{index:05d}.jpg"
    path = root / IMAGES / name
    with named(path):  # a full disk does not say which file it had no room for
        Image.fromarray(drawn.picture).save(path, quality=config.jpeg_quality)
    return Scene(name, path, drawn.boxes, drawn.person_ids, camera=f"c{drawn.camera + 1}")


def _queries(config: SyntheticConfig, scenes: list[Scene]) -> tuple[Query, ...]:
    appearances: dict[int, list[tuple[int, int]]] = {}
    for i, scene in enumerate(scenes):
        for j, person_id in enumerate(scene.person_ids.tolist()):
            if person_id != UNLABELLED:
                appearances.setdefault(person_id, []).append((i, j))
    return tuple(
        Query(scenes[i].name, scenes[i].boxes[j], int(scenes[i].person_ids[j]))
        for i, j in draw_queries(config, appearances)
    )


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
