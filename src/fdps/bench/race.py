"""Let all entrants look at every picture in turns, and put together what came out."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from fdps.bench.entrants import Entrant, MatrixProduct
from fdps.bench.process import Runner, running
from fdps.bench.report import Report, Row, Stage
from fdps.export.stages import Look, in_turn, summary
from fdps.pictures import picture_size

PEAK = "peak of this machine"
_SIZES = 8
"""Sizes of pictures that everybody sees once before the clock runs; OpenVINO keeps as many."""
_SETTLE_S = 0.02
"""Between two looks: threads of the last one spin a little before they sleep."""

Tell = Callable[[int, int], None]
"""Takes the number of steps that are done, and that of all."""
Looks = Mapping[str, Sequence[Look]]


def race(
    entrants: Mapping[str, Entrant],
    pictures: Sequence[Path],
    *,
    rounds: int,
    threads: int,
    limit_s: float,
    tell: Tell = lambda done, total: None,
) -> Report:
    """Measure entrants beside each other.

    Args:
        entrants: By name; the first is what the others are compared with.
        pictures: At least one.
        rounds: How often each is looked at.
        threads: Number of processor threads of each entrant.
        limit_s: Most seconds that one answer of an entrant may take.
        tell: Told after every look.

    Raises:
        FdpsError: What one of them failed by.
        ResourceError: One took too long, or was ended by the system.
    """
    everybody: dict[str, Entrant] = {PEAK: MatrixProduct(), **entrants}
    first_of_a_size = [*{picture_size(file): file for file in reversed(pictures)}.values()]
    warming = first_of_a_size[::-1][:_SIZES]
    steps = _Steps(tell, len(everybody) * (len(warming) + len(pictures) * (rounds + 1)))
    with running(everybody, threads=threads, limit_s=limit_s) as runners:
        _in_turns(runners, warming, steps)
        looks = _in_turns(runners, [*pictures] * rounds, steps)
        memory = {name: runner.peak_gib() for name, runner in runners.items()}
        counts = _counted(runners, pictures, steps)
    products = summary(looks[PEAK]).seconds
    peak = sum(counts[PEAK].values()) / float(np.median(products))
    first = next(iter(entrants))
    rows = {
        name: _row(looks[name], looks[first], counts[name], memory[name], peak) for name in entrants
    }
    return Report(
        threads=threads, n_pictures=len(pictures), rounds=rounds, peak_flops=peak, rows=rows
    )


class _Steps:
    """Counts what is done."""

    def __init__(self, tell: Tell, total: int) -> None:
        self._tell, self._total, self._done = tell, total, 0

    def step(self) -> None:
        self._done += 1
        self._tell(self._done, self._total)


def _in_turns(
    runners: Mapping[str, Runner], pictures: Sequence[Path], steps: _Steps
) -> dict[str, list[Look]]:
    """Let all look at each picture; every other turn begins with the last."""
    looks: dict[str, list[Look]] = {name: [] for name in runners}
    for turn, picture in enumerate(pictures):
        for name in in_turn(runners, turn):
            time.sleep(_SETTLE_S)
            looks[name].append(runners[name].look(picture))
            steps.step()
    return looks


def _counted(
    runners: Mapping[str, Runner], pictures: Sequence[Path], steps: _Steps
) -> dict[str, dict[str, float]]:
    """Count the operations of every stage, mean over pictures."""
    counts = {}
    for name, runner in runners.items():
        found = []
        for picture in pictures:
            found.append(runner.count(picture).stages)
            steps.step()
        counts[name] = {
            stage: float(np.mean([each.get(stage, 0.0) for each in found]))
            for stage in dict.fromkeys(stage for each in found for stage in each)
        }
    return counts


def _row(
    looks: Sequence[Look],
    beside: Sequence[Look],
    counts: Mapping[str, float],
    gib: float,
    peak: float,
) -> Row:
    timed, other = summary(looks), summary(beside)
    ratios = np.array(other.seconds) / np.array(timed.seconds)
    stages = {
        name: Stage(seconds, counts.get(name, 0.0), peak) for name, seconds in timed.stages.items()
    }
    whole = Stage(timed.percentile(50), sum(counts.values()), peak)
    return Row(
        per_second=timed.per_second,
        p50_s=timed.percentile(50),
        p95_s=timed.percentile(95),
        times_first=float(np.median(ratios)),
        people=timed.people,
        peak_memory_mib=1024 * gib,
        flops=whole.flops,
        share_of_peak=whole.share_of_peak,
        stages=stages,
    )
