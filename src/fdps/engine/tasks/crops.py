"""The second of two steps: a network that embeds people who were cut out, behind a detector."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from fdps.config import Recipe, TwoStepConfig
from fdps.data.training.augment import Augmentation
from fdps.data.training.crops import (
    Crops,
    TrainingCrops,
    annotated_crops,
    detected_crops,
    joined_crops,
)
from fdps.data.training.dataset import TrainingItems
from fdps.data.training.order import SceneFacts
from fdps.describer import CropDescriber
from fdps.devices import check_device
from fdps.embedders import find_model
from fdps.embedders.parts import load_detector
from fdps.embedders.run_card import write_run_card
from fdps.engine.processes import Processes
from fdps.engine.run_folder import cache_folder
from fdps.engine.tasks.detected import detected_boxes
from fdps.engine.tasks.kept import name_of
from fdps.engine.tasks.scenes import count_persons, training_hash
from fdps.engine.tasks.task import Task
from fdps.errors import AnnotationError, ConfigError
from fdps.losses import Criterion
from fdps.models.reid import ReidNet, build_reid, reid_system
from fdps.models.trainable import TrainableNet
from fdps.models.weights import save_weights
from fdps.query import Searcher
from fdps.runtime.two_step import Detector, IdentityDetector, PairDetector, TwoStep
from fdps.structures import SceneSet
from fdps.weights_file import WEIGHTS_FILE

SMALL_PX = 4
"""Crops with a shorter side are told of: next to nothing is seen in them."""


class CropTask(Task):
    """Train a :class:`~fdps.models.reid.ReidNet`.

    Args:
        recipe: The recipe.
        model: Its section ``model``.
        scenes: Training scenes.

    Raises:
        AnnotationError: There is no labelled person.
        ConfigError: An option is not known to the system, or outside its range.
    """

    def __init__(self, recipe: Recipe, model: TwoStepConfig, scenes: SceneSet) -> None:
        super().__init__(recipe)
        self.model, self._scenes = model, scenes
        self._system = reid_system(model)
        self.n_persons = count_persons(scenes)
        self.lists = [annotated_crops(scenes.scenes)]
        self._detector: Detector | None = None

    @property
    def crops(self) -> Crops:
        """What is cut out, once :meth:`prepare` is done."""
        return joined_crops(self.lists)

    @property
    def detector(self) -> Detector:
        """Who finds people, once :meth:`prepare` is done."""
        assert self._detector is not None
        return self._detector

    def prepare(self, run: Path, processes: Processes, say: Callable[[str], None]) -> None:
        """Open the detector, and let it find people where the recipe learns from those.

        Raises:
            MissingDataError: The detector or a picture is not there.
            ModelError: The detector is none.
            AnnotationError: It finds nobody who is annotated.
        """
        model = self.model
        self._tell_small(say)
        self._detector = load_detector(
            find_model(model.detector),
            min_score=model.detector_score,
            device=check_device(self.recipe.train.device),
        )
        if self._system.least_likeness is not None:
            self._check_guided(self._detector)
        if model.boxes == "annotated":
            return
        scenes = self._scenes.scenes
        found = detected_boxes(self.detector, scenes, cache_folder(run), say, processes)
        detected = detected_crops(
            scenes,
            found,
            min_iou=model.match_iou,
            keeps_background=self._system.keeps_background,
        )
        both = model.boxes == "both"
        if not both and not (detected.person_ids >= 0).any():
            raise AnnotationError(
                f"{model.detector} finds nobody who is annotated in {self._scenes.name} with an "
                f"overlap of {model.match_iou:g}",
                hint="lower model.match_iou or model.detector_score, or choose another detector",
            )
        self.lists = [*self.lists, detected] if both else [detected]

    def facts(self) -> SceneFacts:
        """Return whom each crop shows."""
        ids = self.crops.person_ids.tolist()
        return SceneFacts(tuple((person,) if person >= 0 else () for person in ids))

    def data_hash(self) -> str:
        """Name the scenes, the crops, and who finds people beside them."""
        return training_hash(self._scenes) + crops_hash(self.crops) + self.detector.model_hash

    def dataset(self) -> TrainingItems:
        """Return the crops, which are cut out here if they fit into ``train.decoded_gib``."""
        config = self.recipe.train
        return TrainingCrops(
            self.crops,
            self.model.crop_size,
            Augmentation.of(config),
            seed=config.seed,
            decoded_gib=config.decoded_gib,
        )

    def build(self, *, has_weights: bool) -> tuple[TrainableNet, Criterion]:
        """Build the network of the recipe."""
        model = self.model_with(has_weights=has_weights)
        return build_reid(model, self.recipe.loss, self.n_persons)

    def model_with(self, *, has_weights: bool) -> TwoStepConfig:
        """Return the section, without weights to fetch if all come from elsewhere."""
        return replace(self.model, backbone_weights="none") if has_weights else self.model

    def searcher(self, net: TrainableNet, name: str) -> Searcher:
        """Return the detector with the network behind it."""
        assert isinstance(net, ReidNet)
        return TwoStep(self.detector, CropDescriber(net, name))

    def save(self, net: TrainableNet, run: Path) -> None:
        """Write the weights, and beside them the detector and the card that joins both."""
        save_weights(net, self.model, self.recipe.loss, self.n_persons, run / WEIGHTS_FILE)
        write_run_card(run, self.recipe, self.model)

    def _tell_small(self, say: Callable[[str], None]) -> None:
        """Say how many annotated people are too small to be told from anybody."""
        (annotated,) = self.lists
        sides = (annotated.boxes[:, 2:] - annotated.boxes[:, :2]).min(axis=1)
        rows = np.flatnonzero(sides < SMALL_PX)
        if len(rows):
            where = annotated.scenes[int(annotated.scene[rows[0]])].path
            say(
                f"Small   {len(rows)} of {len(sides)} people are less than {SMALL_PX} pixels wide "
                f"or high, such as one in {where}: they are learnt from all the same"
            )

    def _check_guided(self, detector: Detector) -> None:
        """Check that the detector can tell whom people look like, as the system asks it."""
        if self._system.guided_by == "pairs":
            if not isinstance(detector, PairDetector):
                raise ConfigError(
                    f"model.system = {self.model.system!r} lets the detector look for the query, "
                    f"and that of {self.model.detector} sees each picture alone",
                    hint="name a run folder or weights of a pair-wise system as model.detector: "
                    "igpn_detector or qeeps",
                )
        elif not isinstance(detector, IdentityDetector):
            raise ConfigError(
                f"model.system = {self.model.system!r} asks the detector whom people look like, "
                f"and that of {self.model.detector} cannot tell",
                hint="name a run folder or weights of fdps as model.detector",
            )


def crops_hash(crops: Crops) -> str:
    """Name the boxes that are cut out, and whom they show."""
    arrays = (crops.scene, crops.boxes, crops.person_ids, crops.overlaps)
    return name_of(*(np.ascontiguousarray(array).tobytes() for array in arrays))
