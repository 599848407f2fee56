"""Data sets, read into one structure: :class:`fdps.structures.SceneSet`.

Public are the names in ``__all__``; the modules behind them are internal and may change.
"""

from difflib import get_close_matches
from functools import partial
from pathlib import Path

from fdps.data.cache import cached
from fdps.data.findings import Findings
from fdps.data.readers import coco, cuhk_sysu, cvat, folder, mot, movienet, prw, wildtrack
from fdps.data.readers.reader import Reader
from fdps.data.teacher import with_teacher
from fdps.errors import MissingDataError, UsageError
from fdps.pictures import StrPath
from fdps.structures import SceneSet

__all__ = ["KINDS", "Findings", "load_scenes"]

KINDS: dict[str, Reader] = {
    "prw": prw.read,
    "cuhk_sysu": cuhk_sysu.read,
    "movienet": movienet.read,
    "coco": coco.read,
    "folder": folder.read,
    "mot": mot.read,
    "cvat": cvat.read,
    "wildtrack": wildtrack.read,
}
"""The reader of each kind of data set."""


def load_scenes(
    kind: str,
    root: StrPath,
    split: str,
    *,
    findings: Findings | None = None,
    cache: StrPath | None = None,
) -> SceneSet:
    """Read a split of a data set, with the embeddings of a teacher where they lie beside it.

    Args:
        kind: A key of :data:`KINDS`.
        root: Folder of the data set.
        split: ``train`` or ``test``; some kinds have others.
        findings: Collects faults and odd rows; by default the first fault is raised, and odd rows
            are logged.
        cache: Folder that keeps what was parsed (:mod:`fdps.data.cache`). It is not used together
            with ``findings``.

    Raises:
        UsageError: The kind is unknown, or it does not have this split.
        MissingDataError: There is nothing at ``root``, or a part is missing.
        AnnotationError: The annotations are malformed.
        PictureError: A picture cannot be read.
    """
    if kind not in KINDS:
        nearest = get_close_matches(kind, KINDS, n=1)
        raise UsageError(
            f"unknown kind of data {kind!r}",
            hint=(f"did you mean {nearest[0]!r}? " if nearest else "")
            + f"known kinds: {', '.join(KINDS)}",
        )
    root = Path(root)
    if not root.exists():
        raise MissingDataError(
            f"no data at {root}", hint=f"docs/guides/data.md shows what {kind!r} data looks like"
        )
    if findings is not None:
        return with_teacher(KINDS[kind](root, split, findings), root)
    read = partial(_read_and_log, kind, root, split)
    return with_teacher(cached(kind, root, split, Path(cache), read) if cache else read(), root)


def _read_and_log(kind: str, root: Path, split: str) -> SceneSet:
    findings = Findings()
    scenes = KINDS[kind](root, split, findings)
    findings.log(scenes.name)
    return scenes
