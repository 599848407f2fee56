"""A timeline shows who is seen when: in a video, by the clock, or by the number of the picture."""

from pathlib import Path

import pytest

from fdps.analysis.rendering import inline_svg
from fdps.analysis.timeline import Bar, place_of, plot_timeline
from fdps.structures import SceneRecord


def frame(seconds: float, video: str = "gate_cam.mp4") -> SceneRecord:
    name = f"{video}@{seconds}"
    return SceneRecord(name, f"/d/{video}", "a" * 64, 9, 9, frame=round(seconds), offset_s=seconds)


def picture(number: int, time: str | None = None) -> SceneRecord:
    name = f"photos/{number}.jpg"
    return SceneRecord(name, f"/d/{name}", f"{number:064}", 9, 9, time=time)


def lines(scenes: list[SceneRecord], bars: list[Bar]) -> list[tuple[list[float], list[float]]]:
    axes = plot_timeline(["Person 1", "Person 2"], bars, scenes).axes[0]
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]


def test_one_video_has_its_own_clock() -> None:
    scenes = [frame(second) for second in (0.0, 30.0, 90.5)]
    bars = [Bar(0, scenes[0], scenes[1], "shown"), Bar(1, scenes[2], scenes[2], "perhaps")]
    assert lines(scenes, bars) == [([0.0, 30.0], [0, 0]), ([90.5, 90.5], [1, 1])]
    figure = plot_timeline(["Person 1", "Person 2"], bars, scenes)
    text = inline_svg(figure)
    for shown in ("Person 1", "Person 2", "time in gate_cam.mp4", "shown first", "perhaps", "1:20"):
        assert shown in text
    assert "joined" not in text


def test_pictures_of_known_times_share_a_clock() -> None:
    scenes = [picture(1, "2026-05-02T14:00:00+02:00"), picture(2, "2026-05-02T13:00:00+00:00")]
    bars = [Bar(0, scenes[0], scenes[1], "joined")]
    ((times, _),) = lines(scenes, bars)
    assert times[1] - times[0] == pytest.approx(1 / 24)
    assert "time" in inline_svg(plot_timeline(["a", "b"], bars, scenes))


@pytest.mark.parametrize("other", [picture(9), frame(3.0, "other.mp4")])
def test_what_has_no_common_clock_is_counted(other: SceneRecord) -> None:
    scenes = [frame(0.0), frame(5.0), other]
    bars = [Bar(0, scenes[1], scenes[1], "strong"), Bar(1, other, other, "weak")]
    assert lines(scenes, bars) == [([2.0, 2.0], [0, 0]), ([3.0, 3.0], [1, 1])]
    assert "number of the picture" in inline_svg(plot_timeline(["a", "b"], bars, scenes))


def test_names_of_files_cannot_be_markup() -> None:
    scenes = [frame(0.0, "<b>$x$.mp4")]
    text = inline_svg(plot_timeline(["a"], [Bar(0, scenes[0], scenes[0], "shown")], scenes))
    assert "<b>" not in text


@pytest.mark.parametrize(
    ("scene", "alone", "text"),
    [
        (frame(75.5), True, "1:15.5"),
        (frame(3675.0), False, "gate_cam.mp4 1:01:15"),
        (picture(7), True, "7.jpg"),
    ],
)
def test_a_place_is_said_so_that_it_can_be_found(
    scene: SceneRecord, alone: bool, text: str
) -> None:
    assert place_of(scene, is_only_video=alone) == text
    assert Path(text).parent == Path()
