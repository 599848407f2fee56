"""What the parts of a network cost, measured on pictures and regions small enough to be quick.

A training step goes through a picture and then through its regions. What the trunk and the
proposals keep and compute grows with the pixels of the picture, what the region heads keep and
compute grows with the number of regions, and the optimiser looks at neither. So each is run alone,
as a training runs it, and carried on in a straight line. Nothing is learnt: the network is thrown
away.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from fdps.engine.optimizer import clip_gradients, parts_of
from fdps.engine.step import Learner
from fdps.models import STRIDE, PersonSearchNet
from fdps.models.roi_align import RoIAlign
from fdps.models.roi_heads import Picked
from fdps.models.transform import Size

Autocast = Callable[[], AbstractContextManager[object]]
Parts = tuple[float, ...]

PATIENCE_S = 1.2  # the next larger pass is made if it can be expected to take no longer
REPEATS, REPEATED_S = 3, 0.4  # at least so often, and until so long
GRID = 32  # batches are padded to its multiples
FEW_REGIONS = 8


class Line(NamedTuple):
    """A cost that grows with a size: bytes or seconds."""

    fixed: float
    """There in any case, once for every pass."""
    each: float
    """Of every pixel, or of every region."""

    @classmethod
    def through(cls, *measured: tuple[int, int | float]) -> "Line":
        """Draw the line through the last two of some measured sizes, which grow.

        Neither part is negative, whatever noise was measured.

        Args:
            measured: Size and cost.

        Example:
            >>> Line.through((10, 7.0), (20, 12.0))
            Line(fixed=2.0, each=0.5)
        """
        (small, low), (large, high) = ((0, 0.0), *measured)[-2:]
        fixed = (low * large - high * small) / (large - small)
        fixed = min(max(fixed, 0.0), low, high)
        return cls(fixed, (high - fixed) / large)

    def at(self, size: int) -> float:
        """The cost of a size."""
        return self.fixed + self.each * size


class Kept(NamedTuple):
    """Bytes that autograd keeps from the forward pass for the backward pass."""

    stages: tuple[Line, ...]
    """Of each stage of the trunk that trains, by pixels of the batch."""
    inputs: tuple[Line, ...]
    """What goes into each of them, which is all that recomputation keeps of a stage."""
    proposals: Line
    """Of the proposal network and its losses, by pixels."""
    regions: Line
    """Of pooling, region head, task heads and their losses, by regions of the batch."""


class Seconds(NamedTuple):
    """Time of the parts of a step on this machine."""

    trunk: Line
    """Trunk forward, by pixels of the batch."""
    proposals: Line
    """Proposals and their losses, forward."""
    backward: Line
    """Backward through both."""
    regions: Line
    """Pooling, region head, task heads and losses, forward and backward, by regions."""
    update: float
    """Clipping and optimiser, once per step."""
    cpu_share: float
    """Of the time of its threads, what the trial had: far below 1 if other programs run."""


class KeptTensors(saved_tensors_hooks):
    """Within this context, count what autograd keeps: bytes of distinct storages.

    Args:
        module: Its parameters and buffers do not count: they are there in any case.

    Attributes:
        n_bytes: So far.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__(self._count, lambda tensor: tensor)
        self._known = {_address(t) for t in (*module.parameters(), *module.buffers())}
        # Held, so that no address is given out twice meanwhile.
        self._held: list[Tensor] = []
        self.n_bytes = 0

    def _count(self, tensor: Tensor) -> Tensor:
        if _address(tensor) not in self._known:
            self._known.add(_address(tensor))
            self._held.append(tensor)
            self.n_bytes += tensor.untyped_storage().nbytes()
        return tensor


