"""Measure how long each part of a model takes on a picture."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fdps.export.given import Pictures
from fdps.pictures import read_picture
from fdps.query import Searcher
from fdps.runtime.exported import ExportedNetwork
from fdps.runtime.two_step import TwoStep
from fdps.searcher import PersonSearcher
from fdps.structures import Picture

DECODE, REST = "decode", "rest"


@dataclass(frozen=True, slots=True)
class Timed:
    """The times of one model.

    Args:
        seconds: From file or array to embeddings, one for each picture, without the first.
        stages: Median seconds of each part, in the order in which they run.
        people: Number of people found, mean over pictures.
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
        models: By name.
        pictures: At least one; before the first of them is timed, every model looks at it once.
        rounds: How often all pictures are looked at.
    """
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in models}
    people: dict[str, list[int]] = {name: [] for name in models}
    for picture in (pictures[0], *[*pictures] * rounds):
        for name, model in models.items():
            stages, found = _timed(model, picture)
            taken[name].append(stages)
            people[name].append(found)
    return {name: _summary(rows[1:], people[name][1:]) for name, rows in taken.items()}


def _timed(model: Searcher, picture: Path | Picture) -> tuple[dict[str, float], int]:
    """Time one look: seconds of each stage, of which ``rest`` is what no other accounts for."""
    stages: dict[str, float] = defaultdict(float)
    with _watched(model, stages):
        start = time.perf_counter()
        if isinstance(picture, Path):
            picture = read_picture(picture)
            stages[DECODE] = time.perf_counter() - start
        n_people = len(model.detect(picture))
        total = time.perf_counter() - start
    return {**stages, REST: total - sum(stages.values())}, n_people


def _summary(rows: list[dict[str, float]], people: list[int]) -> Timed:
    names = list(dict.fromkeys(name for row in rows for name in row))
    stages = {name: float(np.median([row.get(name, 0.0) for row in rows])) for name in names}
    return Timed(tuple(sum(row.values()) for row in rows), stages, float(np.mean(people)))


@contextmanager
def _watched(model: Searcher, stages: dict[str, float]) -> Iterator[None]:
    """Add the time of every part of a model to its stage."""
    parts = _parts(model)
    for owner, method, stage in parts:
        setattr(owner, method, _stopped(getattr(owner, method), stage, stages))
    try:
        yield
    finally:
        for owner, method, _ in parts:
            delattr(owner, method)  # which hid the method of the class


def _parts(model: Searcher) -> list[tuple[Any, str, str]]:
    if isinstance(model, PersonSearcher):
        net = model.network
        return [
            (net.transform, "forward", "picture"),
            (net, "features", "trunk"),
            (net.rpn, "forward", "proposals"),
            (net.roi_heads, "detect", "regions"),
        ]
    if isinstance(model, ExportedNetwork):
        return [
            (model, "picture", "picture"),
            (model, "trunk", "trunk"),
            (model, "propose", "proposals"),
            (model, "look", "regions"),
        ]
    if isinstance(model, TwoStep):
        return [(model.detector, "find", "detector"), (model.describer, "embed", "describer")]
    return []


def _stopped(run: Callable[..., Any], stage: str, stages: dict[str, float]) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return run(*args, **kwargs)
        finally:
            stages[stage] += time.perf_counter() - start

    return timed
