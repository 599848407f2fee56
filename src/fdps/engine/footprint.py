"""The memory of a training, added up by what holds it."""

import dataclasses
from dataclasses import dataclass

import torch

from fdps.config import Recipe
from fdps.engine.step import MEMORY
from fdps.engine.trial import Kept
from fdps.models import PersonSearchNet
from fdps.models.transform import PictureTransform, Size

GIB = 2**30

PROGRAM_GIB = {"cpu": 0.7, "cuda": 0.5}
"""Python, torch and its libraries; on a GPU its context. Measured on a CPU only."""

OVERHEAD = 0.25
"""Holes that freed blocks leave, as a share of the pictures and maps of a step."""

CHANNELS, FLOAT = 3, 4


@dataclass(frozen=True)
class Memory:
    """Memory at its fullest, by what holds it; GiB on the device that trains."""

    program_gib: float
    """Python, torch and its libraries, or the context of the GPU."""
    parameters_gib: float
    """Weights and norm statistics, float32 in every precision."""
    gradients_gib: float
    """One number per weight that trains."""
    optimizer_gib: float
    """One number per weight that trains for SGD with momentum, two for AdamW."""
    average_gib: float
    """Running mean of the weights, where ``train.ema`` asks for one."""
    reid_gib: float
    """What the re-ID loss remembers: look-up table, queue, dispersion."""
    pictures_gib: float
    """Pictures of a step, as read and as resized, and those that ``train.decoded_gib`` holds."""
    maps_gib: float
    """What the forward pass of a micro-batch keeps for the backward pass."""
    overhead_gib: float
    """What the allocator holds beyond that; on a CPU also a checkpoint while it is written."""

    @property
    def total_gib(self) -> float:
        """All of it together."""
        return float(sum(dataclasses.astuple(self)))


@dataclass(frozen=True)
class Weights:
    """What a network holds by itself, in bytes."""

    parameters: int
    """Parameters and norm statistics."""
    trained: int
    """Parameters that get a gradient."""
    remembered: int
    """Memory of the re-ID loss."""

    @classmethod
    def of(cls, net: PersonSearchNet) -> "Weights":
        """Add up the tensors of a network."""
        state = {name: t.numel() * t.element_size() for name, t in net.state_dict().items()}
        trained = [p for p in net.parameters() if p.requires_grad]
        return cls(
            parameters=sum(n for name, n in state.items() if not name.startswith(MEMORY)),
            trained=sum(p.numel() * p.element_size() for p in trained),
            remembered=sum(n for name, n in state.items() if name.startswith(MEMORY)),
        )

    def optimizer(self, recipe: Recipe) -> int:
        """Bytes of the moments that the optimiser keeps."""
        moments = 2 if recipe.train.optimizer == "adamw" else int(recipe.train.sgd_momentum > 0)
        return moments * self.trained

    def average(self, recipe: Recipe) -> int:
        """Bytes of the running mean of the weights."""
        return self.parameters if recipe.train.ema else 0

    def checkpoint(self, recipe: Recipe) -> int:
        """Bytes of a checkpoint."""
        moving = self.optimizer(recipe) + self.average(recipe)
        return self.parameters + self.remembered + moving

    def disk(self, recipe: Recipe) -> int:
        """Bytes of the checkpoints that are kept, one that is being written, and the weights."""
        train = recipe.train
        n_checkpoints = train.keep_last + bool(train.validate_every) + 1
        return n_checkpoints * self.checkpoint(recipe) + self.parameters + self.remembered


