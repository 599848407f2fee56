"""The curves of Fig. 3 against a computation of their own."""

from decimal import Decimal, getcontext

import numpy as np

from fdps.reproduce.fig3 import (
    FIXED_NEGATIVES,
    NEGATIVES,
    POSITIVE,
    compute_curves,
    exponential,
    plot_exponential,
    plot_probability,
    probability,
)

CURVES = compute_curves(101)


def exact_probability(positive: float, negatives: tuple[float, ...]) -> float:
    """Eq. 6 in forty digits."""
    getcontext().prec = 40
    own, *others = ((Decimal(s) * 30).exp() for s in (positive, *negatives))
    return float(own / (own + sum(others)))


def test_the_exponential_is_that_of_forty_digits() -> None:
    getcontext().prec = 40
    exact = [float((Decimal(float(s)) * 30).exp()) for s in CURVES.exponents]
    np.testing.assert_allclose(CURVES.exponentials, exact, rtol=1e-12)
    assert exponential(np.zeros(1)).tolist() == [1.0]


def test_the_probabilities_are_those_of_forty_digits() -> None:
    by_positive = [exact_probability(float(s), NEGATIVES) for s in CURVES.similarities]
    by_negative = [
        exact_probability(POSITIVE, (*FIXED_NEGATIVES, float(s))) for s in CURVES.similarities
    ]
    np.testing.assert_allclose(CURVES.by_positive, by_positive, atol=1e-12, rtol=0)
    np.testing.assert_allclose(CURVES.by_negative, by_negative, atol=1e-12, rtol=0)


def test_both_curves_agree_where_they_mean_the_same() -> None:
    # Positive 0.8 among 0.3, 0.5, 0.7 is a point of either.
    assert abs(CURVES.by_positive[80] - CURVES.by_negative[50]) < 1e-12


def test_a_category_without_others_is_certain() -> None:
    assert probability(np.array([0.1]), np.zeros((1, 0))).tolist() == [1.0]


def test_the_figures_say_what_they_show() -> None:
    (exponents,) = plot_exponential(CURVES).axes
    assert exponents.get_xlabel() == "similarity s"
    assert "10¹⁰" in exponents.get_ylabel()
    figure = plot_probability(CURVES)
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(told) == 2
    assert "0.3, 0.5, 0.7" in told[0]
    colours = [line.get_color() for line in figure.axes[0].get_lines()]
    assert len(set(colours)) == 2
