"""Write miniature sequences in the format of MOTChallenge."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fake.people import draw_scene, write_picture

SIZE = (160, 120)


def write_sequence(
    folder: Path,
    *,
    tracks: Sequence[int] = (1, 4),
    n_frames: int = 4,
    camera: str = "",
    shared: bool = False,
) -> list[str]:
    """Write pictures, ``seqinfo.ini`` and ``gt/gt.txt``; everybody is in every frame.

    Returns:
        The lines of ``gt.txt``, as MOT17 has them, grouped by track.
    """
    rng = np.random.default_rng(len(folder.name))
    lines: dict[int, list[str]] = {track: [] for track in tracks}
    for frame in range(1, n_frames + 1):
        picture, boxes = draw_scene(rng, tracks, SIZE)
        write_picture(folder / "img1" / f"{frame:06d}.jpg", picture)
        for track, (x, y, w, h) in zip(tracks, boxes.astype(int).tolist(), strict=True):
            lines[track].append(f"{frame},{track},{x + 1},{y + 1},{w},{h},1,1,0.9")
    write_info(folder, n_frames, camera=camera, shared=shared)
    text = [line for rows in lines.values() for line in rows]
    write_tracks(folder, text)
    return text


def write_info(folder: Path, n_frames: int, *, camera: str = "", shared: bool = False) -> None:
    """``seqinfo.ini``; ``camera`` and ``sharedIds`` are ours."""
    rows = ["[Sequence]", f"name={folder.name}", "imDir=img1", "frameRate=25"]
    rows += [f"seqLength={n_frames}", f"imWidth={SIZE[0]}", f"imHeight={SIZE[1]}", "imExt=.jpg"]
    rows += [f"camera={camera}"] * bool(camera) + ["sharedIds=1"] * shared
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "seqinfo.ini").write_text("\n".join(rows) + "\n")


def write_tracks(folder: Path, lines: Sequence[str], newline: str = "\n") -> None:
    """``gt/gt.txt``."""
    (folder / "gt").mkdir(parents=True, exist_ok=True)
    (folder / "gt" / "gt.txt").write_bytes("".join(line + newline for line in lines).encode())
