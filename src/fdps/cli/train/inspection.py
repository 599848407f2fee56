"""What a training run is asked after every epoch: how well it searches, and what it sees."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fdps.config import Recipe
    from fdps.models import PersonSearchNet
    from fdps.searcher import PersonSearcher
    from fdps.structures import SceneSet

SAMPLES_FOLDER = "samples"
_N_SAMPLES = 6


class Inspection:
    """Search the validation split where that is due, and draw what is found in a few scenes.

    Args:
        recipe: Says how often.
        run: The run folder; sheets go to ``samples/``.
        train: Training scenes, shown where nothing is kept for validation.
        validation: To be searched, or ``None``.
    """

    def __init__(
        self, recipe: "Recipe", run: Path, train: "SceneSet", validation: "SceneSet | None"
    ) -> None:
        self._every, self._run, self._validation = recipe.train.validate_every, run, validation
        shown = (validation or train).scenes
        self._shown = [shown[i * len(shown) // _N_SAMPLES] for i in range(_N_SAMPLES)]
        self._shown = list(dict.fromkeys(self._shown))

    def __call__(self, net: "PersonSearchNet", epoch: int) -> Mapping[str, float]:
        """Look at a network in evaluation mode; the figures of a validation, or none."""
        from fdps.searcher import PersonSearcher

        searcher = PersonSearcher(net, f"epoch {epoch}")
        self._draw(searcher, self._run / SAMPLES_FOLDER / f"e{epoch:03}.jpg")
        if self._validation is None or not self._every or epoch % self._every:
            return {}
        return searched(searcher, self._validation)

    def _draw(self, searcher: "PersonSearcher", path: Path) -> None:
        from fdps.analysis.drawn_detections import Sample, sample_sheet
        from fdps.durable import written_whole
        from fdps.pictures import read_picture

        samples = []
        for scene in self._shown:
            image = read_picture(scene.path)
            samples.append(Sample(scene.name, image, searcher.detect(image), scene.boxes))
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as aside:
            sample_sheet(samples).save(aside, "JPEG", quality=85)


def searched(searcher: "PersonSearcher", scenes: "SceneSet") -> dict[str, float]:
    """Detection and search figures of a searcher, by the reference protocol; fractions.

    Figures that the scenes do not define, such as mAP without queries, are left out.
    """
    from fdps.engine.predict import predict
    from fdps.evaluation import evaluate

    figures = evaluate(predict(searcher, scenes), scenes).json()
    named = {**figures["detection"], **figures["search"]}
    return {k: named[k] for k in ("recall", "ap", "mAP", "top1") if named[k] is not None}
