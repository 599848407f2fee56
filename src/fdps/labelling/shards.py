"""What was seen of each file, kept until the data set is written: a labelling may be interrupted.

.. code-block:: text

    OUT/.labels/<name>.safetensors     one file or scene: boxes, scores, embeddings of its frames

The name is a hash of the file and of all settings, so a shard is used again exactly if it would
come out the same. Each is written aside and renamed. When the data set is complete, the folder
goes.

Axes: F frames (1 of a picture), P people in all of them, D embedding dimension.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int64
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fdps.durable import remove_folder, write_file

FOLDER = ".labels"


@dataclass(frozen=True, slots=True)
class ShardFrame:
    """A picture, or a frame of a video.

    Args:
        name: Name of the scene.
        path: The picture.
        frame: Number of the frame in its video; ``None`` for a picture.
        seconds: Seconds from the beginning of the video; ``None`` for a picture.
    """

    name: str
    path: str
    frame: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """Everybody in one file.

    Args:
        frames: The frames.
        counts: People in each frame.
        boxes: People, frame by frame.
        scores: Of the detector.
        embeddings: Of the teacher, as they are stored in the end.
        problem: Why the file, or part of it, could not be read; empty if it could.
    """

    frames: tuple[ShardFrame, ...]
    counts: Int64[np.ndarray, " F"]
    boxes: Float32[np.ndarray, "P 4"]
    scores: Float32[np.ndarray, " P"]
    embeddings: Float[np.ndarray, "P D"]
    problem: str = ""


class Shards:
    """The shards of one labelling.

    Args:
        out: Folder of the data set.
        settings: All that decides what a shard holds, the model too.
    """

    def __init__(self, out: Path, settings: str) -> None:
        self.folder, self._settings = out / FOLDER, settings

    def place(self, path: Path, key: str = "") -> Path:
        """Return where the shard of a file is.

        Args:
            path: The file; its size and time of change enter.
            key: Whatever else is to be told apart.
        """
        try:
            state = path.stat()
            facts = [state.st_size, state.st_mtime_ns]
        except OSError:
            facts = []
        text = json.dumps([self._settings, os.fspath(path.absolute()), *facts, key])
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.safetensors"

    def read(self, place: Path) -> Shard | None:
        """Read a shard; ``None`` if there is none that can be used."""
        if not place.is_file():
            return None
        try:
            with safe_open(place, framework="numpy") as file:
                header = json.loads((file.metadata() or {})["fdps"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            frames = tuple(ShardFrame(**frame) for frame in header["frames"])
            return Shard(frames, problem=header["problem"], **arrays)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            return None  # it will be written anew

    def write(self, place: Path, shard: Shard) -> None:
        """Write a shard whole or not at all.

        Raises:
            OSError: The disk is full, read-only or failing.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        header = {"frames": [asdict(frame) for frame in shard.frames], "problem": shard.problem}
        arrays = {
            name: np.ascontiguousarray(getattr(shard, name))
            for name in ("counts", "boxes", "scores", "embeddings")
        }
        write_file(place, save(arrays, metadata={"fdps": json.dumps(header)}))

    def remove(self) -> None:
        """Remove all shards, those of other settings too."""
        if self.folder.is_dir():
            remove_folder(self.folder)


def has_shards(out: Path) -> bool:
    """Tell whether a folder holds a labelling that was interrupted."""
    return (out / FOLDER).is_dir()
