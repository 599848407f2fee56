"""Data sets, read into one structure: :class:`fdps.structures.SceneSet`."""

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from fdps.data import coco, folder, prw
from fdps.errors import MissingDataError, UsageError
from fdps.structures import SceneSet

KINDS: dict[str, Callable[[Path, str], SceneSet]] = {
    "prw": prw.read,
    "coco": coco.read,
    "folder": folder.read,
}
"""Reader of each kind of data set."""


def load_scenes(kind: str, root: Path, split: str) -> SceneSet:
    """Read a split of a data set.

    Args:
        kind: A key of :data:`KINDS`.
        root: Where it lies.
        split: ``train`` or ``test``; ``coco`` and ``folder`` may have others.

    Raises:
        UsageError: Unknown kind, or a split that this kind does not have.
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
    if not root.exists():
        raise MissingDataError(
            f"no data at {root}", hint=f"docs/guides/data.md shows what {kind!r} data looks like"
        )
    return KINDS[kind](root, split)
