"""Patterns for names, which SQLite knows as ``GLOB``, as regular expressions of PostgreSQL."""

import re
from collections.abc import Iterator

_NEVER = "(?!)"
_SET = re.compile(r"\[(\^?)(\]?[^]]*)\]", re.DOTALL)


def regular_expression(pattern: str) -> str:
    r"""Write a pattern as a regular expression that fits the same texts.

    ``*`` stands for any letters, ``?`` for one, ``[...]`` for one of those in it and ``[^...]`` for
    one that is not. A set that is not closed fits nothing.

    Example:
        >>> regular_expression("day?/[0-3]*.jpg")
        '^day.\\/[0-3].*\\.jpg$'
    """
    return f"^{''.join(_parts(pattern))}$"


def _parts(pattern: str) -> Iterator[str]:
    place = 0
    while place < len(pattern):
        letter = pattern[place]
        if letter == "[":
            found = _SET.match(pattern, place)
            if not found:
                yield _NEVER
                return
            yield _one_of(found[2], is_inverted=bool(found[1]))
            place = found.end()
            continue
        yield {"*": ".*", "?": "."}.get(letter) or _escaped(letter)
        place += 1


def _one_of(letters: str, *, is_inverted: bool) -> str:
    members, place = [], 0
    while place < len(letters):
        first = letters[place]
        if letters[place + 1 : place + 2] == "-" and place + 2 < len(letters):
            last = letters[place + 2]
            if first <= last:
                members.append(f"{_escaped(first)}-{_escaped(last)}")
            place += 3
        else:
            members.append(_escaped(first))
            place += 1
    if not members:
        return "." if is_inverted else _NEVER
    return f"[{'^' * is_inverted}{''.join(members)}]"


def _escaped(letter: str) -> str:
    """Write a letter so that it means itself; a backslash before others would be a command."""
    is_plain = letter.isalnum() or ord(letter) >= 0x80 or letter.isspace()
    return letter if is_plain else f"\\{letter}"
