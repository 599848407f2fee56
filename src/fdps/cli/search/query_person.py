"""Which person of a picture to look for: the only one, or the one that the user points at."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fdps.errors import DataError, UsageError

if TYPE_CHECKING:
    from fdps.query import QueryPerson, Searcher

_WITH_PERSON = re.compile(r"(.+)@(\d+(?:\.\d+)?(?:,\d+(?:\.\d+)?)*)")


@dataclass(frozen=True, slots=True)
class Choice:
    """A picture, and how to find the person in it; at most one way is given.

    Args:
        picture: The file.
        box: ``x1,y1,x2,y2`` around the person.
        point: ``x,y`` on the person.
        person: Number of the person, best detection first, from 1.
    """

    picture: Path
    box: str | None = None
    point: str | None = None
    person: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Choice":
        """Read ``PICTURE``, ``PICTURE@N``, ``PICTURE@X,Y`` or ``PICTURE@X1,Y1,X2,Y2``.

        A file that has such a name is that file.

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
        searcher: Finds and embeds people.
        choice: The picture and who.

    Raises:
        UsageError: More than one way to choose, or none where several people are seen; a value
            that is malformed or lies outside the picture.
        DataError: Nobody was found.
        PictureError: The picture cannot be read.
        MissingDataError: There is no such picture.
    """
    from fdps.pictures import read_picture
    from fdps.query import QueryPerson

    picture, person = choice.picture, choice.person
    if sum(way is not None for way in (choice.box, choice.point, person)) > 1:
        raise UsageError("choose the person once", hint="give one of --box, --point, --person")
    image = read_picture(picture)
    if choice.box is not None:
        x1, y1, x2, y2 = _numbers(choice.box, "--box", "x1,y1,x2,y2")
        return searcher.query(image, box=(x1, y1, x2, y2))
    if choice.point is not None:
        x, y = _numbers(choice.point, "--point", "x,y")
        return searcher.query(image, point=(x, y))
    found = searcher.detect(image)
    if len(found) == 0:
        raise DataError(
            f"{picture}: nobody found in the query picture",
            hint="draw the box yourself: --box x1,y1,x2,y2, or lower --min-score",
        )
    listed = "\n".join(
        f"  --person {number}  {described(query_box)}, score {score:.2f}"
        for number, (query_box, score) in enumerate(
            zip(found.boxes.tolist(), found.scores.tolist(), strict=True), start=1
        )
    )
    if person is None and len(found) > 1:
        raise UsageError(
            f"{picture}: {len(found)} people found, none chosen\n{listed}",
            hint=f"choose one of these, or give --point x,y or --box x1,y1,x2,y2; with several "
            f"pictures write it behind each: {picture.name}@1\n"
            f"to see them numbered: fdps detect {picture} --model MODEL --picture numbered.jpg",
        )
    if person is not None and not 1 <= person <= len(found):
        raise UsageError(f"{picture} has no person {person}; it has\n{listed}")
    row = (person or 1) - 1
    return QueryPerson(found.boxes[row], float(found.scores[row]), found.embeddings[row])


def described(box: list[float]) -> str:
    """Corners in whole pixels."""
    x1, y1, x2, y2 = (round(value) for value in box)
    return f"({x1},{y1})-({x2},{y2})"


def _numbers(text: str, option: str, names: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != names.count(",") + 1:
        raise UsageError(f"{option} takes {names} in pixels, got {text!r}")
    return numbers
