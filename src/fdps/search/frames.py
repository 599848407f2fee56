"""Sources, as users name them, become pictures with names: files, folders and patterns.

A picture is named after the folder it was found from: ``photos``, ``/home/ann/photos`` and
``photos/*.jpg`` all give ``photos/a.jpg``. Whatever is not a picture is named with the reason.
"""

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fdps.errors import DataError, MissingDataError

PICTURE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
VIDEO_SUFFIXES = frozenset(
    {".avi", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm"}
)
ARCHIVE_SUFFIX = ".fdps"

Source = str | Path


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture to look at.

    Args:
        name: With forward slashes, never absolute.
        path: The file, absolute.
    """

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is not looked at, or could not be.

    Args:
        path: The file, absolute.
        reason: For the user.
    """

    path: Path
    reason: str

    @classmethod
    def because(cls, path: Path, error: DataError) -> "Skipped":
        """A file that could not be read; its name is not repeated in the reason."""
        return cls(path, str(error).removeprefix(f"{path} "))


@dataclass(frozen=True, slots=True)
class Found:
    """What sources hold.

    Args:
        frames: In the order of the sources, each sorted by name; no file twice.
        skipped: Files that are not pictures, in the same order.
    """

    frames: tuple[Frame, ...]
    skipped: tuple[Skipped, ...] = ()


def find_pictures(sources: Source | Iterable[Source]) -> Found:
    """List the pictures of one or several sources.

    Folders are searched with their subfolders. Hidden files and folders (``.name``) and archives
    (``name.fdps``) are passed over. In a folder the suffix decides what is a picture; a file that
    is named itself is taken for one unless it is a video.

    Args:
        sources: Files, folders, or patterns such as ``photos/**/*.jpg``.

    Raises:
        MissingDataError: A source does not exist, or a pattern fits nothing.
        DataError: There is no picture in any source.
    """
    if isinstance(sources, str | Path):
        sources = [sources]
    sources = list(sources)
    frames: dict[Path, Frame] = {}
    skipped: dict[Path, Skipped] = {}
    for source in sources:
        for frame, is_named in _files(source):
            reason = _why_not(frame.path, is_named)
            if reason:
                skipped.setdefault(frame.path, Skipped(frame.path, reason))
            else:
                frames.setdefault(frame.path, frame)
    if not frames:
        raise DataError(
            f"no pictures found in {', '.join(map(str, sources))} (0 of {len(skipped)} files)",
            hint=_what_there_is(skipped),
        )
    return Found(tuple(frames.values()), tuple(skipped.values()))


def _files(source: Source) -> Iterator[tuple[Frame, bool]]:
    """The files of a source, sorted, each with whether it was named itself."""
    path = Path(os.path.normpath(Path(source).absolute()))
    if path.is_dir():
        yield from ((_frame(file, path.parent), False) for file in _walk(path))
    elif path.exists():
        yield _frame(path, path.parent.parent), True
    elif glob.has_magic(str(path)):
        yield from ((frame, False) for frame in _matches(path))
    else:
        raise MissingDataError(f"no such file or folder: {source}", hint="check the path")


def _matches(pattern: Path) -> list[Frame]:
    n_fixed = next(i for i, step in enumerate(pattern.parts) if glob.has_magic(step))
    root = Path(*pattern.parts[:n_fixed])
    files = sorted(root.glob("/".join(pattern.parts[n_fixed:])))
    found = [
        _frame(file, root.parent)
        for file in files
        if file.is_file() and not file.name.startswith(".")
    ]
    if not found:
        raise MissingDataError(f"no file fits the pattern {pattern}")
    return found


def _walk(root: Path) -> list[Path]:
    files: list[Path] = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if not _is_passed_over(name)]
        files.extend(Path(folder, name) for name in names if not name.startswith("."))
    return sorted(files)


def _is_passed_over(folder: str) -> bool:
    return folder.startswith(".") or folder.endswith(ARCHIVE_SUFFIX)


def _frame(path: Path, relative_to: Path) -> Frame:
    return Frame(name=path.relative_to(relative_to).as_posix(), path=path)


def _why_not(path: Path, is_named: bool) -> str:
    """Why a file is not taken for a picture; empty if it is."""
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return "a video; this version reads pictures only"
    if suffix in PICTURE_SUFFIXES or is_named:
        return ""
    return f"not a picture by its name ({suffix or 'no suffix'})"


def _what_there_is(skipped: dict[Path, Skipped]) -> str:
    suffixes = [path.suffix.lower() or "no suffix" for path in skipped]
    counts = ", ".join(f"{suffix} ×{suffixes.count(suffix)}" for suffix in sorted(set(suffixes)))
    read = f"pictures are read from {' '.join(sorted(PICTURE_SUFFIXES))}"
    return f"there is: {counts}; {read}" if counts else f"the folder is empty; {read}"
