"""Sources, as users name them, become files with names: files, folders, patterns and lists.

A picture is named after the folder it was found from: ``photos``, ``/home/ann/photos`` and
``photos/*.jpg`` all give ``photos/a.jpg``. Whatever is not a picture is named with the reason.
"""

import csv
import glob
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import util
from pathlib import Path

from fdps.errors import DataError, MissingDataError

PICTURE_SUFFIXES = frozenset(
    {".bmp", ".heic", ".heif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
VIDEO_SUFFIXES = frozenset(
    {".avi", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm"}
)
LIST_SUFFIXES = frozenset({".csv", ".txt"})
LIST_MARK = "@"
LIST_COLUMNS = ("file", "path", "image")
ARCHIVE_SUFFIX = ".fdps"

Source = str | Path


@dataclass(frozen=True, slots=True)
class Frame:
    """One file to look at.

    Args:
        name: With forward slashes, never absolute.
        path: The file, absolute.
        is_video: By its suffix.
    """

    name: str
    path: Path
    is_video: bool = False


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


def find_pictures(sources: Source | Iterable[Source], *, videos: bool = False) -> Found:
    """List the pictures of one or several sources, and the videos if wanted.

    Folders are searched with their subfolders. Hidden files and folders (``.name``) and archives
    (``name.fdps``) are passed over. In a folder the suffix decides what is a picture; a file that
    is named itself is taken for one unless it is a video or a list.

    A list is a file of sources, one a line: ``@list``, or any named file that ends in ``.txt``;
    or the column ``file``, ``path`` or ``image`` of a ``.csv``, such as ``skipped.csv``. What a
    list names is meant from the folder of the list. Entries that do not exist are skipped.

    Args:
        sources: Files, folders, patterns such as ``photos/**/*.jpg``, or lists.
        videos: Whether videos are listed too.

    Raises:
        MissingDataError: A source does not exist, or a pattern fits nothing.
        DataError: There is no picture in any source, or a list cannot be read.
    """
    if isinstance(sources, str | Path):
        sources = [sources]
    sources = list(sources)
    frames: dict[Path, Frame] = {}
    skipped: dict[Path, Skipped] = {}
    for source in sources:
        for frame, reason in _judged(source, videos):
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


def _judged(source: Source, videos: bool) -> Iterator[tuple[Frame, str]]:
    """The files of a source, each with why it is not looked at; empty if it is."""
    listed = _list_of(source)
    if listed is None:
        for frame, is_named in _files(source):
            yield frame, _why_not(frame, is_named, videos)
        return
    for entry in _entries(listed):
        try:
            for frame, is_named in _files(entry):
                yield frame, _why_not(frame, is_named, videos)
        except MissingDataError:
            yield Frame(entry.name, entry), "no such file or folder"


def _list_of(source: Source) -> Path | None:
    """The file, if a source is a list of others."""
    text, path = str(source), Path(source)
    if text.startswith(LIST_MARK) and not path.exists():
        return Path(text.removeprefix(LIST_MARK))
    return path if path.suffix.lower() in LIST_SUFFIXES and path.is_file() else None


def _entries(listed: Path) -> list[Path]:
    try:
        text = listed.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise MissingDataError(f"no list at {listed}: {error.strerror}") from error
    lines = [line.strip() for line in text.splitlines()]
    if listed.suffix.lower() == ".csv":
        rows = csv.DictReader(io.StringIO(text))
        column = next((name for name in LIST_COLUMNS if name in (rows.fieldnames or ())), None)
        if column is None:
            raise DataError(
                f"{listed} has no column of files, it has {', '.join(rows.fieldnames or ())}",
                hint=f"name one of its columns {' or '.join(LIST_COLUMNS)}",
            )
        lines = [row[column] or "" for row in rows]
    folder = listed.absolute().parent
    return [Path(os.path.normpath(folder / line)) for line in lines if line and line[0] != "#"]


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
    name = path.relative_to(relative_to).as_posix()
    return Frame(name, path, is_video=path.suffix.lower() in VIDEO_SUFFIXES)


def _why_not(frame: Frame, is_named: bool, videos: bool) -> str:
    """Why a file is not looked at; empty if it is."""
    suffix = frame.path.suffix.lower()
    if frame.is_video:
        return _why_no_video() if videos else "a video; this command reads pictures only"
    if suffix in (".heic", ".heif") and not util.find_spec("pillow_heif"):
        return "HEIC needs pillow-heif: pip install 'fdps[heic]'"
    if suffix in PICTURE_SUFFIXES or is_named:
        return ""
    return f"not a picture by its name ({suffix or 'no suffix'})"


def _why_no_video() -> str:
    return "" if util.find_spec("av") else "videos need PyAV: pip install 'fdps[video]'"


def _what_there_is(skipped: dict[Path, Skipped]) -> str:
    suffixes = [path.suffix.lower() or "no suffix" for path in skipped]
    counts = ", ".join(f"{suffix} ×{suffixes.count(suffix)}" for suffix in sorted(set(suffixes)))
    read = f"pictures are read from {' '.join(sorted(PICTURE_SUFFIXES))}"
    remedies = {file.reason for file in skipped.values() if "pip install" in file.reason}
    return "; ".join([f"there is: {counts}" if counts else "the folder is empty", read, *remedies])
