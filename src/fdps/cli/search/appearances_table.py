"""The table of appearances that ``fdps search --appearances`` prints."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fdps.cli.search.hits_table import UNKNOWN, print_ranked, shown_time
from fdps.cli.search.query_person import described

if TYPE_CHECKING:
    from fdps.search import Appearance, SceneRecord
    from fdps.search.results.calibration import Calibration


def show_appearances(
    appearances: "Sequence[Appearance]", calibration: "Calibration | None" = None
) -> None:
    """Print appearances, best first, with what is known of them: level, times and camera.

    Args:
        appearances: Of a search.
        calibration: Of the model. It counted single sightings, so the level is that of the best.
    """
    if not appearances:
        print("Nobody  in the archive fits")
        return
    columns = {
        "item": [str(found.best.item) for found in appearances],
        "level": [_level(found, calibration) or UNKNOWN for found in appearances],
        "when": [_when(found) or UNKNOWN for found in appearances],
        "camera": [found.first.camera or UNKNOWN for found in appearances],
        "seen": [f"{len(found)}×" for found in appearances],
        "from-to": [_from_to(found) for found in appearances],
    }
    print_ranked(
        [found.similarity for found in appearances],
        columns,
        "best",
        [_best(found) for found in appearances],
    )


def appearance_rows(
    appearances: "Sequence[Appearance]", calibration: "Calibration | None" = None
) -> list[dict[str, Any]]:
    """For JSON: one object per appearance, best first."""
    return [
        {
            "rank": rank,
            "similarity": found.similarity,
            "level": _level(found, calibration),
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


def _level(found: "Appearance", calibration: "Calibration | None") -> str | None:
    return calibration.level(found.best.similarity) if calibration else None


def _end(scene: "SceneRecord") -> dict[str, Any]:
    return {
        "scene": scene.name,
        "path": scene.path,
        "offset_s": scene.offset_s,
        "time": scene.time,
    }


def _when(found: "Appearance") -> str:
    """On the clock of the camera; the date once, if it is one day."""
    if not found.first.time:
        return ""
    start, end = shown_time(found.first.time), shown_time(found.last.time or found.first.time)
    if start == end:
        return start
    return f"{start} - {end[11:] if start[:10] == end[:10] else end}"


def _from_to(found: "Appearance") -> str:
    """Names of the scenes; of a video only once."""
    first, last = found.first.name, found.last.name
    if first == last:
        return first
    video, _, moment = last.rpartition("@")
    return f"{first} - {moment if first.startswith(f'{video}@') else last}"


def _best(found: "Appearance") -> str:
    """Where the best sighting is: the moment, if there are others, and the box."""
    box = described(found.best.box.tolist())
    return box if len(found) == 1 else f"@{found.best.scene.rpartition('@')[2]} {box}"
