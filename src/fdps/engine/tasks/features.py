"""A head on features that are computed once: the backbone is frozen, and runs once per person.

What a frozen backbone says of a crop is the same in every epoch. It is computed before the first
step, for the crop and its mirror image, and kept on disk (:mod:`fdps.engine.tasks.kept`); training
then takes minutes where it would take hours. The features of a picture are computed together, in an
order of their own, so that they are equal to the bit whoever asked for them first.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from fdps.config import CARD_PREFIX, Recipe, TwoStepConfig
from fdps.crops import cut_scaled
from fdps.data.training.augment import Sample
from fdps.data.training.crops import Crops, joining_order
from fdps.data.training.dataset import TrainingItems
from fdps.describer import HeadDescriber
from fdps.devices import check_device
from fdps.embedders import find_model
from fdps.embedders.parts import load_describer
from fdps.engine.processes import Processes
from fdps.engine.run_folder import cache_folder
from fdps.engine.tasks.crops import CropTask
from fdps.engine.tasks.kept import Kept, name_of, picture_digest
from fdps.losses import Criterion
from fdps.models.reid import ReidNet, build_reid
from fdps.models.trainable import TrainableNet
from fdps.pictures import read_picture
from fdps.query import Searcher
from fdps.runtime.two_step import Describer, TwoStep
from fdps.structures import Boxes, Picture, SceneSet


@runtime_checkable
class Extractor(Protocol):
    """What says numbers about people who were cut out."""

    @property
    def made_by(self) -> dict[str, str]:
        """All that the numbers depend on beside the picture and the boxes, by name."""

    def features(self, image: Picture, boxes: Boxes) -> Float32[np.ndarray, "N C"]:
        """Return one row per box."""


class FeatureTask(CropTask):
    """Train the head of a :class:`~fdps.models.reid.ReidNet` on kept features.

    Args:
        recipe: The recipe.
        model: Its section ``model``.
        scenes: Training scenes.
    """

    def __init__(self, recipe: Recipe, model: TwoStepConfig, scenes: SceneSet) -> None:
        super().__init__(recipe, model, scenes)
        self._outside: Describer | None = None
        self._features: Float32[np.ndarray, "N V C"] | None = None

    def prepare(self, run: Path, processes: Processes, say: Callable[[str], None]) -> None:
        """Open the detector and the backbone, and compute the features that are not there yet."""
        super().prepare(run, processes, say)
        extractor = self._extractor()
        n_views = 2 if self.recipe.train.flip else 1
        cache = cache_folder(run)
        # List by list: what is annotated is kept whether or not detections are learnt from.
        lists = [
            kept_features(extractor, crops, cache, say, processes, n_views=n_views)
            for crops in self.lists
            if len(crops)
        ]
        self._features = np.concatenate(lists)[joining_order(self.lists)]

    def dataset(self) -> TrainingItems:
        """Return the features with whom they show."""
        assert self._features is not None
        config = self.recipe.train
        return TrainingFeatures(self.crops, self._features, flip=config.flip, seed=config.seed)

    def build(self, *, has_weights: bool) -> tuple[TrainableNet, Criterion]:
        """Build the network, of which the head will train."""
        n_features = 0 if self._outside is None else self._outside.dim
        model = self.model_with(has_weights=has_weights)
        return build_reid(model, self.recipe.loss, self.n_persons, n_features=n_features)

    def searcher(self, net: TrainableNet, name: str) -> Searcher:
        """Return the detector with the backbone and the head behind it."""
        if self._outside is None:
            return super().searcher(net, name)
        assert isinstance(net, ReidNet)
        return TwoStep(self.detector, HeadDescriber(self._outside, net, name))

    def _extractor(self) -> Extractor:
        """Open the backbone: that of a card, or one that becomes a part of the network."""
        device = check_device(self.recipe.train.device)
        backbone = self.model.backbone
        if backbone.startswith(CARD_PREFIX):
            place = find_model(backbone.removeprefix(CARD_PREFIX))
            self._outside = load_describer(place, device=device)
            return _Outside(self._outside)
        torch.manual_seed(self.recipe.train.seed)  # as the training begins, which builds it again
        net, _ = build_reid(self.model, self.recipe.loss, self.n_persons)
        return _Inside(net.to(device).eval())


class TrainingFeatures(TrainingItems):
    """Kept features, each as the crop or as its mirror image.

    Args:
        crops: Whom they show.
        features: One row per crop: of the crop, and of its mirror image where that is wanted.
        flip: Probability of the mirror image.
        seed: Seed of the run.
    """

    def __init__(
        self, crops: Crops, features: Float32[np.ndarray, "N V C"], *, flip: float, seed: int
    ) -> None:
        super().__init__(seed)
        self.crops, self.flip = crops, flip
        self.features = torch.from_numpy(features)

    def __len__(self) -> int:
        return len(self.crops)

    def changed(self, row: int, rng: np.random.Generator) -> Sample:
        """Return the features of a row, of the mirror image where chance will have it."""
        view = int(rng.random() < self.flip)
        return self.features[row, view], self.crops.target(row)


def kept_features(
    extractor: Extractor,
    crops: Crops,
    cache: Path,
    say: Callable[[str], None],
    processes: Processes,
    *,
    n_views: int,
) -> Float32[np.ndarray, "N V C"]:
    """Compute the features of all crops, but for those that are kept already.

    Args:
        extractor: What computes them.
        crops: Who is cut out, at least one.
        cache: Folder for the features.
        say: Called with lines about how far it is.
        processes: They share the scenes out, and all of them get the features of all.
        n_views: 2 for the features of mirror images as well, else 1.

    Raises:
        MissingDataError: A picture is not there.
        PictureError: A picture cannot be decoded.
        ModelError: What is kept was made by other weights, or in another way.
    """
    kept = Kept(cache, "features", extractor.made_by | {"views": str(n_views)})
    rows = np.unique(crops.scene).tolist()
    n_made = 0

    def features_of(row: int) -> Float32[np.ndarray, "_ V C"]:
        nonlocal n_made
        scene, boxes = crops.scenes[row], crops.boxes[crops.scene == row]
        name = name_of(picture_digest(scene), boxes.tobytes())
        arrays = kept.read(name)
        if arrays is None:
            if n_made % 50 == 0:
                say(f"Embed   {row} of {len(crops.scenes)} scenes")
            n_made += 1
            arrays = {"features": _views(extractor, read_picture(scene.path), boxes, n_views)}
            kept.write(name, arrays)
        return arrays["features"]

    if processes.n > 1:  # none may wait for another one for longer than a collective lasts
        for row in rows[processes.rank :: processes.n]:
            features_of(row)
        processes.wait()
    return np.concatenate([features_of(row) for row in rows])


def _views(
    extractor: Extractor, image: Picture, boxes: Boxes, n_views: int
) -> Float32[np.ndarray, "N V C"]:
    views = [extractor.features(image, boxes)]
    if n_views == 2:
        mirrored = boxes.copy()
        mirrored[:, [0, 2]] = image.shape[1] - boxes[:, [2, 0]]
        views.append(extractor.features(np.ascontiguousarray(image[:, ::-1]), mirrored))
    return np.stack(views, axis=1)


class _Outside:
    """A re-ID network that is no part of ours."""

    def __init__(self, describer: Describer) -> None:
        self._describer = describer
        self.made_by = {"network": describer.model_hash}

    def features(self, image: Picture, boxes: Boxes) -> Float32[np.ndarray, "N C"]:
        return self._describer.embed(image, boxes)


class _Inside:
    """The frozen backbone of a network of ours."""

    def __init__(self, net: ReidNet) -> None:
        self._net = net
        height, width = net.size
        frozen = {**net.backbone.state_dict(), **net.region_head.state_dict(prefix="head.")}
        how = f"{height}×{width}, {net.pooling}"
        self.made_by = {"network": _digest(frozen), "crops": how}

    @torch.inference_mode()
    def features(self, image: Picture, boxes: Boxes) -> Float32[np.ndarray, "N C"]:
        pixels = torch.from_numpy(cut_scaled(image, boxes, self._net.size))
        crops = pixels.to(self._net.mean.device).permute(0, 3, 1, 2).float() / 255
        (vectors,) = self._net.vectors(crops)
        return vectors.float().cpu().numpy()


def _digest(tensors: dict[str, Tensor]) -> str:
    """Name weights by all their bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {[*tensor.shape]}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
