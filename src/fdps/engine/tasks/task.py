"""What is learnt, from what: all that differs between networks in the loop of a training."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from fdps.config import Recipe
from fdps.data.training.dataset import TrainingItems
from fdps.data.training.order import SceneFacts
from fdps.engine.processes import Processes
from fdps.losses import Criterion
from fdps.models.trainable import TrainableNet
from fdps.query import Searcher


class Task(ABC):
    """A recipe and its training scenes: what a step looks at, and what is trained by it.

    :mod:`fdps.engine.train` asks for all of this and knows no network.

    Args:
        recipe: The recipe.

    Attributes:
        n_persons: Training identities, L.
    """

    n_persons: int

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    @abstractmethod
    def prepare(self, run: Path, processes: Processes, say: Callable[[str], None]) -> None:
        """Make what has to be there before the first step.

        Args:
            run: The run folder, which may not be there yet.
            processes: Those of the run; the first one makes it.
            say: Called with lines about how far it is.
        """

    @abstractmethod
    def facts(self) -> SceneFacts:
        """Return the facts about the items that their order needs."""

    @abstractmethod
    def data_hash(self) -> str:
        """Name all that is learnt from: a run goes on with nothing else."""

    @abstractmethod
    def dataset(self) -> TrainingItems:
        """Return the items."""

    @abstractmethod
    def build(self, *, has_weights: bool) -> tuple[TrainableNet, Criterion]:
        """Build the network and the re-ID loss.

        Args:
            has_weights: Whether all weights come from elsewhere, so that none are to be fetched.
        """

    @abstractmethod
    def searcher(self, net: TrainableNet, name: str) -> Searcher:
        """Return what finds and embeds people with the network, which is in evaluation mode.

        Args:
            net: One that :meth:`build` made.
            name: Names its weights.
        """

    @abstractmethod
    def save(self, net: TrainableNet, run: Path) -> None:
        """Write the weights into the run folder, with what else makes a model of them."""
