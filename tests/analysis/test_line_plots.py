import re
from xml.etree import ElementTree

import numpy as np
import pytest

from fdps.analysis.line_plots import (
    MAX_POINTS,
    Line,
    LineChart,
    draw_chart,
    log_ticks,
    round_ticks,
    thin,
    tick_label,
)


def line(*values, name="loss", x=None):
    x = np.arange(len(values)) if x is None else x
    return Line(name, np.asarray(x, np.float64), np.asarray(values, np.float64))


def draw(*lines, x_end=4.0, **chart):
    return draw_chart(LineChart("Losses", lines, **chart), x_name="epoch", x_end=x_end)


def plot(html):
    """The SVG of the curves, without the swatches of the legend."""
    return ElementTree.fromstring(re.search(r'<svg viewBox="0 0 400.*?</svg>', html, re.S)[0])


def points(html, kind="curve"):
    """Of every curve: an array of its corners, in user units."""
    return [
        np.array([[float(v) for v in pair.split(",")] for pair in found.get("points").split()])
        for found in plot(html).iter("polyline")
        if found.get("class") == kind
    ]


def labels(html, axis):
    return [t.text for t in plot(html).iter("text") if t.get("class") == axis and t.text != "epoch"]


def test_thinning_keeps_the_ends_and_the_mean():
    rng = np.random.default_rng(0)
    x, y = np.arange(2 + 98 * 7.0), rng.normal(size=2 + 98 * 7)
    thin_x, thin_y = thin(x, y, 100)
    assert len(thin_x) == len(thin_y) == 100
    assert (thin_x[0], thin_y[0], thin_x[-1], thin_y[-1]) == (x[0], y[0], x[-1], y[-1])
    assert thin_y[1:-1].mean() == pytest.approx(y[1:-1].mean())
    np.testing.assert_allclose(thin_y[1], y[1:8].mean())
    np.testing.assert_allclose(thin_x[-2], x[-8:-1].mean())


@pytest.mark.parametrize("n", [401, 402, 777, 20_001])
def test_thinned_bins_are_about_equal_and_leave_nothing_out(n):
    ones = np.ones(n)
    x, y = thin(np.arange(float(n)), ones)
    assert len(x) == MAX_POINTS
    np.testing.assert_array_equal(y, 1.0)
    assert (np.diff(x) > 0).all()
    # Centres of neighbouring bins are as far apart as the bins are wide.
    assert np.diff(x[1:-1]).max() - np.diff(x[1:-1]).min() <= 1.0


def test_few_points_stay_as_they_are():
    x = np.arange(float(MAX_POINTS))
    assert thin(x, x)[1] is x


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.0, 0.003, [0.0, 0.001, 0.002, 0.003]),
        (-0.31, 0.31, [-0.2, 0.0, 0.2]),
        (0.0, 24_000.0, [0.0, 5_000.0, 10_000.0, 15_000.0, 20_000.0]),
        (97.0, 103.0, [98.0, 100.0, 102.0]),
        (0.6, 0.7, [0.6, 0.62, 0.64, 0.66, 0.68, 0.7]),
    ],
)
def test_ticks_are_round(low, high, ticks):
    assert round_ticks(low, high, at_most=6) == ticks


def test_ticks_are_round_few_and_inside_for_any_range():
    rng = np.random.default_rng(1)
    for low, width in zip(rng.normal(0, 50, 300), 10 ** rng.uniform(-6, 6, 300), strict=True):
        ticks = round_ticks(low, low + width)
        assert 2 <= len(ticks) <= 5
        assert min(ticks) >= low - 1e-8 * width
        assert max(ticks) <= low + width * (1 + 1e-8)
        steps = np.diff(ticks)
        np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
        mantissa = float(f"{steps[0]:.3e}".split("e")[0])
        assert mantissa in (1.0, 2.0, 5.0)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.009, 1.2, [0.01, 0.1, 1.0]),
        (0.4, 12.0, [0.5, 1.0, 2.0, 5.0, 10.0]),
        (2e-7, 2e4, [1e-5, 1e-3, 0.1, 10.0, 1e3]),
        (3.1, 3.9, [3.2, 3.4, 3.6, 3.8]),
    ],
)
def test_log_ticks_are_powers_of_ten_where_there_are_enough(low, high, ticks):
    assert log_ticks(low, high) == ticks


