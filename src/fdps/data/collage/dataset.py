"""Paste a whole data set and write it in the folder format."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from fdps.data.collage.backgrounds import Background
from fdps.data.collage.config import SPLITS, CollageConfig, stream
from fdps.data.collage.cutouts import Person
from fdps.data.collage.scene import draw_collage
from fdps.data.collage.share import Share, share_out
from fdps.data.drawn_folder import Progress, choose_queries, in_order, replaced_folder
from fdps.data.readers.folder import IMAGES, write_folder
from fdps.durable import named
from fdps.errors import UsageError
from fdps.pictures import StrPath
from fdps.structures import Scene, SceneSet

_TABLE = "collage"  # table of fdps.toml: the config, and the mark that the folder was made so
_NOTES = "Pasted by fdps. The rights in cut-outs and backgrounds stay with their owners."

Details = tuple[dict[str, Any], ...]
"""For each box of a scene: the visible share, and whose cut-out it is."""


def make_collages(
    config: CollageConfig,
    people: Sequence[Person],
    backgrounds: Sequence[Background],
    root: StrPath,
    *,
    progress: Progress | None = None,
    overwrite: bool = False,
    workers: int = 1,
    licence: str = "",
) -> None:
    """Paste all splits and write them as a folder that :func:`fdps.data.readers.folder.read` reads.

    Equal configs and equal material give equal files, byte for byte, with the same versions of
    numpy and Pillow. Everything is made beside ``root`` first; an interruption leaves what was
    there. Each annotation has two keys more: ``visible``, the visible share, and ``cutout``, the
    name of the person among the cut-outs (empty for people of the backgrounds).

    Args:
        config: Settings.
        people: The people to paste.
        backgrounds: The pictures to paste them into.
        root: Folder to write to, made if it is missing. Collages made earlier are replaced.
        progress: Called after every scene.
        overwrite: Whether to write also into a folder that holds something else. Only the four
            entries of the format are replaced there, other files stay.
        workers: Number of processes; the files do not depend on it.
        licence: Licence of the material, written into ``fdps.toml``.

    Raises:
        UsageError: ``workers`` is below 1, there are fewer people than splits or no background,
            or ``root`` is a file, or it holds something else and ``overwrite`` is off.
        MissingDataError: A file is not there any more.
        PictureError: A file cannot be decoded.
    """
    if workers < 1:
        raise UsageError(f"workers must be at least 1, got {workers}")
    shares = share_out(config, people, backgrounds)
    with replaced_folder(root, _TABLE, overwrite=overwrite) as part:
        n_made, n_scenes = 0, sum(config.n_scenes(split) for split in shares)
        splits: dict[str, SceneSet] = {}
        details: dict[str, Details] = {}
        for split, share in shares.items():
            scenes = []
            for scene, more in _make_files(config, share, part, split, workers):
                scenes.append(scene)
                details[scene.name] = more
                n_made += 1
                if progress is not None:
                    progress(n_made, n_scenes)
            random = partial(stream, config.seed, "queries", SPLITS.index(split))
            n_queries = 0 if split == "train" else config.queries_per_person
            queries = choose_queries(scenes, n_queries, random)
            splits[split] = SceneSet(f"collage/{split}", tuple(scenes), queries)
        write_folder(
            part,
            splits,
            name="collage",
            licence=licence,
            notes=_NOTES,
            tables={_TABLE: asdict(config)},
            details=details,
        )


def _make_files(
    config: CollageConfig, share: Share, root: Path, split: str, workers: int
) -> Iterator[tuple[Scene, Details]]:
    """Paste the scenes of a split in order; every scene has random numbers of its own."""
    (root / IMAGES / split).mkdir(parents=True)
    make = partial(_make_file, config, share, root, split)
    return in_order(make, config.n_scenes(split), workers)


def _make_file(
    config: CollageConfig, share: Share, root: Path, split: str, index: int
) -> tuple[Scene, Details]:
    collage = draw_collage(config, share, split, index)
    name = f"{split}/{index:05d}.jpg"
    path = root / IMAGES / name
    with named(path):  # a full disk does not say which file it had no room for
        Image.fromarray(collage.picture).save(path, quality=collage.jpeg_quality)
    camera = f"look{collage.look + 1}"
    scene = Scene(name, path, collage.boxes, collage.person_ids, camera=camera)
    pairs = zip(collage.visible.tolist(), collage.names, strict=True)
    return scene, tuple({"visible": round(share, 3), "cutout": who} for share, who in pairs)
