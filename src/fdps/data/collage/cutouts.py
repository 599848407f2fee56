"""Find cut-outs of people in a folder, and read them.

A folder in a folder is one person with several cut-outs; a picture beside it is a person of its
own. What belongs to a person is said by the alpha channel of the picture, or by a mask of the same
name in a second folder.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageStat

from fdps.errors import MissingDataError, PictureError, UsageError
from fdps.pictures import picture_size, read_alpha, read_picture

LEAST_HEIGHT = 48
"""Least height of a cut-out in pixels; of less, nobody would be recognised."""

SUFFIXES = (".bmp", ".heic", ".heif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_SOLID = 127
_ROOMY = 4  # margin around the person that stays, in pixels


@dataclass(frozen=True, slots=True)
class Cutout:
    """One picture of a person.

    Args:
        path: The picture.
        mask: Picture of the same size that is light where the person is; ``None`` takes the alpha
            channel of ``path``.
    """

    path: Path
    mask: Path | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who can be pasted.

    Args:
        name: Name of the picture or folder, below the folder of the cut-outs.
        cutouts: At least one.
    """

    name: str
    cutouts: tuple[Cutout, ...]


@dataclass(frozen=True, slots=True)
class FoundPeople:
    """The people of a folder.

    Args:
        people: In the order of their names.
        skipped: Pictures that were left out, with the reason.
    """

    people: tuple[Person, ...]
    skipped: tuple[tuple[Path, str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class CutPerson:
    """A person without surroundings.

    Args:
        rgba: The person with a small transparent margin.
        surroundings: Mean red, green and blue of the picture that the person comes from, 0 to 255;
            ``None`` where the surroundings are not known.
    """

    rgba: UInt8[np.ndarray, "H W 4"]
    surroundings: tuple[float, float, float] | None


def find_people(folder: Path, masks: Path | None = None) -> FoundPeople:
    """Find the people of a folder, and leave out what cannot be used.

    Left out are pictures without a mask (where masks are given), empty masks, and people of less
    than :data:`LEAST_HEIGHT` pixels.

    Args:
        folder: Folder of pictures.
        masks: Folder of masks with the same names, but for the suffix.

    Raises:
        MissingDataError: There is no such folder, it holds no picture, or nothing of it is usable.
        PictureError: A picture cannot be decoded, has no alpha channel though there are no masks,
            or a mask has another size than its picture.
        UsageError: Two masks have the same name.
    """
    pictures = picture_files(folder, "--cutouts")
    known = None if masks is None else _by_stem(masks)
    grouped: dict[str, list[Cutout]] = {}
    skipped: list[tuple[Path, str]] = []
    for path in pictures:
        mask = None if known is None else known.get(_stem(path, folder))
        reason = "no mask" if known is not None and mask is None else _unfit(Cutout(path, mask))
        if reason:
            skipped.append((path, reason))
            continue
        first, *below = path.relative_to(folder).parts
        grouped.setdefault(first if below else path.name, []).append(Cutout(path, mask))
    if not grouped:
        counts = "; ".join(f"{n} x {reason}" for reason, n in count_reasons(skipped).items())
        raise MissingDataError(
            f"none of the {len(pictures)} pictures in {folder} can be cut out: {counts}",
            hint="a mask has the name of its picture and is light where the person is",
        )
    people = tuple(Person(name, tuple(grouped[name])) for name in sorted(grouped))
    return FoundPeople(people, tuple(skipped))


def picture_files(folder: Path, option: str) -> list[Path]:
    """Return the pictures of a folder and of those in it, by name.

    Args:
        folder: The folder.
        option: What names it, for messages.

    Raises:
        MissingDataError: There is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise MissingDataError(f"no folder at {folder}", hint=f"{option} names a folder")
    # What begins with a dot was written by a system beside the pictures.
    found = (path for path in folder.rglob("*") if not path.name.startswith("."))
    files = [path for path in found if path.suffix.lower() in SUFFIXES]
    if not files:
        raise MissingDataError(
            f"no picture in {folder}", hint=f"pictures end in {', '.join(SUFFIXES)}"
        )
    return sorted(files, key=lambda path: path.relative_to(folder).as_posix())


def count_reasons(skipped: Iterable[tuple[Path, str]]) -> dict[str, int]:
    """Count how many pictures were left out for each reason.

    Example:
        >>> count_reasons([(Path("a"), "no mask"), (Path("b"), "no mask")])
        {'no mask': 2}
    """
    counts: dict[str, int] = {}
    for _, reason in skipped:
        counts[reason] = counts.get(reason, 0) + 1
    return counts


@lru_cache(maxsize=160)  # a hundred street pictures of 320x480 are about 40 MB
def read_cutout(cutout: Cutout) -> CutPerson:
    """Read a cut-out and take away what is around the person. It is shared: do not write to it.

    Raises:
        MissingDataError: A file is not there.
        PictureError: A file cannot be decoded, has no alpha channel, or the mask has another size.
    """
    rgb, alpha = read_picture(cutout.path), _alpha(cutout)
    x1, y1, x2, y2 = extent(alpha)
    left, top = max(x1 - _ROOMY, 0), max(y1 - _ROOMY, 0)
    inside = (slice(top, y2 + _ROOMY), slice(left, x2 + _ROOMY))
    around = None
    if cutout.mask is not None and (alpha <= _SOLID).any():
        outside = Image.fromarray((alpha <= _SOLID).astype(np.uint8) * 255)
        red, green, blue = ImageStat.Stat(Image.fromarray(rgb), outside).mean
        around = (red, green, blue)
    return CutPerson(np.dstack([rgb[inside], alpha[inside]]), around)


def extent(alpha: UInt8[np.ndarray, "H W"]) -> tuple[int, int, int, int]:
    """Return the box ``x1 y1 x2 y2`` of what is more opaque than not; zeros if nothing is."""
    solid = alpha > _SOLID
    rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _unfit(cutout: Cutout) -> str:
    """Return why a cut-out cannot be used, or nothing."""
    _, top, _, bottom = extent(_alpha(cutout))
    if bottom == top:
        return "empty mask" if cutout.mask else "nothing but transparent pixels"
    if bottom - top < LEAST_HEIGHT:
        return f"lower than {LEAST_HEIGHT} pixels"
    return ""


def _alpha(cutout: Cutout) -> UInt8[np.ndarray, "H W"]:
    if cutout.mask is not None:
        size, of_mask = picture_size(cutout.path), picture_size(cutout.mask)
        if size != of_mask:
            raise PictureError(
                f"mask {cutout.mask} is {of_mask[0]}x{of_mask[1]}, but its picture "
                f"{cutout.path} is {size[0]}x{size[1]}",
                hint="picture and mask must have one size",
            )
        red, green, blue = np.moveaxis(read_picture(cutout.mask), 2, 0)
        return _levels(np.maximum(np.maximum(red, green), blue))
    alpha = read_alpha(cutout.path)
    if alpha is None:
        raise PictureError(
            f"{cutout.path} has no transparent pixels, so nothing tells where the person is",
            hint="save cut-outs as PNG with transparency, or give --masks",
        )
    return alpha


def _levels(mask: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    """Read a mask of 0 and 1, of 0 and 255, or of levels of grey in between."""
    if mask.max() <= 1:  # tools that think of classes write 0 and 1, which looks all black
        return np.asarray(mask * 255, dtype=np.uint8)
    return mask


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in picture_files(folder, "--masks"):
        stem = _stem(path, folder)
        if stem in found:
            raise UsageError(
                f"{found[stem]} and {path} are masks of one picture", hint="leave one of them"
            )
        found[stem] = path
    return found


def _stem(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()