def kept_bytes(net: PersonSearchNet, autocast: Autocast) -> Kept:
    """Find out what a forward pass keeps; the backward pass is not run.

    Args:
        net: In training mode, on the device of the training.
        autocast: Context of the precision of the training.
    """
    sizes = [(2 * GRID, width) for width in (2 * GRID, 4 * GRID)]
    small, large = (_kept_of_picture(net, autocast, *size) for size in sizes)
    n_px = [height * width for height, width in sizes]
    counts = (FEW_REGIONS, 2 * FEW_REGIONS)

    def lines(a: list[int], b: list[int]) -> tuple[Line, ...]:
        pairs = zip(a, b, strict=True)
        return tuple(Line.through(*zip(n_px, pair, strict=True)) for pair in pairs)

    return Kept(
        stages=lines(small.stages, large.stages),
        inputs=lines(small.inputs, large.inputs),
        proposals=lines([small.proposals], [large.proposals])[0],
        regions=Line.through(*((n, _kept_of_regions(net, autocast, n)) for n in counts)),
    )


def time_parts(learner: Learner, size: Size, n_regions: int, *, most_px: float) -> Seconds:
    """Time the parts of a step, in about ten seconds on a CPU.

    Args:
        learner: Its weights change.
        size: Height and width of a picture as it is trained on.
        n_regions: Of a picture.
        most_px: Larger pictures than this are not tried, whatever ``size`` says.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    pictures: dict[int, Parts] = {}
    for height, width in _growing(size, most_px):
        fastest = _fastest(partial(_time_of_picture, learner, height, width))
        pictures[height * width] = fastest
        if 4 * sum(fastest) > PATIENCE_S:
            break
    regions: dict[int, float] = {}
    for n in _doubling(n_regions):
        (regions[n],) = _fastest(partial(_time_of_regions, learner, n))
        if 2 * regions[n] > PATIENCE_S:
            break
    update = _fastest(partial(_time_of_update, learner))[0]
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    trunk, proposals, backward = (
        Line.through(*zip(pictures, part, strict=True))
        for part in zip(*pictures.values(), strict=True)
    )
    return Seconds(
        trunk,
        proposals,
        backward,
        regions=Line.through(*regions.items()),
        update=update,
        cpu_share=min(cpu / (wall * torch.get_num_threads()), 1.0),
    )


def _growing(size: Size, most_px: float) -> list[Size]:
    """A sixteenth of a picture, a quarter, and all of it, in multiples of the grid."""
    sizes = dict.fromkeys(
        (max(size[0] // n // GRID, 1) * GRID, max(size[1] // n // GRID, 1) * GRID)
        for n in (4, 2, 1)
    )
    smallest, *rest = sizes
    return [smallest, *(size for size in rest if size[0] * size[1] <= most_px)]


def _doubling(most: int) -> list[int]:
    """A few regions, twice as many, and so on to the most."""
    counts = [min(FEW_REGIONS, most)]
    while counts[-1] < most:
        counts.append(min(2 * counts[-1], most))
    return counts


class _PictureBytes(NamedTuple):
    stages: list[int]
    inputs: list[int]
    proposals: int


def _kept_of_picture(
    net: PersonSearchNet, autocast: Autocast, height: int, width: int
) -> _PictureBytes:
    trunk, kept = net.backbone, KeptTensors(net)
    stages, inputs = [], []
    maps, targets = _picture(net, height, width)
    with autocast():
        for k, stage in enumerate(trunk.stages):
            if k < trunk.frozen_stages:
                with torch.no_grad():
                    maps = stage(maps)
                continue
            before = kept.n_bytes
            inputs.append(maps.untyped_storage().nbytes())
            with kept:
                maps = stage(maps)
            stages.append(kept.n_bytes - before)
        before = kept.n_bytes
        with kept:
            proposed = net.rpn(maps, [(height, width)], (height, width))
            net.rpn.losses(proposed, targets)
    return _PictureBytes(stages, inputs, kept.n_bytes - before)


def _kept_of_regions(net: PersonSearchNet, autocast: Autocast, n_regions: int) -> int:
    features, picked = _regions(net, n_regions)
    kept = KeptTensors(net)
    with kept, autocast():
        net.roi_heads.losses(features, picked)
    return kept.n_bytes + n_regions * _sampling_bytes(net)


def _sampling_bytes(net: PersonSearchNet) -> int:
    """Of a region: the sparse matrix of RoIAlign, which on a CPU is kept beside autograd."""
    pool = net.roi_heads.pool
    assert isinstance(pool, RoIAlign)
    n_rows, n_samples = pool.size[0] * pool.size[1], (2 * pool.sampling_ratio) ** 2
    in_matrix = n_rows * (8 + n_samples * (8 + 4))  # int64 positions, float32 weights
    return in_matrix if _device(net).type == "cpu" else 0


def _fastest(run: Callable[[], Parts]) -> Parts:
    """The fastest of several runs: what else the machine does can only slow one down.

    Args:
        run: Returns the seconds of its parts.
    """
    runs = [run()]
    while len(runs) < REPEATS or sum(map(sum, runs)) < REPEATED_S:
        runs.append(run())
    return min(runs, key=sum)


def _time_of_picture(learner: Learner, height: int, width: int) -> Parts:
    net = learner.net
    images, targets = _picture(net, height, width)
    clock = _Clock(_device(net))
    with learner.fabric.autocast():
        features = net.backbone(images)
        trunk = clock.lap()
        proposed = net.rpn(features, [(height, width)], (height, width))
        losses = net.rpn.losses(proposed, targets)
        proposals = clock.lap()
    learner.fabric.backward(losses.score + losses.box)
    return trunk, proposals, clock.lap()


def _time_of_regions(learner: Learner, n_regions: int) -> Parts:
    features, picked = _regions(learner.net, n_regions)
    clock = _Clock(_device(learner.net))
    with learner.fabric.autocast():
        out = learner.net.roi_heads.losses(features, picked)
    learner.fabric.backward(torch.stack([*out.losses.values()]).sum())
    return (clock.lap(),)


def _time_of_update(learner: Learner) -> Parts:
    clock = _Clock(_device(learner.net))
    clip_gradients(parts_of(learner.net), learner.recipe.train.max_grad_norm, whole=False)
    learner.optimizer.step()
    if learner.average is not None:
        learner.average.update(learner.net, 0)
    return (clock.lap(),)


class _Clock:
    """Seconds between calls, with all work of the device done."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._since = 0.0
        self.lap()

    def lap(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        before, self._since = self._since, time.perf_counter()
        return self._since - before


def _picture(
    net: PersonSearchNet, height: int, width: int
) -> tuple[Tensor, list[dict[str, Tensor]]]:
    """One picture of noise as the trunk gets it, and somebody in it."""
    device = _device(net)
    image = torch.randn(1, 3, height, width, device=device)
    box = torch.tensor([[0.0, 0.0, width / 2, height / 2]], device=device)
    return image.to(memory_format=_memory_format(net)), [{"boxes": box}]


def _regions(net: PersonSearchNet, n_regions: int) -> tuple[Tensor, Picked]:
    """A small map, and regions of which as many show a person as may."""
    device, side = _device(net), 8 * GRID
    shape = (1, net.backbone.out_channels, side // STRIDE, side // STRIDE)
    features = torch.randn(shape, device=device).to(memory_format=_memory_format(net))
    corners = torch.rand(n_regions, 2, device=device) * side / 2
    boxes = torch.cat([corners, corners + side / 4], dim=1)
    n_people = max(int(n_regions * net.roi_heads.rules.positive_fraction), 2)
    is_person = torch.arange(n_regions, device=device) < n_people
    ids = torch.zeros(int(is_person.sum()), dtype=torch.int64, device=device)
    return features.requires_grad_(), Picked([boxes], is_person, boxes[is_person], ids)


def _memory_format(net: PersonSearchNet) -> torch.memory_format:
    weight = net.rpn.get_parameter("head.conv.weight")
    is_last = weight.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_last else torch.contiguous_format


def _device(net: PersonSearchNet) -> torch.device:
    return next(net.parameters()).device


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