def test_tick_labels_have_a_true_minus_and_short_exponents():
    assert [tick_label(v) for v in (0.0, 1.0, -0.5, 12_000.0, 2e-6, 3e7)] == [
        "0",
        "1",
        "−0.5",
        "12,000",
        "2e−6",
        "3e7",
    ]


def test_a_curve_is_where_its_values_are():
    html = draw(line(0.0, 10.0, 5.0, x=[0, 2, 4]), is_from_zero=True)
    (corners,) = points(html)
    ticks = {
        t.text: float(t.get("y")) - 4 for t in plot(html).iter("text") if t.get("class") == "y"
    }
    places = {t.text: float(t.get("x")) for t in plot(html).iter("text") if t.get("class") == "x"}
    np.testing.assert_allclose(corners[:, 0], [places["0"], places["2"], places["4"]], atol=0.06)
    np.testing.assert_allclose(corners[:2, 1], [ticks["0"], ticks["10"]], atol=0.11)
    assert corners[2, 1] == pytest.approx((ticks["0"] + ticks["10"]) / 2, abs=0.11)


def test_labels_of_an_axis_have_equal_decimals():
    assert labels(draw(line(0.9, 1.6)), "y") == ["1.0", "1.2", "1.4", "1.6"]
    assert labels(draw(line(0.0, 2.0, 3.0)), "x") == ["0", "1", "2", "3", "4"]


def test_a_log_axis_is_used_where_values_span_a_decade():
    wide, narrow = line(1.0, 0.1, 0.01), line(1.0, 0.9, 0.8)
    (corners,) = points(draw(wide, is_log=True))
    assert np.diff(corners[:, 1]) == pytest.approx([np.diff(corners[:, 1])[0]] * 2, abs=0.11)
    assert "log scale" in draw(wide, is_log=True)
    assert "log scale" not in draw(wide)
    assert "log scale" not in draw(narrow, is_log=True)


def test_what_is_not_positive_is_left_out_of_a_log_axis():
    html = draw(line(0.0, 0.0, name="off"), line(100.0, 0.0, 1.0, -3.0, name="on"), is_log=True)
    (corners,) = points(html)
    assert len(corners) == 2
    # It keeps the colour that the legend gives it.
    assert [g.get("class") for g in plot(html).iter("g")] == ["line s1"]
    assert "off" in html


def test_nothing_positive_is_drawn_evenly():
    (corners,) = points(draw(line(0.0, 0.0), is_log=True))
    assert len(corners) == 2


@pytest.mark.parametrize("value", [0.0, 3.0, -2.0, 1e-12])
@pytest.mark.parametrize("is_from_zero", [False, True])
def test_a_constant_has_an_axis(value, is_from_zero):
    html = draw(line(value, value), is_from_zero=is_from_zero)
    (corners,) = points(html)
    assert np.isfinite(corners).all()
    assert len(labels(html, "y")) >= 2


def test_a_single_point_is_seen():
    html = draw(line(3.0))
    assert len(list(plot(html).iter("circle"))) == 1


def test_a_run_without_epochs_has_an_axis():
    assert labels(draw(line(3.0), x_end=0.0), "x")[0] == "0"


def test_noise_is_drawn_behind_its_mean():
    values = np.tile([1.0, 3.0], 200)
    html = draw(line(*values), x_end=400.0, is_noisy=True)
    (raw,), (mean,) = points(html, "raw"), points(html, "curve")
    assert np.ptp(raw[:, 1]) > 100
    assert np.ptp(mean[20:-20, 1]) < 0.1 * np.ptp(raw[:, 1])
    assert html.index('class="raw"') < html.index('class="curve" points')


def test_a_long_line_is_thinned():
    (corners,) = points(draw(line(*range(5000)), x_end=5000.0))
    assert len(corners) == MAX_POINTS


def test_a_chart_says_in_words_what_it_shows():
    html = draw(line(2.0, 5.0, 1.5, name="a < b"), line(1.0, name="c"), note="per person")
    told = plot(html).get("aria-label")
    assert told.startswith("Losses (per person) over epochs. a < b: newest 1.5, between 1.5 and 5.")
    assert "c: newest 1" in told
    assert plot(html).get("role") == "img"
    assert next(plot(html).iter("title")).text.startswith("a < b: newest")


def test_a_legend_names_several_lines_and_a_title_a_single_one():
    assert "legend" not in draw(line(1.0, 2.0))
    html = draw(line(1.0, name="one"), line(2.0, name="two"))
    assert re.findall(r"</svg>(\w+)</li>", html) == ["one", "two"]
