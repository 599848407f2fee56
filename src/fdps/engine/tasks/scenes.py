"""One network that finds and embeds people, trained on uncropped scenes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fdps.config import ModelConfig, Recipe
from fdps.data.teacher import all_rows, teaching_hash
from fdps.data.training.augment import Augmentation
from fdps.data.training.dataset import TrainingScenes
from fdps.data.training.order import SceneFacts
from fdps.engine.processes import Processes
from fdps.engine.tasks.task import Task
from fdps.errors import AnnotationError
from fdps.losses import Criterion, Distillation, teacher_basis
from fdps.models import PersonSearchNet, build_system
from fdps.models.trainable import TrainableNet
from fdps.models.weights import save_weights
from fdps.predictions import data_hash
from fdps.query import Searcher
from fdps.searcher import PersonSearcher
from fdps.structures import SceneSet
from fdps.weights_file import WEIGHTS_FILE


class SceneTask(Task):
    """Train a :class:`~fdps.models.PersonSearchNet`.

    Args:
        recipe: The recipe.
        model: Its section ``model``.
        scenes: Training scenes.

    Raises:
        AnnotationError: There is no labelled person and no teacher, or the recipe asks for a
            teacher and the scenes have none.
    """

    def __init__(self, recipe: Recipe, model: ModelConfig, scenes: SceneSet) -> None:
        super().__init__(recipe)
        self._model, self._scenes = model, scenes
        self.n_persons = count_persons(scenes, with_teacher=recipe.loss.teacher_weight > 0)

    def prepare(self, run: Path, processes: Processes, say: Callable[[str], None]) -> None:
        """Do nothing: the scenes are there."""

    def facts(self) -> SceneFacts:
        """Return what the order of the scenes needs."""
        return SceneFacts.of(self._scenes, with_aspects=self.recipe.train.group_by_aspect)

    def data_hash(self) -> str:
        """Name the scenes."""
        return training_hash(self._scenes)

    def dataset(self) -> TrainingScenes:
        """Return the scenes, which are decoded here if they fit into ``train.decoded_gib``."""
        config = self.recipe.train
        return TrainingScenes(
            self._scenes,
            Augmentation.of(config),
            seed=config.seed,
            decoded_gib=config.decoded_gib,
            teacher_dim=self._scenes.teacher_dim if self.recipe.loss.teacher_weight else 0,
        )

    def build(self, *, has_weights: bool) -> tuple[TrainableNet, Criterion]:
        """Build the network of the recipe."""
        model = self._model
        if has_weights:
            model = replace(model, backbone_weights="none")
        return build_system(model, self.recipe.loss, self.n_persons, self._teacher())

    def searcher(self, net: TrainableNet, name: str) -> Searcher:
        """Return the network ready to search with; a pair-wise one sees each picture alone."""
        assert isinstance(net, PersonSearchNet)
        return PersonSearcher(net, name)

    def save(self, net: TrainableNet, run: Path) -> None:
        """Write the weights, which are the whole model."""
        save_weights(net, self._model, self.recipe.loss, self.n_persons, run / WEIGHTS_FILE)

    def _teacher(self) -> Distillation | None:
        """Return what the recipe learns from a teacher, with an empty queue."""
        loss = self.recipe.loss
        if not loss.teacher_weight:
            return None
        return Distillation(
            *teacher_basis(all_rows(self._scenes.scenes), self._model.embedding_dim),
            queue_size=loss.teacher_queue_size,
            temperature=loss.teacher_temperature,
        )


def training_hash(scenes: SceneSet) -> str:
    """Name all that a training learns from."""
    return data_hash(scenes) + teaching_hash(scenes)


def count_persons(scenes: SceneSet, *, with_teacher: bool = False) -> int:
    """Count the identities; without any the table has one row, which stays empty.

    Args:
        scenes: Training scenes.
        with_teacher: Whether embeddings of a teacher are learnt from.

    Raises:
        AnnotationError: There is nothing to learn from, or the identities are not 0..L-1.
    """
    if with_teacher and not (scenes.teacher_dim and len(all_rows(scenes.scenes))):
        raise AnnotationError(
            f"loss.teacher_weight is above 0, but {scenes.name} has no embeddings of a teacher",
            hint="let a model write them: fdps data label, or set loss.teacher_weight=0",
        )
    ids = scenes.person_ids
    if not ids and with_teacher:
        return 1
    if not ids:
        raise AnnotationError(
            f"{scenes.name} has {len(scenes)} scenes and no labelled person",
            hint="re-ID needs at least one person_id >= 0 in the training scenes, or a teacher: "
            "fdps data label, and loss.teacher_weight",
        )
    if ids != list(range(len(ids))):
        raise AnnotationError(
            f"identities of {scenes.name} must be 0..{len(ids) - 1}, got {ids[0]}..{ids[-1]}",
            hint="number them with fdps.data.identities.contiguous",
        )
    return len(ids)