def memory_of(
    recipe: Recipe,
    weights: Weights,
    kept: Kept,
    *,
    picture_size: tuple[int, int],
    n_scenes: int,
    device: str,
) -> Memory:
    """Memory of a training at its fullest.

    Args:
        recipe: Of the training.
        weights: Of its network.
        kept: By autograd, in the precision of the recipe.
        picture_size: Width and height of the pictures on disk, pixels.
        n_scenes: Training scenes; they count only if the recipe holds them decoded.
        device: ``cpu`` or ``cuda``.
    """
    pictures, decoded, written = pictures_of(recipe, picture_size), 0, 0
    if device == "cpu":
        decoded = decoded_of(recipe, picture_size, n_scenes)
        written = weights.checkpoint(recipe)
    maps = maps_of(recipe, kept, picture_size, recomputed=recipe.train.recompute_trunk)
    # Maps that are computed again come and go one stage at a time, and leave holes all the same.
    all_maps = maps_of(recipe, kept, picture_size, recomputed=False)
    return Memory(
        program_gib=PROGRAM_GIB[device],
        parameters_gib=weights.parameters / GIB,
        gradients_gib=weights.trained / GIB,
        optimizer_gib=weights.optimizer(recipe) / GIB,
        average_gib=weights.average(recipe) / GIB,
        reid_gib=weights.remembered / GIB,
        pictures_gib=(pictures + decoded) / GIB,
        maps_gib=maps / GIB,
        overhead_gib=(OVERHEAD * (all_maps + pictures) + written) / GIB,
    )


def maps_of(
    recipe: Recipe, kept: Kept, picture_size: tuple[int, int], *, recomputed: bool
) -> float:
    """Bytes of maps at the fullest moment of a micro-batch.

    A trunk that is computed again keeps what goes into its stages. Its backward pass then has the
    maps of one stage at a time, when those of proposals and regions are gone.

    Args:
        recipe: Of the training.
        kept: By autograd, in the precision of the recipe.
        picture_size: Width and height of the pictures on disk, pixels.
        recomputed: Whether the trunk is.
    """
    n = micro_batch(recipe)
    height, width = padded_size(recipe, picture_size)
    n_px = n * height * width
    after = kept.proposals.at(n_px) + kept.regions.at(n * n_regions(recipe))
    stages = [stage.at(n_px) for stage in kept.stages]
    if recomputed:
        return sum(given.at(n_px) for given in kept.inputs) + max(after, *stages, 0)
    return sum(stages) + after


def pictures_of(recipe: Recipe, picture_size: tuple[int, int]) -> int:
    """Bytes of the pictures of a step: as read, as float32, and resized in one tensor."""
    width, height = picture_size
    read = recipe.train.batch_size * CHANNELS * width * height * (1 + FLOAT)
    resized_height, resized_width = padded_size(recipe, picture_size)
    return read + micro_batch(recipe) * CHANNELS * resized_height * resized_width * FLOAT


def decoded_of(recipe: Recipe, picture_size: tuple[int, int], n_scenes: int) -> int:
    """Bytes of all pictures, if the recipe holds them decoded and they fit."""
    decoded = n_scenes * CHANNELS * picture_size[0] * picture_size[1]
    return decoded if decoded <= recipe.train.decoded_gib * GIB else 0


def micro_batch(recipe: Recipe) -> int:
    """Most pictures that go through the network at once."""
    return -(-recipe.train.batch_size // recipe.train.accumulate)


def n_regions(recipe: Recipe) -> int:
    """Most regions that a picture trains on."""
    return min(recipe.model.regions_per_image, recipe.model.rpn_after_nms[0])


def padded_size(recipe: Recipe, picture_size: tuple[int, int]) -> Size:
    """Height and width of a batch of such pictures, at the largest side that training draws.

    Args:
        recipe: Its ``short_side`` and ``long_side``.
        picture_size: Width and height of the pictures on disk, pixels.

    Example:
        >>> padded_size(Recipe(), (1920, 1080))  # 844 × 1500, in steps of 32
        (864, 1504)
    """
    width, height = picture_size
    model = recipe.model
    transform = PictureTransform((max(model.short_side),), model.long_side, (0.0,), (1.0,))
    nobody = {"boxes": torch.zeros(0, 4)}
    return transform.size_of([torch.empty(CHANNELS, height, width, device="meta")], [nobody])
