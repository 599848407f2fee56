"""Tell from the boxes of a whole set in which convention they were written.

One box says little: it may pass the border of its picture because somebody was cut off there. If
many do, and hardly any would if the numbers were read in another way, then they were written in
that other way.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fdps.data.parsing.shapes import Corners
from fdps.errors import AnnotationError

_FAR = 0.05  # share of the side of the picture; annotators draw up to that far beyond its border
_AT_LEAST = 2

# Hardly any true box is wider than it is far from the left. The other two readings are nearer to
# sets that draw people whole who are cut off at the border, so they take more to be believed.
_CORNERS = (
    0.1,
    0.9,
    "as two corners x1 y1 x2 y2",
    "write x y width height: width is x2 - x1, height is y2 - y1",
)
_CENTRE = (
    0.1,
    0.98,
    "as a centre, width and height",
    "write the first corner: take half of width and height away from the centre",
)
_TURNED = (
    0.15,
    0.98,
    "in pictures that are turned by a quarter",
    "boxes mean the picture as it is shown, turned as its EXIF data say: turn the boxes too, or "
    "save the pictures without EXIF data; if x and y were exchanged, exchange them",
)
"""Other ways to read the boxes.

Each has the least share of boxes that reach far beyond the border as the format has them, the least
share that lies inside in the other way, its name, and what to do.
"""


@dataclass(slots=True)
class _Tally:
    """Counts of boxes by how they lie in their pictures."""

    n: int = 0
    n_far: int = 0
    """Boxes that pass the border by more than a twentieth of the picture."""
    n_right: int = 0
    """Those that do so on the right, where people are cut off no more often than on the left."""
    n_beyond: int = 0
    """Boxes wholly to the right of the picture or below it, as those of a larger one would be."""
    n_as_corners: int = 0
    """Boxes that would lie inside if width and height were the second corner."""
    n_as_centre: int = 0
    """Boxes that would lie inside if the first corner were the centre."""
    n_if_turned: int = 0
    """Boxes that would lie inside if the picture were turned by a quarter."""
    far: str = ""
    beyond: str = ""


@dataclass(slots=True)
class BoxEvidence:
    """Gathers how the boxes of a set lie in their pictures.

    Args:
        with_sizes: Whether the file states ``x y width height``; otherwise it states two corners.
    """

    with_sizes: bool = False
    _of_folder: dict[Path, _Tally] = field(default_factory=dict)

    def add(self, corners: Corners, size: tuple[int, int], picture: Path, where: str) -> None:
        """Count a box that is finite and has a width and a height.

        Args:
            corners: Corners ``x1 y1 x2 y2`` before the box is cut at the border.
            size: Width and height of the picture.
            picture: Path of the picture; sets that were joined often have a folder each.
            where: File and row of the box.
        """
        x1, y1, x2, y2 = corners
        width, height = size
        tally = self._of_folder.setdefault(picture.parent, _Tally())
        tally.n += 1
        if x1 >= width or y1 >= height:
            tally.n_beyond += 1
            tally.beyond = tally.beyond or where
        over = max(-x1 / width, -y1 / height, x2 / width - 1, y2 / height - 1)
        if over > _FAR:
            tally.n_far += 1
            tally.far = tally.far or where
        w, h = x2 - x1, y2 - y1
        if min(x1, y1) >= -1:
            tally.n_as_corners += x1 < w <= width + 1 and y1 < h <= height + 1
            tally.n_if_turned += x2 <= height + 1 and y2 <= width + 1
        low, high = min(x1 - w / 2, y1 - h / 2), max(x1 + w / 2 - width, y1 + h / 2 - height)
        tally.n_as_centre += low >= -1 and high <= 1
        tally.n_right += x2 > width * (1 + _FAR)

    def doubt(self) -> tuple[str, str] | None:
        """Return what looks odd, and where first, if most boxes reach far beyond their pictures."""
        whole = self._whole()
        if whole.n_far < max(_AT_LEAST + 1, whole.n / 2):
            return None
        what = f"{whole.n_far} of {whole.n} boxes reach far beyond the border of their pictures"
        return f"{what}: do the boxes belong to pictures of another size?", whole.far

    def faults(self) -> Iterator[AnnotationError]:
        """Yield what is wrong with the set as a whole, or else with the pictures of a folder."""
        error = self._fault(self._whole())
        if error is not None:
            yield error
            return
        for tally in self._of_folder.values():
            error = self._fault(tally)
            if error is not None:
                yield error

    def _whole(self) -> _Tally:
        whole = _Tally()
        for tally in self._of_folder.values():
            for name in _Tally.__slots__:
                value, more = getattr(whole, name), getattr(tally, name)
                setattr(whole, name, value or more if isinstance(value, str) else value + more)
        return whole

    def _fault(self, tally: _Tally) -> AnnotationError | None:
        readings = [(tally.n_if_turned, *_TURNED)]
        if self.with_sizes:
            readings = [(tally.n_as_corners, *_CORNERS), *readings]
            if tally.n_right:
                readings.append((tally.n_as_centre, *_CENTRE))
        # Of equals the first is taken: a box that fits as two corners often fits otherwise too.
        n_inside, many, most, otherwise, hint = max(readings, key=lambda reading: reading[0])
        if tally.n_far >= max(_AT_LEAST, many * tally.n) and n_inside >= most * tally.n:
            meant = "x y width height" if self.with_sizes else "x1 y1 x2 y2"
            return AnnotationError(
                f"{tally.far}: {tally.n_far} of {tally.n} boxes reach far beyond the border of "
                f"their pictures as {meant}, which is meant here; {otherwise}, {n_inside} lie "
                "inside",
                hint=hint,
            )
        if tally.n_beyond >= max(_AT_LEAST, tally.n / 2):
            return AnnotationError(
                f"{tally.beyond}: {tally.n_beyond} of {tally.n} boxes lie wholly beyond the border "
                "of their pictures: they seem to belong to pictures of another size",
                hint="scale the boxes to the pictures at hand, or put the pictures of the original "
                "size there",
            )
        return None
