"""The table of candidates that ``fdps search`` prints."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fdps.cli.search.query_person import described
from fdps.names import printable

if TYPE_CHECKING:
    from fdps.search.results.candidates import Candidate

UNKNOWN = "—"


def show_hits(found: "Sequence[Candidate]") -> None:
    """Print candidates, best first, with what is known of them: level, time and camera."""
    if not found:
        print("Nobody  in the archive fits")
        return
    columns = {
        "item": [str(candidate.hit.item) for candidate in found],
        "level": [candidate.level or UNKNOWN for candidate in found],
        "when": [(c.scene and c.scene.time and shown_time(c.scene.time)) or UNKNOWN for c in found],
        "camera": [(c.scene and c.scene.camera) or UNKNOWN for c in found],
        "scene": [candidate.hit.scene for candidate in found],
    }
    print_ranked(
        [candidate.hit.similarity for candidate in found],
        columns,
        "box",
        [described(candidate.hit.box.tolist()) for candidate in found],
    )


def print_ranked(
    similarities: Sequence[float], columns: dict[str, list[str]], last: str, places: Sequence[str]
) -> None:
    """Print rows by rank: similarity, columns, and a last column that is not padded.

    Args:
        similarities: Best first.
        columns: Cells by heading; where nobody knows level, time or camera, there is nothing to
            show.
        last: Heading of the last column.
        places: Its cells.
    """
    columns = {name: [printable(cell) for cell in cells] for name, cells in columns.items()}
    for name in ("level", "when", "camera"):
        if set(columns[name]) == {UNKNOWN}:
            del columns[name]
    widths = {name: max(map(len, [name, *cells])) for name, cells in columns.items()}
    heads = "  ".join(f"{name:<{width}}" for name, width in widths.items())
    print(f"  rank  similarity  {heads}  {last}")
    for row, (similarity, place) in enumerate(zip(similarities, places, strict=True)):
        cells = "  ".join(f"{columns[name][row]:<{width}}" for name, width in widths.items())
        print(f"  {row + 1:>4}  {similarity:>10.3f}  {cells}  {place}")


def shown_time(time: str) -> str:
    """On the clock of the camera, to the second."""
    return time[:19].replace("T", " ")
