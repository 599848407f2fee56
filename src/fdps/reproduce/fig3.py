"""Fig. 3: why the own identity outweighs all others under OIM. Formulas alone, no network.

Axes: K points.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from fdps.analysis.curves import finish, line_style, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPERATURE = 1 / 30
NEGATIVES = (0.3, 0.5, 0.7)
"""Similarities of the other categories while that of the own one changes (red in the paper)."""

POSITIVE, FIXED_NEGATIVES = 0.8, (0.3, 0.7)
"""Similarity of the own category, and of two others, while a third one changes (blue)."""

_LARGEST = 0.85  # the paper's ordinate is in units of 10^10, which exp(30 x) reaches at 0.77
_UNIT = 1e10


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """The three curves of Fig. 3.

    Args:
        exponents: Similarities of Fig. 3a.
        exponentials: exp(similarity / τ) at each.
        similarities: Similarities of Fig. 3b, from 0 to 1.
        by_positive: Probability of the own category over its own similarity.
        by_negative: The same over the similarity of one other category.
    """

    exponents: Float64[np.ndarray, " K"]
    exponentials: Float64[np.ndarray, " K"]
    similarities: Float64[np.ndarray, " M"]
    by_positive: Float64[np.ndarray, " M"]
    by_negative: Float64[np.ndarray, " M"]


def exponential(
    similarity: Float64[np.ndarray, "..."], temperature: float = TEMPERATURE
) -> Float64[np.ndarray, "..."]:
    r"""Compute :math:`\exp(s / \tau)` (Fig. 3a)."""
    return np.exp(similarity / temperature)


def probability(
    positive: Float64[np.ndarray, "..."],
    negatives: Float64[np.ndarray, "... N"],
    temperature: float = TEMPERATURE,
) -> Float64[np.ndarray, "..."]:
    r"""Compute the share of the own category among N others.

    .. math:: p = \frac{\exp(s_t / \tau)}{\exp(s_t / \tau) + \sum_j \exp(s_j / \tau)}

    Source: FDPS, Eq. 6, without the queue.

    Args:
        positive: Similarity to the own category.
        negatives: Similarities to the others, along the last axis.
        temperature: Divisor of similarities.
    """
    gaps = (negatives - positive[..., None]) / temperature
    share: Float64[np.ndarray, ...] = 1 / (1 + np.exp(gaps).sum(axis=-1))
    return share


def compute_curves(n_points: int = 401) -> Curves:
    """Compute all curves of Fig. 3, each at so many points."""
    exponents, similarities = np.linspace(0, _LARGEST, n_points), np.linspace(0, 1, n_points)
    others = np.broadcast_to(np.array(NEGATIVES), (n_points, len(NEGATIVES)))
    fixed = np.broadcast_to(np.array(FIXED_NEGATIVES), (n_points, len(FIXED_NEGATIVES)))
    one_changes = np.concatenate([fixed, similarities[:, None]], axis=1)
    return Curves(
        exponents,
        exponential(exponents),
        similarities,
        probability(similarities, others),
        probability(np.full(n_points, POSITIVE), one_changes),
    )


def plot_exponential(curves: Curves) -> "Figure":
    """Plot Fig. 3a."""
    figure, axes = new_figure("(a) exp(s / τ), τ = 1/30")
    axes.plot(curves.exponents, curves.exponentials / _UNIT, **line_style(0))
    axes.set(xlabel="similarity s", ylabel="exp(s / τ), in 10¹⁰", xlim=(0, _LARGEST))
    axes.set_ylim(bottom=0)
    return figure


def plot_probability(curves: Curves) -> "Figure":
    """Plot Fig. 3b."""
    figure, axes = new_figure("(b) Who decides over the probability")
    named = [
        (curves.by_positive, "positive changes; negatives 0.3, 0.5, 0.7", 1),
        (curves.by_negative, "a negative changes; positive 0.8, negatives 0.3, 0.7", 0),
    ]
    for values, name, style in named:
        axes.plot(curves.similarities, values, label=name, **line_style(style))
    axes.set(xlabel="similarity that changes", ylabel="probability of the positive category")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    return finish(figure, axes, True, columns=1)
