"""Draw a whole data set and write it in the folder format."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

from PIL import Image

from fdps.data.drawn_folder import Progress, choose_queries, in_order, replaced_folder
from fdps.data.readers.folder import IMAGES, read_info, write_folder
from fdps.data.synthetic.config import SPLITS, SyntheticConfig, stream
from fdps.data.synthetic.scene import draw_scene
from fdps.durable import named
from fdps.errors import DataError, UsageError
from fdps.pictures import StrPath
from fdps.structures import Query, Scene, SceneSet

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
    """Draw both splits and write them as a folder that :func:`fdps.data.readers.folder.read` reads.

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
    with replaced_folder(root, _TABLE, overwrite=overwrite) as part:
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


def is_drawn(config: SyntheticConfig, root: StrPath) -> bool:
    """Tell whether a folder holds the data set of a config, as :func:`draw_dataset` wrote it."""
    try:
        kept = read_info(Path(root)).get(_TABLE)
    except DataError:
        return False
    return bool(kept == json.loads(json.dumps(asdict(config))))  # TOML has lists, no tuples


def _draw_files(config: SyntheticConfig, root: Path, split: str, workers: int) -> Iterator[Scene]:
    """Draw the scenes of a split in order; every scene has random numbers of its own."""
    (root / IMAGES / split).mkdir(parents=True)
    return in_order(partial(_draw_file, config, root, split), config.n_scenes(split), workers)


def _draw_file(config: SyntheticConfig, root: Path, split: str, index: int) -> Scene:
    drawn = draw_scene(config, split, index)
    name = f"{split}/{index:05d}.jpg"
    path = root / IMAGES / name
    with named(path):  # a full disk does not say which file it had no room for
        Image.fromarray(drawn.picture).save(path, quality=config.jpeg_quality)
    return Scene(name, path, drawn.boxes, drawn.person_ids, camera=f"c{drawn.camera + 1}")


def _queries(config: SyntheticConfig, scenes: list[Scene]) -> tuple[Query, ...]:
    return choose_queries(
        scenes, config.queries_per_person, partial(stream, config.seed, "queries")
    )
