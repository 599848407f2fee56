"""The table of hits that ``fdps search`` prints."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fdps.cli.query_person import described

if TYPE_CHECKING:
    from fdps.search import Index
    from fdps.search.calibration import Calibration
    from fdps.structures import Hit

UNKNOWN = "—"


def show_hits(
    index: "Index", hits: "Sequence[Hit]", calibration: "Calibration | None" = None
) -> None:
    """Print hits, best first, with what is known of them: level, time and camera."""
    if not hits:
        print("Nobody  in the archive fits")
        return
    scenes = [index.scene(hit.scene) for hit in hits]
    columns = {
        "level": [calibration.level(hit.similarity) if calibration else UNKNOWN for hit in hits],
        "when": [(scene and scene.time and shown_time(scene.time)) or UNKNOWN for scene in scenes],
        "camera": [(scene and scene.camera) or UNKNOWN for scene in scenes],
        "scene": [hit.scene for hit in hits],
    }
    for name in ("level", "when", "camera"):  # where nobody knows, there is nothing to show
        if set(columns[name]) == {UNKNOWN}:
            del columns[name]
    widths = {name: max(map(len, [name, *cells])) for name, cells in columns.items()}
    heads = "  ".join(f"{name:<{width}}" for name, width in widths.items())
    print(f"  rank  similarity  {heads}  box")
    for row, hit in enumerate(hits):
        cells = "  ".join(f"{columns[name][row]:<{width}}" for name, width in widths.items())
        place = described(hit.box.tolist())
        print(f"  {row + 1:>4}  {hit.similarity:>10.3f}  {cells}  {place}")


def shown_time(time: str) -> str:
    """On the clock of the camera, to the second."""
    return time[:19].replace("T", " ")
