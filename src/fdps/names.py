r"""Names of files as text that every writer accepts.

A file system keeps names as bytes, and not all of them are UTF-8. Python holds a byte that is none
as a lone surrogate (:pep:`383`), which no database, JSON file or terminal takes. Such a byte is
written as ``\xe9`` instead: :func:`stored` can be read back, :func:`printable` is for people.
"""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

# Control characters, what turns the direction of the text, line separators, lone surrogates.
_UNPRINTABLE = "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
_CODE = "(?:x(?:[01][0-9a-f]|5c|7f|[89a-f][0-9a-f])|u(?:00|06|20|d[89a-f]|fe)[0-9a-f]{2})"
_TO_ESCAPE = re.compile(rf"{_UNPRINTABLE}|\\(?={_CODE})")
_TO_PRINT = re.compile(_UNPRINTABLE)
_ESCAPED = re.compile(rf"\\{_CODE}")


def stored(path: Path | str) -> str:
    r"""Write a name as one line of valid Unicode that no other name is written as.

    A byte that is not UTF-8 becomes ``\xe9``, a control character ``\x0a`` or ``\u202e``. A
    backslash that would look like the beginning of such an escape becomes ``\x5c``. Every other
    name stays as it is.

    Args:
        path: A path, or a part of one.

    Returns:
        Text that can be encoded in UTF-8; :func:`from_stored` gives the path again.
    """
    return _TO_ESCAPE.sub(lambda found: _escape(found[0]), str(path))


def from_stored(text: str) -> Path:
    """Read back what :func:`stored` wrote.

    Args:
        text: The stored name.

    Returns:
        The path, by which the file can be opened.
    """
    return Path(_ESCAPED.sub(lambda found: _unescape(found[0]), text))


def printable(text: object) -> str:
    r"""Write a text so that it stays on its line and leaves the terminal alone.

    Control characters and newlines, marks that turn the direction of writing, and bytes that are
    not UTF-8 become escapes such as ``\n``, ``\x1b`` and ``\u202e``. Letters of every language
    and emoji stay. For people only: it cannot be read back.

    Args:
        text: A name, or any object that ``str`` accepts.

    Returns:
        One line of text that can be encoded in UTF-8.
    """
    return _TO_PRINT.sub(lambda found: _print(found[0]), str(text))


def typed(text: object) -> str:
    """Write a word of a command for people to copy: quoted where a shell asks for it, printable.

    Example:
        >>> typed("my run")
        "'my run'"
    """
    return printable(shlex.quote(str(text)))


def counted(n: int, thing: str) -> str:
    """Write a number of things.

    Example:
        >>> counted(1, "picture"), counted(1200, "picture")
        ('1 picture', '1,200 pictures')
    """
    return f"{n:,} {thing}{'' if n == 1 else 's'}"


def shortened(names: Sequence[object], *, most: int) -> str:
    """Write the first of many names, and how many more there are.

    Example:
        >>> shortened(["hall", "door", "yard"], most=2)
        'hall, door and 1 more'
    """
    shown = ", ".join(printable(name) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # it stands for a byte from 0x80 to 0xff
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"


def _unescape(escape: str) -> str:
    code = int(escape[2:], 16)
    return chr(code + 0xDC00) if escape[1] == "x" and code >= 0x80 else chr(code)


def _print(character: str) -> str:
    if 0xDC80 <= ord(character) <= 0xDCFF:
        return _escape(character)
    return character.encode("unicode_escape").decode("ascii")
