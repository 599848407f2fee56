"""Measure how long each part of a model takes on a picture, or what else it costs.

=============  ====================================================================
stage          what belongs to it
=============  ====================================================================
``decode``     a file becomes pixels
``picture``    pixels are brought to the size of the network
``trunk``      the feature map, and the proposal head on it
``proposals``  boxes are decoded and suppressed
``regions``    RoIAlign, region head, heads, and what follows them
``detector``   of a two-step model: the detector
``describer``  and the network on crops
``rest``       whatever no other stage accounts for
=============  ====================================================================
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from fdps.export.given import Pictures
from fdps.pictures import read_picture
from fdps.query import Searcher
from fdps.runtime.exported import ExportedNetwork
from fdps.runtime.two_step import TwoStep
from fdps.structures import Picture

DECODE, PICTURE, TRUNK, PROPOSALS, REGIONS, REST = (
    *("decode", "picture", "trunk", "proposals", "regions"),
    "rest",
)

Meter = Callable[[], float]
"""What rises while a model works: the time, or the operations so far."""
Part = tuple[Any, str, str]
"""An object, a method of it, and the stage that the method belongs to."""


@runtime_checkable
class Looker(Protocol):
    """Whatever finds people in pictures."""

    def detect(self, image: Picture) -> Sized:
        """Find everybody."""


class Look(NamedTuple):
    """What one look at a picture took.

    Args:
        stages: By stage; seconds, unless another meter was read.
        people: Number of people found.
    """

    stages: dict[str, float]
    people: int


@dataclass(frozen=True, slots=True)
class Timed:
    """The times of one model.

    Args:
        seconds: From file or array to embeddings, one for each look.
        stages: Median seconds of each stage, in the order in which they run.
        people: Number of people found, mean over looks.
    """

    seconds: tuple[float, ...]
    stages: Mapping[str, float]
    people: float

    @property
    def per_second(self) -> float:
        """Pictures in a second."""
        return len(self.seconds) / sum(self.seconds)

    def percentile(self, share: int) -> float:
        """Seconds within which so many pictures of a hundred are done."""
        return float(np.percentile(self.seconds, share))


def time_in_turns(
    models: Mapping[str, Searcher], pictures: Sequence[Path] | Pictures, *, rounds: int = 1
) -> dict[str, Timed]:
    """Let models look at every picture one after another, so that a busy machine slows all alike.

    Args:
        models: By name; every other turn begins with the last.
        pictures: At least one; before the first of them is timed, every model looks at it once.
        rounds: How often all pictures are looked at.
    """
    looks: dict[str, list[Look]] = {name: [] for name in models}
    for turn, picture in enumerate((pictures[0], *[*pictures] * rounds)):
        for name in in_turn(models, turn):
            looks[name].append(look(models[name], parts_of(models[name]), picture))
    return {name: summary(rows[1:]) for name, rows in looks.items()}


def in_turn(names: Mapping[str, object], turn: int) -> list[str]:
    """Return the order of a turn: as given, and every other time the other way round."""
    order = [*names]
    return order if turn % 2 == 0 else order[::-1]


def look(
    model: Looker,
    parts: Sequence[Part],
    picture: Path | Picture,
    meter: Meter = time.perf_counter,
) -> Look:
    """Let a model look at a picture, and read a meter before and after every part.

    Args:
        model: What looks.
        parts: As :func:`parts_of` returns them; a part may run within another, and counts alone.
        picture: A file is decoded first, by the decoder of fdps.
        meter: What is read.
    """
    gauge = _Gauge(meter)
    with gauge.on(parts):
        start = meter()
        if isinstance(picture, Path):
            pixels: Picture = gauge.read(read_picture, DECODE)(picture)
        else:
            pixels = picture
        people = len(model.detect(pixels))
        total = meter() - start
    return Look({**gauge.stages, REST: total - sum(gauge.stages.values())}, people)


def summary(looks: Sequence[Look]) -> Timed:
    """Put looks together, of which there is at least one."""
    names = list(dict.fromkeys(name for each in looks for name in each.stages))
    stages = {
        name: float(np.median([each.stages.get(name, 0.0) for each in looks])) for name in names
    }
    seconds = tuple(sum(each.stages.values()) for each in looks)
    return Timed(seconds, stages, float(np.mean([each.people for each in looks])))


def parts_of(model: Searcher) -> list[Part]:
    """Return what belongs to the stages of a model; nothing of one that fdps does not know."""
    if isinstance(model, ExportedNetwork):
        return [
            (model, "picture", PICTURE),
            (model, "trunk", TRUNK),
            (model, "propose", PROPOSALS),
            (model, "look", REGIONS),
        ]
    if isinstance(model, TwoStep):
        return [(model.detector, "find", "detector"), (model.describer, "embed", "describer")]
    from fdps.searcher import PersonSearcher  # torch, which the other models do not need

    if isinstance(model, PersonSearcher):
        net = model.network
        return [
            (net.transform, "forward", PICTURE),
            (net, "features", TRUNK),
            (net.rpn, "forward", PROPOSALS),
            (net.rpn.head, "forward", TRUNK),  # exports have it in the graph of the trunk
            (net.roi_heads, "detect", REGIONS),
        ]
    return []


class _Gauge:
    """Adds up what a meter says of each stage; a part within another counts for its own alone."""

    def __init__(self, meter: Meter) -> None:
        self.stages: dict[str, float] = defaultdict(float)
        self._meter = meter
        self._within: list[float] = []  # of each open part, what parts inside it took

    @contextmanager
    def on(self, parts: Sequence[Part]) -> Iterator[None]:
        """Read the meter around every part, as long as the context is open."""
        for owner, method, stage in parts:
            setattr(owner, method, self.read(getattr(owner, method), stage))
        try:
            yield
        finally:
            for owner, method, _ in parts:
                delattr(owner, method)  # which hid the method of the class

    def read(self, run: Callable[..., Any], stage: str) -> Callable[..., Any]:
        """Return a function that also reads the meter."""

        def metered(*args: Any, **kwargs: Any) -> Any:
            start = self._meter()
            self._within.append(0.0)
            try:
                return run(*args, **kwargs)
            finally:
                took = self._meter() - start
                self.stages[stage] += took - self._within.pop()
                if self._within:
                    self._within[-1] += took

        return metered
