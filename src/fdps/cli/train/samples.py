"""Sheets of sample scenes in a run folder: what the network finds after every epoch."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fdps.structures import Embedder, SceneSet

SAMPLES_FOLDER = "samples"
_N_SAMPLES = 6


class SampleSheets:
    """Draw what a network finds in a few scenes, one sheet per epoch.

    Args:
        run: The run folder; sheets go to ``samples/``.
        scenes: Where the samples are taken from, evenly spread.
    """

    def __init__(self, run: Path, scenes: "SceneSet") -> None:
        self._run, n = run, len(scenes)
        rows = dict.fromkeys(k * n // _N_SAMPLES for k in range(_N_SAMPLES))
        self._shown = [scenes.scenes[row] for row in rows] if n else []

    def __call__(self, searcher: "Embedder", epoch: int) -> dict[str, float]:
        """Draw the sheet of an epoch; it measures nothing."""
        from fdps.analysis.drawn_detections import Sample, sample_sheet
        from fdps.durable import written_whole
        from fdps.pictures import read_picture

        samples = []
        for scene in self._shown:
            image = read_picture(scene.path)
            samples.append(Sample(scene.name, image, searcher.detect(image), scene.boxes))
        path = self._run / SAMPLES_FOLDER / f"e{epoch:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as aside:
            sample_sheet(samples).save(aside, "JPEG", quality=85)
        return {}
