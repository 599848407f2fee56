"""Which person of a picture to look for: the only one, or the one that the user points at."""

from pathlib import Path
from typing import TYPE_CHECKING

from fdps.errors import DataError, UsageError

if TYPE_CHECKING:
    from fdps.query import QueryPerson, Searcher


def query_person(
    searcher: "Searcher",
    picture: Path,
    *,
    box: str | None,
    point: str | None,
    person: int | None,
) -> "QueryPerson":
    """Choose the person to look for.

    Args:
        searcher: Finds and embeds people.
        picture: The file.
        box: ``x1,y1,x2,y2`` around the person.
        point: ``x,y`` on the person.
        person: Number of the person, best detection first, from 1.

    Raises:
        UsageError: More than one way to choose, or none where several people are seen; a value
            that is malformed or lies outside the picture.
        DataError: Nobody was found.
        PictureError: The picture cannot be read.
    """
    from fdps.data.pictures import read_picture
    from fdps.query import QueryPerson

    if sum(choice is not None for choice in (box, point, person)) > 1:
        raise UsageError("choose the person once", hint="give one of --box, --point, --person")
    image = read_picture(picture)
    if box is not None:
        x1, y1, x2, y2 = _numbers(box, "--box", "x1,y1,x2,y2")
        return searcher.query(image, box=(x1, y1, x2, y2))
    if point is not None:
        x, y = _numbers(point, "--point", "x,y")
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
            hint="choose one of these, or give --point x,y or --box x1,y1,x2,y2",
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
