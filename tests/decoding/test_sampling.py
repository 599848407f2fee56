import pytest

from fdps.decoding.sampling import Sampling
from fdps.errors import UsageError


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("0.5s", Sampling(seconds=0.5)),
        ("2s", Sampling(seconds=2.0)),
        ("500ms", Sampling(seconds=0.5)),
        ("10f", Sampling(frames=10)),
        ("keyframes", Sampling()),
    ],
)
def test_rules_are_read(text: str, rule: Sampling) -> None:
    assert Sampling.parse(text) == rule
    assert Sampling.parse(str(rule)) == rule


@pytest.mark.parametrize("text", ["", "0s", "0f", "1.5f", "-1s", "1", "s", "1m", "nan s", "1e3s"])
def test_other_rules_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="every takes seconds, frames or keyframes"):
        Sampling.parse(text)


def taken(rule: Sampling, times: list[float]) -> list[float]:
    chosen: list[float] = []
    for number, time in enumerate(times):
        if rule.takes(number, time, chosen[-1] if chosen else None):
            chosen.append(time)
    return chosen


def test_the_first_frame_of_every_step_is_taken() -> None:
    assert taken(Sampling(seconds=1.0), [0.0, 0.4, 0.9, 1.1, 1.9, 2.0, 2.5, 7.2, 7.9, 8.0]) == [
        0, 1.1, 2.0, 7.2, 8.0,
    ]  # fmt: skip


def test_rounded_timestamps_do_not_lose_a_step() -> None:
    ntsc = [n * 1001 / 30000 for n in range(3000)]
    assert len(taken(Sampling(seconds=1001 / 30000), ntsc)) == 3000
    tenths = [n / 10 for n in range(1000)]
    assert taken(Sampling(seconds=0.1), tenths) == tenths


def test_a_clock_that_runs_back_begins_anew() -> None:
    assert taken(Sampling(seconds=1.0), [0.0, 1.0, 2.0, 0.2, 0.4, 1.0]) == [0, 1, 2, 0.2, 1.0]


def test_every_so_manieth_frame_is_taken() -> None:
    assert taken(Sampling(frames=3), [float(n) for n in range(8)]) == [0, 3, 6]


def test_the_number_of_frames_is_foreseen() -> None:
    assert Sampling(seconds=0.5).count(79.5) == 159
    assert Sampling(seconds=0.5).count(None) == Sampling(frames=3).count(8.0) == 1
