"""The tables that ``fdps search`` prints: hits, or the appearances of ``--appearances``."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fdps.cli.search.question import described
from fdps.names import printable

if TYPE_CHECKING:
    from fdps.search import Appearance, SceneRecord
    from fdps.search.results.calibration import Level
    from fdps.search.results.candidates import Candidate

UNKNOWN = "—"


def show_hits(found: "Sequence[Candidate]") -> None:
    """Print candidates, best first, with what is known of them: level, time and camera."""
    from fdps.search.times import shown_time

    columns = {
        "item": [str(candidate.hit.item) for candidate in found],
        "level": [candidate.level or UNKNOWN for candidate in found],
        "when": [(c.scene and c.scene.time and shown_time(c.scene.time)) or UNKNOWN for c in found],
        "camera": [(c.scene and c.scene.camera) or UNKNOWN for c in found],
        "scene": [candidate.hit.scene for candidate in found],
    }
    _print_ranked(
        [candidate.hit.similarity for candidate in found],
        columns,
        "box",
        [described(candidate.hit.box.tolist()) for candidate in found],
    )


def show_appearances(appearances: "Sequence[Appearance]", levels: "Mapping[int, Level]") -> None:
    """Print appearances, best first, with what is known of them: level, times and camera.

    Args:
        appearances: Appearances that a search found.
        levels: Level of the best sighting of each, by its item.
    """
    columns = {
        "item": [str(found.best.item) for found in appearances],
        "level": [levels.get(found.best.item) or UNKNOWN for found in appearances],
        "when": [_when(found) or UNKNOWN for found in appearances],
        "camera": [found.first.camera or UNKNOWN for found in appearances],
        "seen": [f"{len(found)}×" for found in appearances],
        "from-to": [_from_to(found) for found in appearances],
    }
    _print_ranked(
        [found.similarity for found in appearances],
        columns,
        "best",
        [_best(found) for found in appearances],
    )


def appearance_rows(
    appearances: "Sequence[Appearance]", levels: "Mapping[int, Level]"
) -> list[dict[str, Any]]:
    """Return one object per appearance for JSON, best first; the level is of its best sighting."""
    return [
        {
            "rank": rank,
            "similarity": found.similarity,
            "level": levels.get(found.best.item),
            "n_sightings": len(found),
            "items": list(found.items),
            "camera": found.first.camera,
            "first": _end(found.first),
            "last": _end(found.last),
            "best": {
                "scene": found.best.scene,
                "box": [round(value, 1) for value in found.best.box.tolist()],
                "similarity": found.best.similarity,
                "score": found.best.score,
                "item": found.best.item,
            },
        }
        for rank, found in enumerate(appearances, start=1)
    ]


def _print_ranked(
    similarities: Sequence[float], columns: dict[str, list[str]], last: str, places: Sequence[str]
) -> None:
    """Print rows by rank: similarity, columns, and a last column that is not padded.

    Args:
        similarities: Similarities, best first.
        columns: Cells by heading; a column in which no level, time or camera is known is not shown.
        last: Heading of the last column.
        places: Cells of the last column.
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


def _end(scene: "SceneRecord") -> dict[str, Any]:
    return {
        "scene": scene.name,
        "path": scene.path,
        "offset_s": scene.offset_s,
        "time": scene.time,
    }


def _when(found: "Appearance") -> str:
    """Write the times on the clock of the camera, with the date once if it is one day."""
    from fdps.search.times import shown_time

    if not found.first.time:
        return ""
    start, end = shown_time(found.first.time), shown_time(found.last.time or found.first.time)
    if start == end:
        return start
    return f"{start} - {end[11:] if start[:10] == end[:10] else end}"


def _from_to(found: "Appearance") -> str:
    """Write the names of the scenes; that of a video only once."""
    first, last = found.first.name, found.last.name
    if first == last:
        return first
    video, _, moment = last.rpartition("@")
    return f"{first} - {moment if first.startswith(f'{video}@') else last}"


def _best(found: "Appearance") -> str:
    """Write where the best sighting is: the moment, if there are others, and the box."""
    box = described(found.best.box.tolist())
    return box if len(found) == 1 else f"@{found.best.scene.rpartition('@')[2]} {box}"
