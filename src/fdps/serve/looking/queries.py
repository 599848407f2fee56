"""Query pictures: kept in memory for a while, and only for whoever brought them.

Axes in shapes: D embedding dimension.
"""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

from fdps.errors import UsageError
from fdps.query import QueryPerson
from fdps.serve.problems import not_found
from fdps.serve.settings import Limits

_MOST_DRAWN = 100  # boxes in one picture


@dataclass(slots=True, eq=False)
class QueryPicture:
    """A picture that somebody brought, and the people in it.

    Args:
        key: Its id.
        owner: Name of the user who brought it.
        archive: Id of the archive whose model looked at it.
        content: The file as it came, so that a box that is drawn later sees the same pixels.
        preview: The picture for a browser, without metadata.
        width: Pixels, upright.
        height: Pixels, upright.
        ends: Time when it is forgotten, on the clock ``time.time``.
        people: Everybody who was found, best first, and then boxes that were drawn; person ``n`` is
            at ``n - 1``.
        n_found: Number of those who were found.
    """

    key: str
    owner: str
    archive: str
    content: bytes
    preview: bytes
    width: int
    height: int
    ends: float
    people: list[QueryPerson] = field(default_factory=list)
    n_found: int = 0

    @property
    def n_bytes(self) -> int:
        """Memory that it takes."""
        return len(self.content) + len(self.preview)

    def person(self, number: int) -> QueryPerson:
        """Return a person, counted from 1.

        Raises:
            UsageError: The picture has no such person.
        """
        if not 1 <= number <= len(self.people):
            raise UsageError(
                f"the picture has no person {number}; it has {len(self.people)}",
                hint="draw a box, or choose another person",
            )
        return self.people[number - 1]

    def add(self, person: QueryPerson) -> int:
        """Add a box that was drawn, and return its number.

        Raises:
            UsageError: Too many boxes were drawn.
        """
        if len(self.people) - self.n_found >= _MOST_DRAWN:
            raise UsageError(f"{_MOST_DRAWN} boxes were drawn in this picture; bring it again")
        self.people.append(person)
        return len(self.people)


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """One person of a query picture.

    Args:
        picture: The picture.
        number: Number of the person in it, from 1.
        person: The person.
    """

    picture: QueryPicture
    number: int
    person: QueryPerson

    @property
    def key(self) -> str:
        """The text by which clients name it."""
        return f"{self.picture.key}:{self.number}"

    @property
    def embedding(self) -> Float32[np.ndarray, " D"]:
        """The embedding of the person."""
        return self.person.embedding


class Queries:
    """The query pictures at this moment; used on the event loop alone.

    Args:
        limits: How many are kept, and for how long.
        clock: Tells the time, in seconds since 1970.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.time) -> None:
        self._limits, self._clock = limits, clock
        self._pictures: OrderedDict[str, QueryPicture] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pictures)

    @property
    def n_bytes(self) -> int:
        """Memory that the pictures take."""
        return sum(picture.n_bytes for picture in self._pictures.values())

    def keep(
        self,
        *,
        owner: str,
        archive: str,
        content: bytes,
        preview: bytes,
        size: tuple[int, int],
        people: list[QueryPerson],
    ) -> QueryPicture:
        """Keep a picture; the oldest are forgotten where there are too many.

        Args:
            owner: Name of the user who brought it.
            archive: Id of the archive.
            content: The file as it came.
            preview: The picture for a browser.
            size: Width and height.
            people: Everybody who was found, best first.
        """
        picture = QueryPicture(
            "q" + secrets.token_urlsafe(16),
            owner,
            archive,
            content,
            preview,
            *size,
            self._clock() + self._limits.query_s,
            people,
            len(people),
        )
        self._pictures[picture.key] = picture
        self.forget_old()
        return picture

    def get(self, key: str, owner: str) -> QueryPicture:
        """Return a picture.

        Raises:
            ProblemError: There is none of this id that this user has brought, or it was forgotten.
        """
        self.forget_old()
        picture = self._pictures.get(key)
        if picture is None or picture.owner != owner:
            raise not_found("query picture")
        return picture

    def select(self, text: str, owner: str) -> Selection:
        """Return the person that a text ``ID:n`` names.

        Raises:
            ProblemError: There is no such picture.
            UsageError: The text is malformed, or the picture has no such person.
        """
        key, _, number = text.rpartition(":")
        if not key or not number.isascii() or not number.isdigit() or len(number) > 6:
            raise UsageError("a selection is ITEM or QUERY:n", hint='such as "item:17" or "q5f…:2"')
        picture = self.get(key, owner)
        return Selection(picture, int(number), picture.person(int(number)))

    def forget(self, key: str, owner: str) -> None:
        """Forget a picture.

        Raises:
            ProblemError: As for :meth:`get`.
        """
        del self._pictures[self.get(key, owner).key]

    def forget_old(self) -> None:
        """Forget what is too old, and the oldest of what is too much."""
        now = self._clock()
        for key in [key for key, picture in self._pictures.items() if picture.ends <= now]:
            del self._pictures[key]
        while len(self._pictures) > self._limits.queries or self.n_bytes > self._limits.query_bytes:
            self._pictures.popitem(last=False)
