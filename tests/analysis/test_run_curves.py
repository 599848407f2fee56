"""Curves of a run: the SVG holds the points, the names and nothing else."""

import re
from html import unescape
from xml.etree import ElementTree

import numpy as np
import pytest

from fdps.analysis.curves import plot_cmc
from fdps.analysis.rendering import inline_svg
from fdps.analysis.run_curves import MAX_POINTS, draw_charts

SVG = "{http://www.w3.org/2000/svg}"


def log(**values):
    """Lines of a log, one for each value; ``None`` is left out."""
    n = len(next(iter(values.values())))
    return [
        {"epoch": float(k)} | {name: v[k] for name, v in values.items() if v[k] is not None}
        for k in range(n)
    ]


def drawn(chart):
    return ElementTree.fromstring(chart.svg)


def curves(chart):
    """Corners of every thick line, in points; y grows downwards."""
    found = []
    for path in drawn(chart).iter(f"{SVG}path"):
        if "stroke-width: 2.2" in path.get("style", "") and path.get("clip-path"):
            numbers = re.findall(r"-?[\d.]+", path.get("d"))
            found.append(np.array(numbers, dtype=float).reshape(-1, 2))
    return found


def texts(chart):
    return ["".join(text.itertext()) for text in drawn(chart).iter(f"{SVG}text")]


def test_a_curve_is_where_its_values_are():
    (chart,) = draw_charts(log(memory_gib=[0.0, 10.0, 5.0]), [])
    (corners,) = curves(chart)
    assert len(corners) == 3
    assert np.diff(corners[:, 0]) == pytest.approx([np.diff(corners[:, 0])[0]] * 2, abs=0.01)
    bottom, top, middle = corners[:, 1]
    assert top < middle < bottom
    assert middle == pytest.approx((bottom + top) / 2, abs=0.01)


def test_title_axes_and_several_curves_are_named():
    (chart,) = draw_charts(log(reid=[3.0, 2.0], oim=[2.0, 1.5]), [])
    assert {"Re-ID loss", "epoch", "loss", "reid", "oim"} <= set(texts(chart))
    assert len(curves(chart)) == 2
    assert "oim: newest 1.5, between 1.5 and 2." in chart.description


def test_validation_is_drawn_in_per_cent_over_the_gaps():
    epochs = log(mAP=[0.1, None, 0.3, None], top1=[0.2, None, 0.5, None])
    (chart,) = draw_charts([], epochs)
    assert [len(corners) for corners in curves(chart)] == [2, 2]
    assert "mAP: newest 30, between 10 and 30." in chart.description


def test_a_single_point_is_seen():
    (chart,) = draw_charts([{"epoch": 0.5, "lr": 0.01}], [])
    assert list(drawn(chart).iter(f"{SVG}use"))
    assert "lr" not in texts(chart)


def test_nothing_is_drawn_of_nothing():
    assert draw_charts([], []) == []
    assert draw_charts([{"epoch": 1.0, "people": 3}, {"lr": 0.1}], []) == []


def test_a_log_axis_leaves_out_what_is_not_positive():
    (chart,) = draw_charts(log(grad_all=[0.0, 100.0, 1.0, 0.01, -1.0]), [])
    (corners,) = curves(chart)
    assert np.isfinite(corners).all()
    assert {"0.1", "1", "10", "100"} <= set(texts(chart))


@pytest.mark.parametrize("value", [0.0, 3.0, -2.0, 1e-12, 1e9])
def test_a_constant_has_an_axis(value):
    (chart,) = draw_charts(log(w=[value] * 3), [])
    (corners,) = curves(chart)
    assert np.isfinite(corners).all()


def test_a_long_noisy_curve_is_thinned_and_smoothed():
    noise = np.random.default_rng(0).uniform(1, 3, 5000)
    (chart,) = draw_charts(log(n_hard=noise.tolist()), [])
    (corners,) = curves(chart)
    assert len(corners) <= MAX_POINTS
    raw = next(
        p for p in drawn(chart).iter(f"{SVG}path") if "stroke-opacity: 0.3" in p.get("style", "")
    )
    heights = np.array(re.findall(r"-?[\d.]+", raw.get("d")), dtype=float)[1::2]
    assert np.ptp(corners[:, 1]) < np.ptp(heights)


def test_equal_logs_are_equal_bytes():
    steps = log(reid=[3.0, 2.0], oim=[2.0, 1.5])
    assert draw_charts(steps, []) == draw_charts(steps, [])
    assert "<dc:date>" not in draw_charts(steps, [])[0].svg


@pytest.mark.parametrize(
    "name", ["<script>", "$\\frac$", "_hidden", "a$b$c", "a\x1b[31m\nb", "x\ud800", "–—", "&amp;"]
)
def test_a_legend_prints_any_name_as_it_is(name):
    svg = inline_svg(plot_cmc({name: np.array([0.5, 1.0])}))
    assert "<script" not in svg
    assert "\x1b" not in svg
    shown = name.encode("unicode_escape").decode() if not name.isprintable() else name
    names = ["".join(t.itertext()) for t in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    assert shown in [text.removeprefix("\u200b") for text in names]
    assert unescape(svg).count("<svg") == 1


def test_losses_of_one_system_alone_are_drawn_as_well():
    steps = log(person=[0.5, 0.2], aligner=[3.0, 2.0], first_box=[0.2, 0.1], grad_extra=[1.0, 1.0])
    further = [chart for chart in draw_charts(steps, []) if "Further losses" in texts(chart)]
    assert len(further) == 1
    assert {"aligner", "first_box"} <= set(texts(further[0]))
    assert not {"person", "grad_extra"} & set(texts(further[0]))


def test_there_is_no_figure_of_further_losses_without_any():
    every = draw_charts(log(person=[0.5, 0.2], reid=[3.0, 2.0], people=[4, 5], lr=[1.0, 1.0]), [])
    assert not [chart for chart in every if "Further losses" in texts(chart)]
