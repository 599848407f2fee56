"""Find the picture that an annotation names.

A name with accents has several Unicode forms: macOS and some archives store ``e`` and an accent
(NFD) where others store one letter (NFC). Both are the same name to whoever reads it.
"""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from unicodedata import normalize

from fdps.errors import MissingDataError
from fdps.names import printable


def find_picture(path: Path) -> Path:
    """Return the file of this name, or the only one whose name has another Unicode form.

    Args:
        path: Path as the annotations have it.

    Raises:
        MissingDataError: There is no such file, or there are several of other forms. The hint names
            files that differ in upper and lower case alone.
    """
    found = _find(path)
    if found is not None:
        return found
    raise MissingDataError(f"no picture at {path}", hint=_nearest(path))


def unicode_forms(names: Iterable[str]) -> dict[str, str]:
    r"""Index names by their NFC form, where that is one name and not several.

    Example:
        >>> unicode_forms(["A\u030a.jpg"])["\u00c5.jpg"] == "A\u030a.jpg"
        True
    """
    return {form: group[0] for form, group in _by_form(names).items() if len(group) == 1}


def known_name(name: str, names: Iterable[str], forms: dict[str, str]) -> str:
    """Return the name itself if it is known, else the known one that it is another form of.

    Args:
        name: Name as a list has it.
        names: The known names.
        forms: The :func:`unicode_forms` of the known names.
    """
    return name if name in names else forms.get(normalize("NFC", name), name)


def _find(path: Path) -> Path | None:
    try:
        if path.exists():
            return path
        folder = _find(path.parent) if path.parent != path else None
        if folder is None or not folder.is_dir():
            return None
        same = _names_in(folder, folder.stat().st_mtime_ns).get(normalize("NFC", path.name), ())
    except (OSError, ValueError):  # the name is too long, or no file system has its characters
        return None
    return folder / same[0] if len(same) == 1 else None


def _nearest(path: Path) -> str:
    """Say which files have nearly this name."""
    if "\\" in path.name:
        return "folders are separated by / and not by a backslash"
    folder = _find(path.parent)
    if folder is None or not folder.is_dir():
        return f"there is no folder {path.parent}"
    forms = _names_in(folder, folder.stat().st_mtime_ns)
    wanted = normalize("NFC", path.name)
    if wanted in forms:
        return (
            f"{len(forms[wanted])} files have this name in other Unicode forms: leave one of them"
        )
    alike = [
        name for form, group in forms.items() if form.lower() == wanted.lower() for name in group
    ]
    if alike:
        return f"there is {printable(alike[0])}: upper and lower case differ"
    return ""


@lru_cache(maxsize=64)
def _names_in(folder: Path, changed: int) -> dict[str, list[str]]:
    """List a folder by the NFC forms of names, once for as long as it does not change."""
    return _by_form(path.name for path in folder.iterdir())


def _by_form(names: Iterable[str]) -> dict[str, list[str]]:
    forms: dict[str, list[str]] = {}
    for name in names:
        forms.setdefault(normalize("NFC", name), []).append(name)
    return forms
