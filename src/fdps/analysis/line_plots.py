"""Line charts as inline SVG: small enough to write a page of them again every few seconds.

The figures of a report (:mod:`fdps.analysis.curves`) need matplotlib and a second each; these need
numpy and a millisecond. Colours and dashes are classes that ``run_page.css`` defines for light and
dark pages.

Axes in shapes: N points of a line, M ≤ N of them after thinning.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from jaxtyping import Float64

MAX_POINTS = 400
"""Of a line; a chart is about as many pixels wide, so more would not be seen."""

N_STYLES = 5
"""Colours and dashes before they repeat."""

_WIDTH, _HEIGHT = 400, 210  # user units; about pixels where three charts share a row
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 10, 8, 26  # margins; the left one holds the tick labels
_PADDING = 0.04  # of the range of values, above and below
_SMOOTHED_SHARE = 0.05  # of a noisy line: the width of its running mean
_LEAST_LOG_RANGE = 8  # below this ratio of values, a log axis hides more than it shows


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One curve.

    Args:
        name: As the legend prints it.
        x: Ascending.
        y: Finite.
    """

    name: str
    x: Float64[np.ndarray, " N"]
    y: Float64[np.ndarray, " N"]


@dataclass(frozen=True, slots=True, eq=False)
class LineChart:
    """Curves over one axis.

    Args:
        title: What is drawn.
        lines: At least one, each with at least one point.
        note: Beside the title: the unit, or what the values mean.
        is_log: Draw values on a log axis if they span about a decade; those of at most 0 are left
            out there.
        is_from_zero: Whether the axis of values begins at zero.
        is_noisy: Draw a running mean, and the values themselves faintly behind it.
    """

    title: str
    lines: tuple[Line, ...]
    note: str = ""
    is_log: bool = False
    is_from_zero: bool = False
    is_noisy: bool = False


def draw_chart(chart: LineChart, *, x_name: str, x_end: float) -> str:
    """Draw a chart as an HTML figure: title, legend, and an SVG with a text alternative.

    Args:
        chart: What to draw.
        x_name: What the horizontal axis counts.
        x_end: Where that axis ends; it begins at 0.
    """
    is_log = chart.is_log and _spans_decades(chart.lines)
    shown = tuple(map(_positive, chart.lines)) if is_log else chart.lines
    across = _Axis(0.0, x_end or 1.0, float(_LEFT), float(_WIDTH - _RIGHT))
    up = _value_axis([line for line in shown if len(line.y)], is_log, chart.is_from_zero)
    drawn = "\n".join(
        _line(line, number, across, up, is_noisy=chart.is_noisy)
        for number, line in enumerate(shown)
        if len(line.y)
    )
    note = ", ".join(filter(None, (chart.note, "log scale" if is_log else "")))
    told = f"{chart.title}{f' ({note})' if note else ''} over {x_name}s. "
    told += " ".join(_told(line) for line in chart.lines)
    return (
        '<figure class="chart">\n'
        f"<figcaption><strong>{escape(chart.title)}</strong> {escape(note)}</figcaption>\n"
        f"{_legend(chart.lines)}"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(told)}">\n'
        f"{_grid(across, up, x_name)}\n{drawn}\n</svg>\n</figure>"
    )


def thin(
    x: Float64[np.ndarray, " N"], y: Float64[np.ndarray, " N"], n_points: int = MAX_POINTS
) -> tuple[Float64[np.ndarray, " M"], Float64[np.ndarray, " M"]]:
    """Replace neighbouring points by their mean; the first and the last point stay.

    Args:
        x: Positions.
        y: Values.
        n_points: Most points to return, at least 3.

    Example:
        >>> x = np.arange(6.0)
        >>> thin(x, x * x, 4)[1].tolist()  # 0, the means of 1 and 4 and of 9 and 16, 25
        [0.0, 2.5, 12.5, 25.0]
    """
    if len(x) <= n_points:
        return x, y
    starts = np.linspace(0, len(x) - 2, n_points - 1).astype(np.int64)
    sizes = np.diff(starts)

    def binned(values: Float64[np.ndarray, " N"]) -> Float64[np.ndarray, " M"]:
        means = np.add.reduceat(values[1:-1], starts[:-1]) / sizes
        return np.concatenate([values[:1], means, values[-1:]])

    return binned(x), binned(y)


def round_ticks(low: float, high: float, *, at_most: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within a range.

    Example:
        >>> round_ticks(0.03, 0.91)
        [0.2, 0.4, 0.6, 0.8]
    """
    power = math.floor(math.log10((high - low) / at_most))
    for factor in (1, 2, 5, 10, 20):
        step = factor * 10.0**power
        # 0.6 / 0.1 is a little less than 6, and 3 * 0.1 a little more than 0.3.
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < at_most:
            break
    return [float(f"{factor * count}e{power}") for count in range(first, last + 1)]


def log_ticks(low: float, high: float, *, at_most: int = 5) -> list[float]:
    """Powers of ten within a range of positive numbers; twos and fives too where they are few.

    Example:
        >>> log_ticks(0.004, 30.0), log_ticks(0.4, 3.0)
        ([0.01, 0.1, 1.0, 10.0], [0.5, 1.0, 2.0])
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = range(first, last + 1)
    fine = [float(f"{factor}e{power}") for power in every for factor in (1, 2, 5)]
    for ticks in (fine, fine[::3], fine[::6], fine[::9]):
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) <= at_most:
            break
    return inside if len(inside) > 1 else round_ticks(low, high, at_most=at_most)


