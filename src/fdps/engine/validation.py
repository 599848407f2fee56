"""Search the validation split of a training run, to see how well a network finds people again."""

from fdps.config import Recipe
from fdps.engine.predict import predict
from fdps.errors import ConfigError
from fdps.evaluation import evaluate
from fdps.structures import Embedder, SceneSet

FIGURES = ("recall", "ap", "mAP", "top1")


class Validation:
    """A search of a split every few epochs.

    Args:
        scenes: Scenes of the split. To be fair, it is neither trained nor tested on.
        every: Number of epochs between two searches, at least 1.

    Raises:
        ConfigError: The split has no queries.
    """

    def __init__(self, scenes: SceneSet, *, every: int = 1) -> None:
        if not scenes.queries:
            raise ConfigError(
                f"{scenes.name} has no queries, so nothing can be validated on it",
                hint="name a split with queries as data.validation, or set train.validate_every=0",
            )
        self._scenes, self._every = scenes, every

    @classmethod
    def of(cls, recipe: Recipe, scenes: SceneSet) -> "Validation":
        """Make a validation that searches as often as a recipe says.

        Raises:
            ConfigError: The recipe never validates, or the split has no queries.
        """
        if not recipe.train.validate_every:
            raise ConfigError(
                f"{scenes.name} was given to validate on, but train.validate_every is 0",
                hint="set train.validate_every to the epochs between two searches",
            )
        return cls(scenes, every=recipe.train.validate_every)

    def __call__(self, searcher: Embedder, epoch: int) -> dict[str, float]:
        """Measure what was learnt; return nothing in epochs without a search."""
        if epoch % self._every:
            return {}
        return search_figures(searcher, self._scenes)


def search_figures(searcher: Embedder, scenes: SceneSet) -> dict[str, float]:
    """Measure detection and search by the reference protocol.

    Returns:
        Fractions in [0, 1], by the names in :data:`FIGURES`. Those that the scenes do not define,
        such as ``mAP`` without queries, are left out.
    """
    figures = evaluate(predict(searcher, scenes), scenes).json()
    named = {**figures["detection"], **figures["search"]}
    return {name: named[name] for name in FIGURES if named[name] is not None}
