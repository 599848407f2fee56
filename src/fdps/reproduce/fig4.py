"""Fig. 4: where people lie in the space of embeddings, under OIM and under BOIM.

Axes: N appearances of people, D embedding dimension, L identities.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int64

from fdps.analysis.curves import finish, new_figure
from fdps.engine.checkpoint import newest_checkpoint
from fdps.errors import ModelError, UsageError
from fdps.predictions import Predictions
from fdps.structures import SceneSet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_PEOPLE = 10
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
_OIM, _BOIM = "#0072b2", "#d55e00"  # blue and orange, as in the paper


def check_tsne() -> None:
    """Refuse to begin where scikit-learn is not installed.

    Raises:
        UsageError: The message names the extra.
    """
    try:
        import sklearn.manifold  # noqa: F401
    except ImportError:
        raise UsageError(
            "Fig. 4 draws a t-SNE, which needs scikit-learn",
            hint="pip install 'fdps[reproduce]'",
        ) from None


def choose_appearances(
    scenes: SceneSet, n_people: int = N_PEOPLE
) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]]:
    """Choose the people to draw: of those who are looked for, the ones seen most often.

    Args:
        scenes: The test scenes.
        n_people: Most people to draw.

    Returns:
        Rows of the annotated people, in the order of the scenes, and the identity of each.
    """
    ids = np.concatenate([np.zeros(0, np.int64), *(scene.person_ids for scene in scenes.scenes)])
    probes = np.unique([query.person_id for query in scenes.queries])
    counts = np.array([(ids == probe).sum() for probe in probes])
    shown = probes[np.argsort(-counts, kind="stable")][:n_people]
    rows = np.flatnonzero(np.isin(ids, shown))
    return rows, ids[rows]


def compute_tsne(embeddings: Float[np.ndarray, "N D"], seed: int = 0) -> Float[np.ndarray, "N 2"]:
    """Lay embeddings out in a plane, near ones near each other.

    Source: van der Maaten and Hinton, "Visualizing data using t-SNE", JMLR 2008.

    Args:
        embeddings: Unit rows, at least four.
        seed: Equal seeds give equal layouts with the same scikit-learn.

    Raises:
        UsageError: scikit-learn is not installed, or there are fewer than four rows.
    """
    check_tsne()
    if len(embeddings) < 4:
        raise UsageError(
            f"a t-SNE needs at least 4 appearances, got {len(embeddings)}",
            hint="the people whom the queries look for are seen too seldom",
        )
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(embeddings) - 1) / 3)
    layout = TSNE(perplexity=perplexity, init="pca", random_state=seed)
    points: Float[np.ndarray, "N 2"] = layout.fit_transform(embeddings.astype(np.float64))
    return points


def plot_tsne(
    predictions: Predictions, scenes: SceneSet, title: str, n_people: int = N_PEOPLE
) -> "Figure":
    """Plot Fig. 4a or 4b; a person has the same colour and marker in both.

    Args:
        predictions: Embeddings of the annotated people of ``scenes``, in their order.
        scenes: The test scenes.
        title: Text above.
        n_people: Most people to draw.

    Raises:
        UsageError: The same as for :func:`compute_tsne`.
    """
    rows, ids = choose_appearances(scenes, n_people)
    points = compute_tsne(predictions.embeddings[rows])
    figure, axes = new_figure(title)
    for number, person in enumerate(np.unique(ids)):
        x, y = points[ids == person].T
        axes.scatter(
            x,
            y,
            s=38,
            color=_COLOURS[number % len(_COLOURS)],
            marker=_MARKERS[number % len(_MARKERS)],
            label=f"person {person}",
            alpha=0.85,
            linewidths=0,
        )
    axes.set(xticks=[], yticks=[], xlabel="t-SNE, first axis", ylabel="t-SNE, second axis")
    return finish(figure, axes, bool(len(ids)), columns=4)


def centre_similarities(run: Path) -> Float[np.ndarray, " P"]:
    """Compute the similarities of all pairs of centres, the rows of the look-up table of OIM.

    Args:
        run: A finished run, with its last checkpoint.

    Returns:
        One for each pair of identities that were seen in training.

    Raises:
        ModelError: There is no checkpoint, or it has no look-up table.
    """
    checkpoint = newest_checkpoint(run)
    tables = {} if checkpoint is None else checkpoint.tensors.get("oim", {})
    if "memory.table.rows" not in tables:
        raise ModelError(f"{run} has no checkpoint with a look-up table")
    rows = tables["memory.table.rows"].double().numpy()
    rows = rows[(rows != 0).any(axis=1)]
    similarity = rows @ rows.T
    pairs: Float[np.ndarray, " P"] = similarity[np.triu_indices(len(rows), k=1)]
    return pairs


def plot_centres(
    oim: Float[np.ndarray, " P"], boim: Float[np.ndarray, " Q"], n_bins: int = 50
) -> "Figure":
    """Plot Fig. 4c: how alike the centres of different identities are under either loss.

    Args:
        oim: Similarities of all pairs, as :func:`centre_similarities` has them.
        boim: The same under BOIM, where other identities may have been seen.
        n_bins: Bars of the histogram.
    """
    figure, axes = new_figure("(c) Similarity of centres")
    both = np.concatenate([oim, boim])
    if len(both):
        edges = np.linspace(both.min(), both.max() + 1e-9, n_bins + 1)
        for name, values, colour, style in (("OIM", oim, _OIM, "-"), ("BOIM", boim, _BOIM, "--")):
            share = np.histogram(values, edges)[0] / max(len(values), 1)
            axes.stairs(share, edges, fill=True, alpha=0.25, color=colour)
            label = f"{name}, mean {values.mean():.3f}"
            axes.stairs(share, edges, color=colour, ls=style, lw=1.8, label=label)
    axes.set(xlabel="similarity of two centres", ylabel="share of the pairs")
    return finish(figure, axes, bool(len(both)), columns=2)
