"""The name of a run, made of everything that decides what is learnt."""

import hashlib
import json
from dataclasses import replace

from fdps.config import Recipe
from fdps.engine.run_folder import science_of
from fdps.weights_file import weights_file

LENGTH = 16


def address(recipe: Recipe, data: str, begins_from: str = "") -> str:
    """Name what a training learns: equal names, equal runs.

    Machine, thread count and places of files do not count; of a file of backbone weights its
    content does.

    Args:
        recipe: The recipe, complete.
        data: Hash of the training scenes (:func:`fdps.engine.tasks.scenes.training_hash`).
        begins_from: Address of the run whose weights it begins with.

    Returns:
        Sixteen hexadecimal digits.
    """
    weights = weights_file(recipe.model.backbone_weights)
    train = replace(recipe.train, start_from="")
    model = recipe.model
    if weights.is_file():
        content = hashlib.sha256(weights.read_bytes()).hexdigest()
        model = replace(model, backbone_weights=f"sha256:{content}")
    science = science_of(replace(recipe, model=model, train=train))
    whole = json.dumps([science, data, begins_from], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()[:LENGTH]
