"""The data that everything is trained and measured on."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from fdps.config import Source
from fdps.data import KINDS, load_scenes
from fdps.data.identities import contiguous
from fdps.data.synthetic import PRESETS, SyntheticConfig, draw_dataset, is_drawn
from fdps.errors import MissingDataError, UsageError
from fdps.structures import SceneSet

DRAWN = ("synthetic-small", "synthetic-1k")
"""Sets that are drawn when they are needed, always from the same seed."""

_LIKE_PRW = "prw_c6"
_CUHK_GALLERY = 100  # the size that papers print


@dataclass(frozen=True)
class Bench:
    """A data set with a training and a test split.

    Args:
        name: Name that it was asked for by.
        kind: The reader.
        root: Its folder.
        cache: Folder that keeps what was parsed.
        drawing: What is drawn if it is not there; ``None`` for data that have to be there.
    """

    name: str
    kind: str
    root: Path
    cache: Path
    drawing: SyntheticConfig | None = None

    @property
    def family(self) -> Literal["cuhk_sysu", "prw", ""]:
        """The benchmark of the paper that it is, if it is one of them."""
        if self.kind == "cuhk_sysu":
            return "cuhk_sysu"
        return "prw" if self.kind == "prw" else ""

    @property
    def gallery(self) -> int | Literal["all"]:
        """Gallery size of the tables, as the paper has it."""
        return _CUHK_GALLERY if self.kind == "cuhk_sysu" else "all"

    def source(self, split: str) -> Source:
        """Name a split for a recipe."""
        return Source(self.kind, str(self.root), split)

    def is_ready(self) -> bool:
        """Tell whether nothing has to be drawn first."""
        return self.drawing is None or is_drawn(self.drawing, self.root)

    def prepare(self, *, progress: Callable[[int, int], None], workers: int) -> None:
        """Draw the scenes if they are not there.

        Raises:
            UsageError: The folder holds something that fdps did not draw.
        """
        if self.drawing is not None and not self.is_ready():
            draw_dataset(self.drawing, self.root, progress=progress, workers=workers)

    def training(self) -> SceneSet:
        """Read the training split, its identities numbered from 0.

        Raises:
            FdpsError: The same as :func:`fdps.data.load_scenes`.
        """
        return contiguous(self._read("train"))

    def test(self) -> SceneSet:
        """Read the test split.

        Raises:
            UsageError: It has no queries, so there is no search to measure.
            FdpsError: The same as :func:`fdps.data.load_scenes`.
        """
        scenes = self._read("test")
        if not scenes.queries:
            raise UsageError(
                f"{scenes.name} has no queries, so no search can be measured on it",
                hint="docs/guides/own_data.md says how a data set names its queries",
            )
        return scenes

    def _read(self, split: str) -> SceneSet:
        return load_scenes(self.kind, self.root, split, cache=self.cache)


def find_bench(data: str, root: Path | None, out: Path) -> Bench:
    """Find the data that were asked for.

    Args:
        data: One of :data:`DRAWN`, ``prw_c6``, or a kind of :data:`fdps.data.KINDS`.
        root: Its folder; drawn scenes have one below ``out`` by themselves.
        out: Folder of the reproduction.

    Raises:
        UsageError: The data are not known, or no folder is given.
        MissingDataError: The folder is not there.
    """
    cache = out / "cache"
    if data in DRAWN:
        return Bench(data, "folder", root or out / "data" / data, cache, PRESETS[data])
    kind = "prw" if data == _LIKE_PRW else data
    if kind not in KINDS:
        known = [*DRAWN, _LIKE_PRW, *KINDS]
        near = get_close_matches(data, known, n=1)
        raise UsageError(
            f"--data {data!r} is not known",
            hint=(f"did you mean {near[0]!r}? " if near else "") + f"known: {', '.join(known)}",
        )
    if root is None:
        raise UsageError(
            f"--data {data} needs the folder of the data set", hint="name it: --root DIR"
        )
    if not root.exists():
        raise MissingDataError(
            f"no data at {root}", hint=f"docs/guides/data.md shows what {kind!r} data looks like"
        )
    return Bench(data, kind, root, cache)


def evenly_spread(scenes: SceneSet, n: int) -> SceneSet:
    """Take so many scenes, evenly spread over the set; all of them if there are no more.

    The part has no queries, which may be in scenes that were left out.
    """
    taken = min(n, len(scenes))
    chosen = tuple(scenes.scenes[k * len(scenes) // taken] for k in range(taken))
    return SceneSet(scenes.name, chosen)
