"""Turn the sources that users name into named files: files, folders, patterns and lists.

A picture is named after the folder it was found from: ``photos``, ``/home/ann/photos`` and
``photos/*.jpg`` all give ``photos/a.jpg``. Whatever is not a picture is named with the reason.
"""

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import util
from pathlib import Path

from fdps.errors import DataError, MissingDataError
from fdps.names import printable, stored
from fdps.search.ingest.folders import (
    cannot_be_read,
    files_below,
    is_file,
    is_folder,
    matching,
    spelled_alike,
)
from fdps.search.ingest.lists import LIST_MARK, LIST_SUFFIXES, ListEntry, read_list

PICTURE_SUFFIXES = frozenset(
    {".bmp", ".heic", ".heif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
VIDEO_SUFFIXES = frozenset(
    {".avi", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm"}
)

Source = str | Path


@dataclass(frozen=True, slots=True)
class Frame:
    """One file to look at.

    Args:
        name: Name with forward slashes, never absolute, as :func:`fdps.names.stored` writes it.
        path: Absolute path of the file.
        is_video: Whether the file is a video, by its suffix.
    """

    name: str
    path: Path
    is_video: bool = False


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or folder that is not looked at, or could not be.

    Args:
        path: Absolute path of the file or folder.
        reason: The reason, worded for the user.
    """

    path: Path
    reason: str

    @classmethod
    def because(cls, path: Path, error: DataError) -> "Skipped":
        """Describe a file that could not be read; its name is not repeated in the reason."""
        return cls(path, str(error).removeprefix(f"{path} "))


@dataclass(frozen=True, slots=True)
class Found:
    """The files that sources hold.

    Args:
        frames: Files in the order of the sources, sorted by name within each; no file occurs twice.
        skipped: Files that are not pictures or cannot be read, in the same order.
    """

    frames: tuple[Frame, ...]
    skipped: tuple[Skipped, ...] = ()


def find_pictures(sources: Source | Iterable[Source], *, videos: bool = False) -> Found:
    """List the pictures of one or several sources, and the videos if wanted.

    Folders are searched with their subfolders. Hidden files and folders (``.name``) and archives
    (``name.fdps``) are passed over; a folder that cannot be read and a link to a folder are named.
    In a folder the suffix decides what is a picture; a file that is named itself is taken for one
    unless it is a video or a list. A name finds the file whose name differs from it in the Unicode
    form alone, where no other has exactly that name.

    A list is a file with one source a line: ``@list``, or any named file that ends in ``.txt``; or
    the column ``file``, ``path`` or ``image`` of a ``.csv``, such as ``skipped.csv``. Its entries
    are relative to the folder of the list. Entries that do not exist are skipped. A line of text
    that begins with ``#`` is a comment unless there is a file of that name; CSV has no comments. A
    list within a list is read where it is written ``@list``.

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
        there = ", ".join(map(printable, sources))
        raise DataError(
            f"no pictures found in {there} (0 of {len(skipped)} files)",
            hint=_what_there_is(skipped.values()),
        )
    return Found(tuple(frames.values()), tuple(skipped.values()))


def _judged(source: Source, videos: bool) -> Iterator[tuple[Frame, str]]:
    """Yield the files of a source, each with why it is not looked at; empty if it is."""
    listed = _list_of(source)
    if listed is not None:
        yield from _judged_list(listed, videos, ())
        return
    for frame, problem, is_named in _files(source):
        yield frame, problem or _why_not(frame, is_named, videos)


def _judged_list(
    listed: Path, videos: bool, above: tuple[Path, ...]
) -> Iterator[tuple[Frame, str]]:
    """Yield the same for a list; ``above`` are the lists that it stands in."""
    try:
        entries = read_list(listed)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        if not above:
            raise MissingDataError(f"no list at {printable(listed)}: {error.strerror}") from error
        yield _named(listed), f"no list: {error.strerror}"
        return
    except OSError as error:
        yield _named(listed), cannot_be_read(error)
        return
    lists = (*above, listed.absolute())
    for entry in entries:
        yield from _judged_entry(entry, videos, lists)


def _judged_entry(
    entry: ListEntry, videos: bool, lists: tuple[Path, ...]
) -> Iterator[tuple[Frame, str]]:
    """Yield the same for an entry of the last of these lists."""
    folder, text = lists[-1].parent, entry.text.strip()
    for spelling in entry.spellings():
        try:
            files = list(_files(_within(folder, spelling)))
        except MissingDataError:
            continue
        for frame, problem, is_named in files:
            yield frame, problem or _why_not_listed(frame, is_named, videos)
        return
    if text.startswith(LIST_MARK):
        inner = _within(folder, text.removeprefix(LIST_MARK))
        if inner in lists:
            yield _named(inner), "a list that names itself"
        else:
            yield from _judged_list(inner, videos, lists)
    elif not entry.may_be_comment:
        yield _named(_within(folder, text)), "no such file or folder"


def _within(folder: Path, text: str) -> Path:
    return Path(os.path.normpath(folder / text))


def _named(path: Path) -> Frame:
    return Frame(stored(path.name), path)


def _list_of(source: Source) -> Path | None:
    """Return the file of a source that is a list of others, or ``None``."""
    text, path = str(source), Path(source)
    if text.startswith(LIST_MARK) and not os.path.lexists(path):
        return Path(text.removeprefix(LIST_MARK))
    if path.suffix.lower() not in LIST_SUFFIXES:
        return None
    return next((p for p in spelled_alike(path.absolute()) if is_file(p)), None)


def _files(source: Source) -> Iterator[tuple[Frame, str, bool]]:
    """Yield the sorted files of a source, each with a problem and whether it was named itself."""
    path = Path(os.path.normpath(Path(source).absolute()))
    meant = spelled_alike(path)
    if not meant and glob.has_magic(str(path)):
        root, found = matching(path)
        if not found:
            raise MissingDataError(f"no file fits the pattern {printable(path)}")
        yield from ((_frame(file, root.parent), problem, False) for file, problem in found)
    elif not meant:
        if problem := _why_not_there(path):
            yield _named(path), problem, True
            return
        raise MissingDataError(
            f"no such file or folder: {printable(source)}", hint="check the path"
        )
    for place in meant:
        if is_folder(place):
            for file, problem in files_below(place):
                yield _frame(file, place.parent), problem, False
        else:
            yield _frame(place, place.parent.parent), "", True


def _why_not_there(path: Path) -> str:
    """Say why a path cannot be looked for; empty if it simply is not there."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return ""
    except OSError as error:
        return cannot_be_read(error)
    return ""


def _frame(path: Path, relative_to: Path) -> Frame:
    name = path.relative_to(relative_to).as_posix() if path != relative_to else path.name
    return Frame(stored(name), path, is_video=path.suffix.lower() in VIDEO_SUFFIXES)


def _why_not(frame: Frame, is_named: bool, videos: bool) -> str:
    """Say why a file is not looked at; empty if it is."""
    suffix = frame.path.suffix.lower()
    if frame.is_video:
        return _why_no_video() if videos else "a video; this command reads pictures only"
    if suffix in (".heic", ".heif") and not util.find_spec("pillow_heif"):
        return "HEIC needs pillow-heif: pip install 'fdps[heic]'"
    if suffix in PICTURE_SUFFIXES or is_named:
        return ""
    return f"not a picture by its name ({printable(suffix) or 'no suffix'})"


def _why_not_listed(frame: Frame, is_named: bool, videos: bool) -> str:
    """Say the same of an entry of a list; another list in it is reported as such."""
    if is_named and frame.path.suffix.lower() in LIST_SUFFIXES:
        return f"a list within a list is read where it is written {LIST_MARK}{frame.path.name}"
    return _why_not(frame, is_named, videos)


def _why_no_video() -> str:
    return "" if util.find_spec("av") else "videos need PyAV: pip install 'fdps[video]'"


def _what_there_is(skipped: Iterable[Skipped]) -> str:
    skipped = list(skipped)
    unread = [file for file in skipped if file.reason.startswith("cannot be read")]
    if unread:
        return f"{printable(unread[0].path)} {unread[0].reason}"
    suffixes = [file.path.suffix.lower() or "no suffix" for file in skipped]
    counts = ", ".join(
        f"{printable(suffix)} ×{suffixes.count(suffix)}" for suffix in sorted(set(suffixes))
    )
    read = f"pictures are read from {' '.join(sorted(PICTURE_SUFFIXES))}"
    remedies = {file.reason for file in skipped if "pip install" in file.reason}
    return "; ".join([f"there is: {counts}" if counts else "the folder is empty", read, *remedies])
