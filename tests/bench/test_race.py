"""Turns, medians and ratios against NumPy; processes that fail, hang or are killed."""

import json
import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fake.entrants import Failing, Scripted, Telling
from fdps.analysis.rendering import svg_file
from fdps.bench.plot import plot_stages
from fdps.bench.process import Runner
from fdps.bench.race import race
from fdps.bench.report import Report
from fdps.errors import FdpsError, ModelError, ResourceError

WARM = 99.0  # what is not to be counted
SLOW = (0.4, 0.1, 0.2, 0.5)
QUICK = (0.1, 0.1, 0.1, 0.1)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, list[str], list[int]]:
    """Two pictures of one size, looked at twice by two."""
    folder = tmp_path_factory.mktemp("race")
    files = [folder / name for name in ("a.png", "b.png")]
    for file in files:
        Image.new("RGB", (8, 6)).save(file)
    diary = folder / "diary.txt"
    entrants = {
        "slow": Scripted("slow", (WARM, *SLOW), 4e6, diary),
        "quick": Scripted("quick", (WARM, *QUICK), 1e6, diary),
    }
    done: list[int] = []
    report = race(
        entrants,
        files,
        rounds=2,
        threads=1,
        limit_s=120.0,
        tell=lambda step, total: done.append(total - step),
    )
    return report, diary.read_text().splitlines(), done


def test_every_other_turn_begins_with_the_last(
    found: tuple[Report, list[str], list[int]],
) -> None:
    _, diary, left = found
    assert diary[:2] == ["slow a.png", "quick a.png"]  # before the clock runs
    assert diary[2:] == [
        *("slow a.png", "quick a.png", "quick b.png", "slow b.png"),
        *("slow a.png", "quick a.png", "quick b.png", "slow b.png"),
    ]
    assert left == [*range(len(left) - 1, -1, -1)]


def test_figures_are_those_of_numpy(found: tuple[Report, list[str], list[int]]) -> None:
    report, _, _ = found
    slow, quick = report.rows["slow"], report.rows["quick"]
    assert slow.per_second == pytest.approx(4 / sum(SLOW))
    assert slow.p50_s == pytest.approx(float(np.median(SLOW)))
    assert slow.p95_s == pytest.approx(float(np.percentile(SLOW, 95)))
    assert slow.times_first == 1.0
    assert quick.times_first == pytest.approx(float(np.median(np.divide(SLOW, QUICK))))
    assert slow.people == 3
    assert slow.stages["trunk"].seconds == pytest.approx(0.3)
    assert slow.stages["trunk"].share_of_peak == pytest.approx(4e6 / 0.3 / report.peak_flops)
    assert slow.stages["decode"].share_of_peak == 0
    assert quick.share_of_peak == pytest.approx(1e6 / 0.1 / report.peak_flops)
    assert 1e8 < report.peak_flops < 1e14  # a processor
    assert 20 < slow.peak_memory_mib < 4000


def test_the_report_is_json_a_table_and_a_plot(
    found: tuple[Report, list[str], list[int]],
) -> None:
    report, _, _ = found
    told = json.loads(json.dumps(report.to_json()))
    assert told["rows"]["quick"]["stages"]["trunk"]["flops"] == 1e6
    assert (told["threads"], told["n_pictures"], told["rounds"]) == (1, 2, 2)
    lines = report.lines()
    assert lines[0].split() == [
        *("model", "per", "s", "×", "first", "p50", "ms", "p95", "ms"),
        *("MiB", "people", "GFLOP", "peak"),
    ]
    assert lines[2].split()[:4] == ["quick", "10.00", "3.00", "100.0"]
    assert lines[-1].startswith("Peak ")
    svg = svg_file(plot_stages(report)).decode()
    assert all(word in svg for word in ("slow", "quick", "trunk", "10 pictures/s", "1 thread"))
    assert svg == svg_file(plot_stages(report)).decode()


@pytest.mark.long
@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("hangs", ResourceError, "it needs more than 1.5 s to load"),
        ("hangs later", ResourceError, "it needs more than 1.5 s to look at a picture"),
        ("is killed", ResourceError, "it was killed by the system"),
        ("exits", ResourceError, "the process of it ended with 3"),
        ("refuses", ModelError, "these are no weights"),
    ],
)
def test_whoever_fails_ends_with_an_error(how: str, kind: type[FdpsError], message: str) -> None:
    runner = Runner("it", Failing(how), threads=1, limit_s=60.0)
    began = time.monotonic()
    try:
        if how not in ("hangs", "refuses"):
            runner.wait_until_open()  # which takes a process some time
        runner.limit_s = 1.5 if "hangs" in how else 60.0
        with pytest.raises(kind, match=message):
            runner.wait_until_open() if how in ("hangs", "refuses") else runner.look(Path("a.png"))
    finally:
        runner.close()
    assert time.monotonic() - began < 60
    assert not multiprocessing.active_children()


@pytest.mark.long
def test_an_entrant_has_the_threads_it_was_given() -> None:
    runner = Runner("it", Telling(), threads=1, limit_s=120.0)
    try:
        runner.wait_until_open()
        assert runner.look(Path("a.png")).people == 1
    finally:
        runner.close()
