"""Two-step trainings that take a second: a tiny detector, a tiny network on crops."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from fake.network import write_network
from fake.runs import tiny_recipe
from fake.systems import write_system
from fdps.config import LossConfig, Recipe, TwoStepConfig


def two_step_recipe(detector: Path, root: Path | None = None, **change: Any) -> Recipe:
    """Two epochs of crops under all three losses, every step logged.

    Args:
        detector: What finds people.
        root: Where the recipe finds its scenes.
        change: Fields of :class:`TwoStepConfig` and of ``train`` to change.
    """
    train = {name: change.pop(name) for name in [*change] if name not in FIELDS}
    settings: dict[str, Any] = {"sampling": "people", "per_person": 2, "batch_size": 8, **train}
    recipe = tiny_recipe(root, **settings)
    model = TwoStepConfig(
        detector=str(detector),
        backbone="mobilenet_v2",
        backbone_weights="none",
        crop_size=(64, 32),
        embedding_dim=16,
    )
    loss = LossConfig(queue_size=4, identity_weight=1.0, triplet_weight=1.0)
    return replace(recipe, model=replace(model, **change), loss=loss)


FIELDS = TwoStepConfig.__dataclass_fields__


def tiny_detector(folder: Path, *, n_people: int = 3) -> Path:
    """Weights of a network that finds so many people in every picture with texture."""
    folder.mkdir(parents=True, exist_ok=True)
    return write_network(folder / "detector.safetensors", n_people=n_people)


def tiny_pair_detector(folder: Path) -> Path:
    """Weights of a detector that looks for the query, and that finds people where none are."""
    folder.mkdir(parents=True, exist_ok=True)
    return write_system(
        folder / "pairs.safetensors",
        system="igpn_detector",
        options={"channels": 8},
        score_threshold=0.0,
    )