def tick_label(value: float) -> str:
    """Print a round number without needless digits.

    Example:
        >>> [tick_label(value) for value in (0.0, 0.25, -20.0, 40000.0, 5e-05)]
        ['0', '0.25', '−20', '40,000', '5e−5']
    """
    if value and not 1e-3 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.6e}".split("e")
        text = f"{float(mantissa):g}e{int(exponent)}"
    else:
        text = f"{value:,.10g}"
    return text.replace("-", "−")


@dataclass(frozen=True, slots=True)
class _Axis:
    """Maps ``low..high`` to user units ``start..end``, evenly or by logarithms."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def place(self, values: Float64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
        scale: Callable[..., np.ndarray] = np.log10 if self.is_log else np.asarray
        low, high = float(scale(self.low)), float(scale(self.high))
        return self.start + (scale(values) - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Places and labels."""
        values = (log_ticks if self.is_log else round_ticks)(self.low, self.high)
        labels = [tick_label(value) for value in values]
        if not self.is_log:
            labels = _with_equal_decimals(labels)
        return list(zip(self.place(np.array(values, dtype=np.float64)), labels, strict=True))


def _with_equal_decimals(labels: Sequence[str]) -> list[str]:
    """Append zeros: 0, 0.5, 1.0; not to a zero, and not to powers of ten."""
    n_decimals = max((len(label.partition(".")[2]) for label in labels), default=0)
    if n_decimals == 0 or any("e" in label for label in labels):
        return list(labels)
    return [
        label if label == "0" else f"{whole}.{decimals:0<{n_decimals}}"
        for label in labels
        for whole, _, decimals in [label.partition(".")]
    ]


def _value_axis(lines: Sequence[Line], is_log: bool, is_from_zero: bool) -> _Axis:
    low = min(float(line.y.min()) for line in lines)
    high = max(float(line.y.max()) for line in lines)
    if is_log:
        low, high = low / 1.15, high * 1.15
    else:
        low = min(low, 0.0) if is_from_zero else low
        # A constant has no range of its own: show it in the middle of some range.
        padding = _PADDING * (high - low) or 0.1 * abs(high) or 1.0
        low, high = (low if is_from_zero and low == 0 else low - padding), high + padding
    return _Axis(low, high, float(_HEIGHT - _BOTTOM), float(_TOP), is_log)


def _spans_decades(lines: Sequence[Line]) -> bool:
    positive = [line.y for line in map(_positive, lines) if len(line.y)]
    if not positive:
        return False
    values = np.concatenate(positive)
    return bool(values.max() / values.min() >= _LEAST_LOG_RANGE)


def _positive(line: Line) -> Line:
    return Line(line.name, line.x[line.y > 0], line.y[line.y > 0])


def _grid(across: _Axis, up: _Axis, x_name: str) -> str:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = []
    for y, label in up.ticks():
        parts.append(f'<path class="grid-line" d="M{_LEFT} {y:.1f}H{right}"/>')
        parts.append(f'<text class="y" x="{_LEFT - 7}" y="{y + 4:.1f}">{label}</text>')
    parts.append(f'<path class="axis" d="M{_LEFT} {bottom}H{right}"/>')
    for x, label in across.ticks():
        parts.append(f'<path class="axis" d="M{x:.1f} {bottom}v4"/>')
        parts.append(f'<text class="x" x="{x:.1f}" y="{_HEIGHT - 7}">{label}</text>')
    parts.append(f'<text class="y" x="{_LEFT - 12}" y="{_HEIGHT - 7}">{escape(x_name)}</text>')
    return "\n".join(parts)


def _line(line: Line, number: int, across: _Axis, up: _Axis, *, is_noisy: bool) -> str:
    x, y = thin(line.x, line.y)
    width = int(_SMOOTHED_SHARE * len(y)) | 1  # odd, so that the mean is centred
    parts = [f"<title>{escape(_told(line))}</title>"]
    if is_noisy and width > 1:
        parts.append(_polyline("raw", across.place(x), up.place(y)))
        y = _running_mean(y, width)
    places = across.place(x), up.place(y)
    parts.append(_polyline("curve", *places))
    if len(x) <= 1 / _SMOOTHED_SHARE:
        parts += [
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3"/>'
            for a, b in zip(*(place.tolist() for place in places), strict=True)
        ]
    inside = "\n".join(parts)
    return f'<g class="line s{number % N_STYLES}">\n{inside}\n</g>'


def _polyline(kind: str, x: Float64[np.ndarray, " M"], y: Float64[np.ndarray, " M"]) -> str:
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))
    return f'<polyline class="{kind}" points="{points}"/>'


def _running_mean(y: Float64[np.ndarray, " M"], width: int) -> Float64[np.ndarray, " M"]:
    """Centred mean; at the ends over the values that exist."""
    kernel = np.ones(width)
    return np.convolve(y, kernel, "same") / np.convolve(np.ones_like(y), kernel, "same")


def _legend(lines: Sequence[Line]) -> str:
    """Names with a piece of each line; a single line is named by the title."""
    if len(lines) < 2:
        return ""
    items = "".join(
        f'<li><svg class="swatch" viewBox="0 0 26 8" aria-hidden="true">'
        f'<g class="line s{number % N_STYLES}"><path class="curve" d="M0 4H26"/></g></svg>'
        f"{escape(line.name)}</li>"
        for number, line in enumerate(lines)
    )
    return f'<ul class="legend">{items}</ul>\n'


def _told(line: Line) -> str:
    """A line in words."""
    low, high, newest = float(line.y.min()), float(line.y.max()), float(line.y[-1])
    return f"{line.name}: newest {newest:.3g}, between {low:.3g} and {high:.3g}."
