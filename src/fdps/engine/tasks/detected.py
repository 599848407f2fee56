"""What a detector finds in training scenes, found once and kept."""

from collections.abc import Callable
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from fdps.engine.processes import Processes
from fdps.engine.tasks.kept import Kept, name_of, picture_digest
from fdps.pictures import read_picture
from fdps.runtime.two_step import Detector
from fdps.structures import Scene

SCENES_PER_FILE = 32


def detected_boxes(
    detector: Detector,
    scenes: tuple[Scene, ...],
    cache: Path,
    say: Callable[[str], None],
    processes: Processes,
) -> list[Float32[np.ndarray, "_ 4"]]:
    """Find people in every scene, but for those of which it is known already.

    Interrupted, the same call goes on after the last file that was written.

    Args:
        detector: Who finds people.
        scenes: Where.
        cache: Folder for what is found.
        say: Called with lines about how far it is.
        processes: They share the scenes out, and all of them get the boxes of all.

    Returns:
        The boxes of every scene.

    Raises:
        MissingDataError: A picture is not there.
        PictureError: A picture cannot be decoded.
        ModelError: What is kept is not of this detector.
    """
    least = getattr(detector, "min_score", None)
    kept = Kept(cache, "detected", {"detector": detector.model_hash, "min_score": str(least)})
    firsts = range(0, len(scenes), SCENES_PER_FILE)
    parts = [scenes[first : first + SCENES_PER_FILE] for first in firsts]
    files = [name_of(*map(picture_digest, some)) for some in parts]

    def arrays_of(number: int) -> dict[str, np.ndarray]:
        arrays = kept.read(files[number])
        if arrays is None:
            say(f"Detect  {firsts[number]} of {len(scenes)} scenes")
            boxes = [detector.find(read_picture(scene.path))[0] for scene in parts[number]]
            counts = np.array([len(each) for each in boxes], dtype=np.int64)
            arrays = {"boxes": np.concatenate(boxes), "counts": counts}
            kept.write(files[number], arrays)
        return arrays

    if processes.n > 1:  # none may wait for another one for longer than a collective lasts
        for number in range(processes.rank, len(parts), processes.n):
            arrays_of(number)
        processes.wait()
    found: list[Float32[np.ndarray, "_ 4"]] = []
    for number in range(len(parts)):
        arrays = arrays_of(number)
        ends = accumulate(arrays["counts"].tolist(), initial=0)
        found += [arrays["boxes"][start:end] for start, end in pairwise(ends)]
    return found
