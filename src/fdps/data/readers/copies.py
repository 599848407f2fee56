"""Find pictures that a set has twice, under two names, so that their people count twice."""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path

import numpy as np

from fdps.data.findings import Findings
from fdps.structures import UNLABELLED, Scene, SceneSet

_BLOCK = 4096
_SAME_PX = 1.0


def note_copies(scenes: SceneSet, findings: Findings) -> None:
    """Note every scene with people whose picture file has the content of an earlier one.

    They stay in the set, since queries and galleries may name either of the two.

    Raises:
        OSError: A picture is gone.
    """
    for group in _groups(scenes.scenes, lambda scene: scene.path.stat().st_size):
        for like in _groups(group, lambda scene: _sample(scene.path)):
            for original, *copies in _groups(like, lambda scene: _digest(scene.path)):
                for copy in copies:
                    if not len(original.boxes) and not len(copy.boxes):
                        continue
                    if copy.path == original.path:
                        findings.note(
                            "scene with the picture file of another: both kept, and its people "
                            "count twice",
                            f"{copy.name} is {original.name}",
                            is_loss=True,
                        )
                        continue
                    as_others = ", as different people" * _differ(original, copy)
                    findings.note(
                        "picture with the content of another: both kept, and its people count "
                        f"twice{as_others}; keep one of the files",
                        f"{copy.path} is like {original.path}",
                        is_loss=True,
                    )


def _groups(scenes: Iterable[Scene], key: Callable[[Scene], Hashable]) -> Iterator[list[Scene]]:
    """Yield the scenes of equal keys, where there are several."""
    found: dict[Hashable, list[Scene]] = {}
    for scene in scenes:
        found.setdefault(key(scene), []).append(scene)
    yield from (group for group in found.values() if len(group) > 1)


def _sample(path: Path) -> bytes:
    """Read two blocks: most files of equal size differ there, and need not be read whole."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(size // 2)
        middle = file.read(_BLOCK)
        file.seek(max(size - _BLOCK, 0))
        return middle + file.read()


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _differ(scene: Scene, other: Scene) -> bool:
    """Tell whether somebody has one identity in a scene and another one in its copy."""
    for box, person_id in zip(scene.boxes, scene.person_ids.tolist(), strict=True):
        same = (np.abs(other.boxes - box) <= _SAME_PX).all(axis=1)
        named = set(other.person_ids[same].tolist()) - {UNLABELLED}
        if person_id != UNLABELLED and named and person_id not in named:
            return True
    return False
