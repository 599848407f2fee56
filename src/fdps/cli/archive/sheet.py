"""The contact sheet of ``fdps archive forget``: who would be erased, to be checked by eye."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fdps.search import Index
    from fdps.search.care.forget import ToForget

MOST_DRAWN = 200


def draw_sheet(index: "Index", found: "Sequence[ToForget]", path: Path) -> None:
    """Draw the first candidates, each enlarged and in its scene, others blurred."""
    import numpy as np

    from fdps.analysis.candidate_sheet import Shown, candidate_sheet
    from fdps.durable import written_whole
    from fdps.search.care.scene_pictures import scene_pictures

    drawn = found[:MOST_DRAWN]
    scenes = {one.scene: index.scene(one.scene) for one in drawn}
    pictures = scene_pictures(scene for scene in scenes.values() if scene)
    tiles = [
        Shown(
            f"item {one.item}" + ("" if one.similarity is None else f"   {one.similarity:.2f}"),
            one.scene,
            np.array(one.box, dtype=np.float32),
            pictures.get(one.scene, "removed from the archive"),
        )
        for one in drawn
    ]
    with written_whole(path) as aside:
        candidate_sheet([], tiles).save(aside, "JPEG", quality=88)
