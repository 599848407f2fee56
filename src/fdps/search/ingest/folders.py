"""List the files below a folder, and the files that a pattern fits.

A folder or link that cannot be entered is listed with the reason, in place of what is behind it.
Names are compared in their normal form: ``é`` is one letter or two, depending on the writer of the
file system, and users cannot see which.
"""

import glob
import os
import stat
import unicodedata
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

ARCHIVE_SUFFIX = ".fdps"
ANY_DEPTH = "**"

Listed = tuple[Path, str]
"""A file with the reason why it cannot be looked at; the reason is empty if it can."""


def files_below(root: Path) -> list[Listed]:
    """List the files of a folder and its subfolders, sorted by path.

    Hidden files and folders and archives are passed over. A link to a folder is not followed: it
    may lead round in a circle.

    Args:
        root: The folder.

    Returns:
        The files; and the folders, links, pipes and devices that cannot be looked at, with the
        reason.
    """
    found: list[Listed] = []
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            entries = _entries(folder)
        except OSError as error:
            found.append((folder, cannot_be_read(error)))
            continue
        for entry in entries:
            if _is_folder(entry):
                folders.append(Path(entry.path))
            else:
                found.append((Path(entry.path), _why_no_file(entry)))
    return sorted(found)


def matching(pattern: Path) -> tuple[Path, list[Listed]]:
    """Find what a pattern such as ``photos/**/*.jpg`` fits.

    As in a shell, a folder that fits stands for the files below it. Hidden files and folders fit
    a step of the pattern that begins with a dot.

    Args:
        pattern: Absolute pattern.

    Returns:
        The folder before the first step with a wildcard, and the files, sorted by path.
    """
    n_fixed = next((i for i in range(len(pattern.parts)) if _is_open(pattern, i)), 0)
    if not n_fixed:
        return pattern, []
    root = Path(*pattern.parts[:n_fixed])
    found: dict[Path, str] = {}
    for folder in spelled_alike(root):
        for path, problem in _fitting(folder, pattern.parts[n_fixed:]):
            if is_folder(path) and not problem:
                found.update(files_below(path))
            else:
                found[path] = problem
    return root, sorted(found.items())


def spelled_alike(path: Path) -> list[Path]:
    """Find the paths that a name may mean.

    Args:
        path: Absolute path.

    Returns:
        The path itself if it exists. Otherwise the paths that differ from it in the Unicode form
        alone, sorted; possibly none.
    """
    if os.path.lexists(path):
        return [path]
    found = [Path(path.anchor)]
    for step in path.parts[1:]:
        found = [meant for folder in found for meant in _spelled_alike(folder, step)]
    return found


def cannot_be_read(error: OSError) -> str:
    """Say why a file or folder is left out."""
    return f"cannot be read: {error.strerror or error}"


def is_folder(path: Path) -> bool:
    """Tell whether a path leads to a folder; one that cannot be looked at does not."""
    return stat.S_ISDIR(_mode(path))


def is_file(path: Path) -> bool:
    """Tell whether a path leads to a regular file, neither a pipe nor a device."""
    return stat.S_ISREG(_mode(path))


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except (OSError, ValueError):  # Path.is_dir of Python 3.11 raises some of these
        return 0


def _spelled_alike(folder: Path, step: str) -> list[Path]:
    if os.path.lexists(folder / step):
        return [folder / step]
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return []
    return [path for path in paths if _normal(path.name) == _normal(step)]


def _is_open(pattern: Path, n: int) -> bool:
    """Tell whether a step of a pattern has a wildcard and is not the very name of something."""
    return glob.has_magic(pattern.parts[n]) and not os.path.lexists(Path(*pattern.parts[: n + 1]))


def _fitting(folder: Path, steps: tuple[str, ...]) -> Iterator[Listed]:
    step, rest = steps[0], steps[1:]
    if step != ANY_DEPTH and (not glob.has_magic(step) or os.path.lexists(folder / step)):
        for path in _spelled_alike(folder, step):
            yield from _further(path, rest)
        return
    try:
        entries = _entries(folder, with_hidden=step.startswith("."))
    except NotADirectoryError:
        return
    except OSError as error:
        yield folder, cannot_be_read(error)
        return
    if step == ANY_DEPTH:
        yield from _further(folder, rest)
        for entry in entries:
            if _is_folder(entry):
                yield from _fitting(Path(entry.path), steps)
        return
    for entry in entries:
        if fnmatchcase(_normal(entry.name), _normal(step)):
            problem = "" if rest or is_folder(Path(entry.path)) else _why_no_file(entry)
            yield from (
                [(Path(entry.path), problem)] if problem else _further(Path(entry.path), rest)
            )


def _further(path: Path, rest: tuple[str, ...]) -> Iterator[Listed]:
    if rest:
        yield from _fitting(path, rest)
    else:
        yield path, ""


def _entries(folder: Path, *, with_hidden: bool = False) -> list["os.DirEntry[str]"]:
    with os.scandir(folder) as entries:
        shown = [entry for entry in entries if with_hidden or not entry.name.startswith(".")]
    return sorted(
        (entry for entry in shown if not (entry.name.endswith(ARCHIVE_SUFFIX) and entry.is_dir())),
        key=lambda entry: entry.name,
    )


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False  # its reason is told where it is listed as a file


def _why_no_file(entry: "os.DirEntry[str]") -> str:
    """Say why an entry cannot be looked at, as far as the folder tells; empty if it can."""
    try:
        if entry.is_file(follow_symlinks=False):
            return ""
        mode = entry.stat().st_mode
    except OSError as error:
        return cannot_be_read(error)
    if stat.S_ISDIR(mode):
        return "a link to a folder, which is not followed; name the folder itself"
    return "" if stat.S_ISREG(mode) else "cannot be read: not a regular file"


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", os.path.normcase(name))
