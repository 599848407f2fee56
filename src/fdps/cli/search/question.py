"""The question of ``fdps search``: pictures and people of the archive, and who is somebody else."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fdps.errors import DataError, UsageError
from fdps.names import printable

if TYPE_CHECKING:
    from fdps.query import QueryPerson, Searcher
    from fdps.search import ArchivedPerson, Index
    from fdps.structures import Detections

_WITH_PERSON = re.compile(r"(.+)@(\d+(?:\.\d+)?(?:,\d+(?:\.\d+)?)*)")


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """One picture of the person looked for, or of somebody else.

    Args:
        person: The person, with box and embedding.
        picture: The picture file; ``None`` for a person of the archive.
        is_unlike: Whether it is of somebody else.
    """

    person: "QueryPerson | ArchivedPerson"
    picture: Path | None = None
    is_unlike: bool = False

    def __str__(self) -> str:
        box = described(self.person.box.tolist())
        return f"{printable(self.name)}: {box}, score {self.person.score:.2f}"

    @property
    def name(self) -> str:
        """The file, or the number and the scene of the person."""
        return str(self.picture or f"item {getattr(self.person, 'item', '')}")

    def figures(self) -> dict[str, Any]:
        """Return the values for JSON."""
        return {
            "picture": str(self.picture) if self.picture else None,
            "item": getattr(self.person, "item", None),
            "box": self.person.box.tolist(),
            "score": self.person.score,
            "unlike": self.is_unlike,
        }


@dataclass(frozen=True)
class Question:
    """The options of ``fdps search`` that say whom it looks for."""

    query: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PICTURE[@WHO]",
            help="Picture of the person; repeatable. WHO is a number, x,y or x1,y1,x2,y2.",
        ),
    ] = None
    box: Annotated[
        str | None, typer.Option(metavar="X1,Y1,X2,Y2", help="Box around the person, in pixels.")
    ] = None
    point: Annotated[str | None, typer.Option(metavar="X,Y", help="A pixel on the person.")] = None
    person: Annotated[
        int | None, typer.Option(metavar="N", help="Person N of those found, best first.")
    ] = None
    item: Annotated[
        list[int] | None,
        typer.Option(metavar="ITEM", help="Somebody in the archive who is the person; repeatable."),
    ] = None
    unlike: Annotated[
        list[str] | None,
        typer.Option(metavar="PICTURE[@WHO]", help="Picture of somebody else; repeatable."),
    ] = None
    unlike_item: Annotated[
        list[int] | None,
        typer.Option(
            metavar="ITEM", help="Somebody in the archive who is not the person; repeatable."
        ),
    ] = None

    @property
    def needs_model(self) -> bool:
        """Whether a picture has to be looked at."""
        return bool(self.query or self.unlike)

    def choices(self) -> "list[Choice]":
        """Return the pictures of the person.

        Raises:
            UsageError: Nobody is looked for, or it is not clear who is meant in a picture.
        """
        if not self.query and not self.item:
            raise UsageError("nobody to look for", hint="give --query PICTURE or --item N")
        choices = [Choice.parse(text) for text in self.query or ()]
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
        """Find the people of the question.

        Args:
            index: The archive.
            searcher: The model of the archive; needed if :attr:`needs_model`.

        Raises:
            UsageError: As for :meth:`choices`; or nobody has a number; or several people are seen.
            DataError: Nobody is seen in a picture.
        """
        groups = (
            (self.choices(), self.item, False),
            ([Choice.parse(text) for text in self.unlike or ()], self.unlike_item, True),
        )
        asked = []
        for choices, items, is_unlike in groups:
            for choice in choices:
                assert searcher is not None
                asked.append(Asked(query_person(searcher, choice), choice.picture, is_unlike))
            asked += [Asked(index.person(item), None, is_unlike) for item in items or ()]
        return asked


@dataclass(frozen=True, slots=True)
class Choice:
    """A picture, and how to find the person in it; at most one way is given.

    Args:
        picture: The picture file.
        box: Box ``x1,y1,x2,y2`` around the person.
        point: Pixel ``x,y`` on the person.
        person: Number of the person, best detection first, from 1.
    """

    picture: Path
    box: str | None = None
    point: str | None = None
    person: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Choice":
        """Read ``PICTURE``, ``PICTURE@N``, ``PICTURE@X,Y`` or ``PICTURE@X1,Y1,X2,Y2``.

        If there is a file with such a name, the text means that file.

        Raises:
            UsageError: There are three numbers, or more than four.
        """
        match = _WITH_PERSON.fullmatch(text)
        if match is None or Path(text).exists():
            return cls(Path(text))
        picture, who = Path(match[1]), match[2]
        numbers = who.split(",")
        if len(numbers) == 1 and who.isdigit():
            return cls(picture, person=int(who))
        if len(numbers) == 2:
            return cls(picture, point=who)
        if len(numbers) == 4:
            return cls(picture, box=who)
        raise UsageError(
            f"after @ comes a person's number, a point x,y or a box x1,y1,x2,y2, got {who!r}",
            hint="such as child.jpg@2, child.jpg@412,380 or child.jpg@371,210,455,560",
        )


def query_person(searcher: "Searcher", choice: Choice) -> "QueryPerson":
    """Choose the person to look for.

    Args:
        searcher: Model that finds and embeds people.
        choice: The picture, and how to find the person in it.

    Raises:
        UsageError: More than one way to choose is given, or none where several people are seen; or
            a value is malformed or lies outside the picture.
        DataError: Nobody was found.
        PictureError: The picture cannot be read.
        MissingDataError: There is no such picture.
    """
    from fdps.pictures import read_picture
    from fdps.query import NotChosenError, choose_person

    picture = choice.picture
    if sum(way is not None for way in (choice.box, choice.point, choice.person)) > 1:
        raise UsageError("choose the person once", hint="give one of --box, --point, --person")
    image = read_picture(picture)
    box: Any = choice.box and _numbers(choice.box, "--box", "x1,y1,x2,y2")
    point: Any = choice.point and _numbers(choice.point, "--point", "x,y")
    try:
        return choose_person(searcher, image, box=box, point=point, number=choice.person)
    except NotChosenError as error:
        if len(error.found) == 0:
            raise DataError(
                f"{printable(picture)}: {error}",
                hint="draw the box yourself: --box x1,y1,x2,y2, or lower --min-score",
            ) from error
        raise UsageError(
            f"{printable(picture)}: {error}",
            hint=f"{_listed(error.found)}\n"
            "choose one of these, or give --point x,y or --box x1,y1,x2,y2; with several "
            f"pictures write it behind each: {printable(picture.name)}@1\n"
            f"to see them numbered: fdps detect {printable(picture)} --model MODEL "
            "--picture numbered.jpg",
        ) from error


def described(box: list[float]) -> str:
    """Write the corners of a box in whole pixels."""
    x1, y1, x2, y2 = (round(value) for value in box)
    return f"({x1},{y1})-({x2},{y2})"


def _listed(found: "Detections") -> str:
    return "\n".join(
        f"--person {number}  {described(box)}, score {score:.2f}"
        for number, (box, score) in enumerate(
            zip(found.boxes.tolist(), found.scores.tolist(), strict=True), start=1
        )
    )


def _numbers(text: str, option: str, names: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != names.count(",") + 1:
        raise UsageError(f"{option} takes {names} in pixels, got {text!r}")
    return numbers
