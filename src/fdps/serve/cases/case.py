"""What a case consists of, and how large its parts may be.

Axes in shapes: D embedding dimension.
"""

import unicodedata
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float32

from fdps.errors import UsageError
from fdps.search.care.retention import UNKNOWN_AGE, Age

Opinion = Literal["confirmed", "rejected"]
"""The verdict of a person on a candidate."""

MOST_OF_NAME, MOST_OF_PURPOSE, MOST_OF_NOTES, MOST_OF_NOTE = 200, 2_000, 20_000, 2_000
"""Most letters of the texts of a case; the last is the note beside a verdict."""

MOST_PEOPLE, MOST_VERDICTS, MOST_CASES = 50, 5_000, 10_000
"""Most people who are looked for and most verdicts in one case; most cases in one file."""

MOST_OF_CROP = 256 * 1024
"""Most bytes of the picture that is kept of a person who is looked for."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody is seen: a box in a frame of a content.

    It names the person also after the archive was indexed anew, when everybody has another number,
    and after the file was moved.

    Args:
        sha256: SHA-256 of the file.
        frame: Number of the frame; 0 for a picture.
        box: Corners of the box, in pixels of the upright frame.
    """

    sha256: str
    frame: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class QueryPerson:
    """A person who is looked for, or one who only looks similar.

    Args:
        name: Name of the picture, for people.
        box: Corners of the box in that picture, in pixels.
        score: Confidence of the detector, in [0, 1].
        embedding: Embedding of unit length.
        crop: The person cut out, as WebP; empty where there is no picture.
        is_unlike: Whether this is somebody else who looks similar.
        place: Where the person is in the archive; ``None`` for a picture from elsewhere.
        age: Since when that scene counts for the retention of the archive.
    """

    name: str
    box: tuple[float, float, float, float]
    score: float
    embedding: Float32[np.ndarray, " D"]
    crop: bytes = b""
    is_unlike: bool = False
    place: Place | None = None
    age: Age = UNKNOWN_AGE


@dataclass(frozen=True, slots=True)
class Judged:
    """A candidate on whom somebody has given a verdict.

    Args:
        place: Where the candidate is.
        scene: Name of the scene when the verdict was given.
        opinion: The verdict.
        note: Text beside it, or empty.
        time: Time of the verdict, ISO 8601, UTC.
        by: Name of the user.
        age: Since when the scene counts for the retention of the archive.
    """

    place: Place
    scene: str
    opinion: Opinion
    note: str
    time: str
    by: str
    age: Age = UNKNOWN_AGE


@dataclass(frozen=True, slots=True)
class CaseLine:
    """A case in a list.

    Args:
        id: Identifier, a word of letters that no other case has.
        archive: Key of the archive that is searched.
        name: Name of the case.
        purpose: Why the person is looked for.
        notes: Text of the users.
        created: Time of creation, ISO 8601, UTC.
        by: Name of the user who created it.
        changed: Time of the last change.
        changed_by: Name of the user who made it.
        version: Number of changes so far, from 1.
        n_query: Number of people looked for, those who only look similar included.
        n_confirmed: Number of candidates that were confirmed.
        n_rejected: Number of candidates that were rejected.
    """

    id: str
    archive: str
    name: str
    purpose: str
    notes: str
    created: str
    by: str
    changed: str
    changed_by: str
    version: int
    n_query: int
    n_confirmed: int
    n_rejected: int


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A case with everything that belongs to it.

    Args:
        line: Its texts and counts.
        query: Whom it looks for.
        judged: The verdicts, in the order in which they were given.
    """

    line: CaseLine
    query: tuple[QueryPerson, ...]
    judged: tuple[Judged, ...]


def checked(text: str, what: str, most: int, *, lines: bool = False, needed: bool = False) -> str:
    """Return a text of a user without the spaces around it.

    Args:
        text: The text.
        what: What it is, for the message.
        most: Most letters.
        lines: Whether it may have several lines.
        needed: Whether it may not be empty.

    Raises:
        UsageError: It is too long, holds control characters, or is empty where it may not be.

    Example:
        >>> checked(" lost child ", "the name", 20)
        'lost child'
    """
    text = text.strip()
    if needed and not text:
        raise UsageError(f"{what} is empty", hint="write a word or two")
    if len(text) > most:
        raise UsageError(f"{what} has {len(text)} letters, at most {most} are kept")
    allowed = "\n\t\r" if lines else ""
    for letter in text:
        if unicodedata.category(letter) in ("Cc", "Cs") and letter not in allowed:
            raise UsageError(f"{what} holds a control character, U+{ord(letter):04X}")
    return text


def opinion(word: str) -> Opinion:
    """Read a verdict.

    Raises:
        UsageError: It is neither ``confirmed`` nor ``rejected``.
    """
    for known in get_args(Opinion):
        if word == known:
            return known  # type: ignore[no-any-return]
    raise UsageError(f"a verdict is confirmed or rejected, got {word[:40]!r}")


def check_people(people: "list[QueryPerson] | tuple[QueryPerson, ...]") -> None:
    """Refuse more people than a case can look for, or pictures that are too large.

    Raises:
        UsageError: There are too many, or one of the pictures has too many bytes.
    """
    if len(people) > MOST_PEOPLE:
        raise UsageError(f"a case looks for at most {MOST_PEOPLE} people, got {len(people)}")
    for person in people:
        if len(person.crop) > MOST_OF_CROP:
            raise UsageError(
                f"the picture of a person has {len(person.crop)} bytes, at most {MOST_OF_CROP}"
            )
