"""Whom ``fdps search`` looks for: pictures and people of the archive, and who is somebody else."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdps.cli.search.query_person import Choice, described, query_person
from fdps.errors import UsageError
from fdps.names import printable

if TYPE_CHECKING:
    from fdps.query import QueryPerson, Searcher
    from fdps.search import ArchivedPerson, Index


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """One picture of the person looked for, or of somebody else.

    Args:
        person: Box and embedding.
        picture: The file; ``None`` for a person of the archive.
        is_unlike: It is somebody else.
    """

    person: "QueryPerson | ArchivedPerson"
    picture: Path | None = None
    is_unlike: bool = False

    def __str__(self) -> str:
        box = described(self.person.box.tolist())
        return f"{printable(self.name)}: {box}, score {self.person.score:.2f}"

    @property
    def name(self) -> str:
        """The file, or the person's number and scene."""
        return str(self.picture or f"item {getattr(self.person, 'item', '')}")

    def figures(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "picture": str(self.picture) if self.picture else None,
            "item": getattr(self.person, "item", None),
            "box": self.person.box.tolist(),
            "score": self.person.score,
            "unlike": self.is_unlike,
        }


@dataclass(frozen=True, slots=True)
class Question:
    """The options of ``fdps search`` that say whom.

    Args:
        pictures: Of the person, each as :meth:`Choice.parse` reads it.
        items: Numbers of people of the archive who are the person.
        unlike: Pictures of others.
        unlike_items: Numbers of others.
        box: Around the person, where there is one picture.
        point: On the person, likewise.
        person: Number of the person, likewise.
    """

    pictures: Sequence[str] = ()
    items: Sequence[int] = ()
    unlike: Sequence[str] = ()
    unlike_items: Sequence[int] = ()
    box: str | None = None
    point: str | None = None
    person: int | None = None

    @property
    def needs_model(self) -> bool:
        """Whether a picture has to be looked at."""
        return bool(self.pictures or self.unlike)

    def choices(self) -> list[Choice]:
        """The pictures of the person.

        Raises:
            UsageError: Nobody is looked for, or it is not clear whom in which picture.
        """
        if not self.pictures and not self.items:
            raise UsageError("nobody to look for", hint="give --query PICTURE or --item N")
        choices = [Choice.parse(text) for text in self.pictures]
        ways = {"box": self.box, "point": self.point, "person": self.person}
        given = {name: value for name, value in ways.items() if value is not None}
        if not given:
            return choices
        if len(given) > 1:
            raise UsageError("choose the person once", hint="give one of --box, --point, --person")
        if len(choices) != 1:
            raise UsageError(
                f"--{next(iter(given))} does not say in which of {len(choices)} pictures",
                hint="write it behind each: --query a.jpg@2 --query b.jpg@412,380",
            )
        if choices[0] != Choice(choices[0].picture):
            raise UsageError("choose the person once", hint="behind the picture or as an option")
        return [Choice(choices[0].picture, self.box, self.point, self.person)]

    def ask(self, index: "Index", searcher: "Searcher | None") -> list[Asked]:
        """Find them.

        Args:
            index: The archive.
            searcher: Its model; needed where :attr:`needs_model`.

        Raises:
            UsageError: As :meth:`choices`; nobody has a number; several people are seen.
            DataError: Nobody is seen in a picture.
        """
        groups = (
            (self.choices(), self.items, False),
            ([Choice.parse(text) for text in self.unlike], self.unlike_items, True),
        )
        asked = []
        for choices, items, is_unlike in groups:
            for choice in choices:
                assert searcher is not None
                person = query_person(searcher, choice)
                asked.append(Asked(person, choice.picture, is_unlike))
            asked += [Asked(index.person(item), None, is_unlike) for item in items]
        return asked
