"""The task of a recipe: the one place where the kind of its model decides what is trained."""

from fdps.config import Recipe, TwoStepConfig
from fdps.engine.tasks.crops import CropTask
from fdps.engine.tasks.features import FeatureTask
from fdps.engine.tasks.scenes import SceneTask
from fdps.engine.tasks.task import Task
from fdps.structures import SceneSet


def task_of(recipe: Recipe, scenes: SceneSet) -> Task:
    """Return the task of a recipe.

    Args:
        recipe: The recipe.
        scenes: Its training scenes.

    Raises:
        AnnotationError: There is nothing to learn from.
        ConfigError: An option is not known to the system, or outside its range.
    """
    model = recipe.model
    if not isinstance(model, TwoStepConfig):
        return SceneTask(recipe, model, scenes)
    task = FeatureTask if model.features == "kept" else CropTask
    return task(recipe, model, scenes)
