"""A timeline: who is seen when, one row for each person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal

from fdps.analysis.curves import finish, legend_name, new_figure
from fdps.names import printable
from fdps.search.times import instant
from fdps.structures import SceneRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Kind = Literal["shown", "strong", "worth a look", "weak", "joined", "perhaps"]
"""Why a bar is drawn: the appearance that is shown first; others joined by looks, with their level
or without; and those of which it stays open."""

_LOOKS: dict[Kind, tuple[str, str, float]] = {
    "shown": ("#0072b2", "shown first", 11.0),
    "strong": ("#009e73", "joined, strong", 8.0),
    "worth a look": ("#b8860b", "joined, worth a look", 6.0),
    "weak": ("#d55e00", "joined, weak", 4.0),
    "joined": ("#009e73", "joined by looks", 7.0),
    "perhaps": ("#8a929c", "perhaps", 2.5),
}
"""Colour, name and width of the bars. The width tells them apart where colours do not."""


@dataclass(frozen=True, slots=True)
class Bar:
    """An appearance of one person.

    Args:
        row: Number of the person, from 0.
        first: Scene of the first sighting.
        last: Scene of the last sighting.
        kind: Why it is drawn.
    """

    row: int
    first: SceneRecord
    last: SceneRecord
    kind: Kind


def plot_timeline(
    names: Sequence[str], bars: Sequence[Bar], scenes: Sequence[SceneRecord]
) -> Figure:
    """Plot the appearances of people over time.

    The axis is the time in the video where there is only one, the time of day where it is known of
    every picture, and otherwise the number of the picture.

    Args:
        names: Name of each person, from the top.
        bars: Appearances, each of one of these people.
        scenes: Every picture in order, those that show nobody too.
    """
    figure, axes = new_figure("Seen", size=(6.4, 2.0 + 0.36 * len(names)))
    places = _axis(axes, scenes)
    for kind, (colour, name, width) in _LOOKS.items():
        of_kind = [bar for bar in bars if bar.kind == kind]
        for number, bar in enumerate(of_kind):
            axes.plot(
                [places[bar.first.name], places[bar.last.name]],
                [bar.row, bar.row],
                color=colour,
                lw=width,
                solid_capstyle="round",  # a single sighting is a dot
                label="" if number else legend_name(name),
            )
    axes.set_yticks(range(len(names)), [legend_name(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    return finish(figure, axes, bool(bars))


def clock(seconds: float) -> str:
    """Write a place in a video, to the tenth of a second where it is not whole.

    Example:
        >>> clock(75.5), clock(3600.0)
        ('1:15.5', '1:00:00')
    """
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    shown = f"{hours}:{minutes:02}" if hours else str(minutes)
    return f"{shown}:{rest // 10:02}" + (f".{rest % 10}" if rest % 10 else "")


def place_of(scene: SceneRecord, *, is_only_video: bool = False) -> str:
    """Say where a sighting is: the file, and the place in it if it is a video.

    Args:
        scene: The picture or frame.
        is_only_video: Whether there is no other file that could be meant.
    """
    if scene.offset_s is None:
        return PurePath(scene.name).name
    moment = clock(scene.offset_s)
    return moment if is_only_video else f"{PurePath(scene.path).name} {moment}"


def is_one_video(scenes: Sequence[SceneRecord]) -> bool:
    """Tell whether all pictures are frames of one video."""
    return len({scene.path for scene in scenes}) == 1 and scenes[0].offset_s is not None


def _axis(axes: Axes, scenes: Sequence[SceneRecord]) -> Mapping[str, float]:
    """Choose what the axis shows, label it, and return the place of every scene on it."""
    if is_one_video(scenes):
        axes.set_xlabel(f"time in {printable(PurePath(scenes[0].path).name)}")
        axes.xaxis.set_major_formatter(lambda seconds, _: clock(max(seconds, 0.0)))
        return {scene.name: scene.offset_s or 0.0 for scene in scenes}
    times = {scene.name: instant(scene.time) for scene in scenes if scene.time}
    if len(times) == len(scenes) > 0:
        return _dates(axes, times)
    axes.set_xlabel("number of the picture, by name")
    return {scene.name: float(number) for number, scene in enumerate(scenes, start=1)}


def _dates(axes: Axes, times: Mapping[str, float]) -> dict[str, float]:
    """Show the clock of this machine: matplotlib's axis of dates counts days."""
    from matplotlib import dates

    plain: Any = dates  # matplotlib leaves these functions without types
    local = datetime.now().astimezone().tzinfo
    locator = plain.AutoDateLocator(tz=local, maxticks=6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(plain.ConciseDateFormatter(locator, tz=local))
    axes.set_xlabel("time")
    return {
        name: float(plain.date2num(datetime.fromtimestamp(seconds, UTC)))
        for name, seconds in times.items()
    }
