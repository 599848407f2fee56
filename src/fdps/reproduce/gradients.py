"""Whose categories move an embedding: Eq. 8, measured at the checkpoints of a training.

The gradient of the OIM loss by an embedding pulls it to the row of its own identity and pushes it
from all others, each by a coefficient: ``p_t - 1`` and ``c_j`` of Eq. 8, divided by τ. Their sum is
zero, so that the own identity has exactly half of it, however many others share the other half.
L_neg of the balanced loss adds a push from hard negatives.

Axes: N labelled people, C embedding dimension, L identities, Q queue slots.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Int64

from fdps.analysis.curves import finish, line_style, new_figure
from fdps.analysis.page import Plot
from fdps.config import ModelConfig
from fdps.engine.checkpoint import FOLDER, NAME, Checkpoint, read_checkpoint
from fdps.errors import ModelError
from fdps.models import build_system
from fdps.pictures import read_picture
from fdps.reproduce.bench import evenly_spread
from fdps.reproduce.plan import PlannedRun
from fdps.reproduce.scores import Scores
from fdps.reproduce.section import Section
from fdps.reproduce.tables import Cell, Measured, ResultTable
from fdps.searcher import PersonSearcher
from fdps.structures import UNLABELLED, SceneSet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Gradients: the share of positive and negative categories (Eq. 8)"
VARIANTS = ("fdps", "fdps_boim")
N_SCENES = 48
"""Training scenes, evenly spread, whose people are embedded at every checkpoint."""


class Shares(NamedTuple):
    """Parts of all coefficients of the gradient by an embedding; means over people, in [0, 1]."""

    positive: float
    """The pull to the own identity."""
    identities: float
    """The push from all other identities, by OIM."""
    nearest: float
    """The push from the one identity with the largest coefficient; a part of ``identities``."""
    queue: float
    """The push from people without identity."""
    hard: float
    """The push from hard negatives, by L_neg."""


@dataclass(frozen=True)
class Weights:
    """The loss whose gradient is looked at.

    Args:
        temperature: τ of Eq. 6.
        w: Eq. 10, or 1.
        sigma: σ of Eq. 9; ``None`` without L_neg.
        beta: β of Eq. 9.
    """

    temperature: float
    w: float = 1.0
    sigma: float | None = None
    beta: float = 0.0


def shares(
    embeddings: Float[np.ndarray, "N C"],
    person_ids: Int64[np.ndarray, " N"],
    lut: Float[np.ndarray, "L C"],
    queue: Float[np.ndarray, "Q C"],
    weights: Weights,
) -> Shares:
    r"""Measure who has which part of the gradient by an embedding.

    .. math::
        \frac{\partial L}{\partial x} = \frac{w}{\tau} \Bigl[(p_t - 1) v_t + \sum_{j \ne t} c_j v_j
        + \sum_k c_k u_k \Bigr] + \frac{1}{|H|} \sum_{j \in H, v_j^\top x > \beta} v_j

    Source: FDPS, Eq. 8, with Eq. 9 to 11. Rows that were never written count for no one, though
    they stay in the denominator of the softmax.

    Args:
        embeddings: Unit rows of labelled people.
        person_ids: Identity of each, in 0..L-1.
        lut: One row per identity.
        queue: People without identity.
        weights: The loss.

    Raises:
        ValueError: There is nobody.
    """
    if not len(embeddings):
        raise ValueError("no labelled person to measure gradients of")
    x, rows = embeddings.astype(np.float64), np.concatenate([lut, queue]).astype(np.float64)
    similarity = x @ rows.T
    below_largest = similarity - similarity.max(axis=1, keepdims=True)
    coefficients = np.exp(below_largest / weights.temperature)
    coefficients /= coefficients.sum(axis=1, keepdims=True)
    everybody, n_identities = np.arange(len(x)), len(lut)
    scale = weights.w / weights.temperature
    positive = scale * (1 - coefficients[everybody, person_ids])
    coefficients[everybody, person_ids] = 0
    coefficients[:, ~(rows != 0).any(axis=1)] = 0
    others = scale * coefficients[:, :n_identities]
    parts = np.stack(
        [
            positive,
            others.sum(axis=1),
            others.max(axis=1),
            scale * coefficients[:, n_identities:].sum(axis=1),
            _hard(similarity[:, :n_identities], person_ids, lut, weights),
        ]
    )
    whole = parts[[0, 1, 3, 4]].sum(axis=0)
    means = (parts / np.where(whole > 0, whole, 1)).mean(axis=1)
    return Shares(*(float(mean) for mean in means))


def _hard(
    similarity: Float[np.ndarray, "N L"],
    person_ids: Int64[np.ndarray, " N"],
    lut: Float[np.ndarray, "L C"],
    weights: Weights,
) -> Float[np.ndarray, " N"]:
    """Return the sum of the coefficients of L_neg for each person."""
    if weights.sigma is None:
        return np.zeros(len(similarity))
    everybody = np.arange(len(similarity))
    own = similarity[everybody, person_ids][:, None]
    is_hard = (similarity > weights.sigma * own) & (lut != 0).any(axis=1)
    is_hard[everybody, person_ids] = False
    pushes = is_hard & (similarity > weights.beta)
    n_hard = np.maximum(is_hard.sum(axis=1), 1)
    summed: Float[np.ndarray, " N"] = pushes.sum(axis=1) / n_hard
    return summed


def make(scores: Scores, runs: Mapping[str, Sequence[PlannedRun]]) -> Section:
    """Measure the shares at every checkpoint that the first seed of each loss has kept."""
    scenes = evenly_spread(scores.bench.training(), N_SCENES)
    found: dict[str, dict[int, Shares]] = {}
    for seeds in runs.values():
        for run in seeds[:1]:
            if run.address in scores.failed:
                raise scores.failed[run.address]
            found[run.variant.label] = measure(run, scenes)
    rows: list[tuple[Cell, ...]] = [
        (label, f"{epoch}", *(Measured(100 * share, float("nan")) for share in values))
        for label, by_epoch in found.items()
        for epoch, values in by_epoch.items()
    ]
    table = ResultTable(
        "gradients",
        f"Shares of the gradient by an embedding, on {scores.bench.name}",
        ("loss", "epochs", *(_HEADS[name] for name in Shares._fields)),
        tuple(rows),
        f"Per cent of the sum of all coefficients, means over the labelled people of {len(scenes)} "
        "training scenes, embedded in evaluation mode; one seed. The nearest identity is one of "
        "the others.",
    )
    plot = Plot(
        plot_shares(found),
        "Under OIM the positive category has half of all coefficients by construction; the other "
        "half is divided among all negative categories and the queue.",
    )
    facts = {
        label: {str(epoch): values._asdict() for epoch, values in by_epoch.items()}
        for label, by_epoch in found.items()
    }
    return Section(TITLE, (table,), {"gradients": plot}, facts)


_HEADS = {
    "positive": "positive category",
    "identities": "other identities",
    "nearest": "nearest identity",
    "queue": "queue",
    "hard": "hard negatives (L_neg)",
}


def plot_shares(found: Mapping[str, Mapping[int, Shares]]) -> "Figure":
    """Plot the shares over epochs: a colour for each part, a style for each loss."""
    figure, axes = new_figure("Share of the gradient", size=(8.4, 5.4))
    markers = ("o", "s")
    for number, (label, by_epoch) in enumerate(found.items()):
        epochs = sorted(by_epoch)
        for k, part in enumerate(Shares._fields):
            values = [100 * getattr(by_epoch[epoch], part) for epoch in epochs]
            if not any(values):
                continue
            style = line_style(k) | {"ls": ("-", "--")[number % 2], "lw": 1.8}
            name = f"{label}: {_HEADS[part]}"
            axes.plot(epochs, values, marker=markers[number % 2], ms=5, label=name, **style)
    axes.set(xlabel="epochs", ylabel="share of all coefficients (%)", ylim=(0, 60))
    axes.locator_params(axis="x", integer=True)
    return finish(figure, axes, bool(found), columns=2)


def measure(run: PlannedRun, scenes: SceneSet) -> dict[int, Shares]:
    """Measure the shares at every checkpoint of a run.

    Args:
        run: A finished run.
        scenes: Training scenes with identities of the run.

    Returns:
        By finished epochs, rising.

    Raises:
        ModelError: There is no checkpoint, or one is damaged.
    """
    paths = sorted(p for p in (run.folder / FOLDER).glob("e*") if NAME.fullmatch(p.name))
    if not paths:
        raise ModelError(f"{run.folder} has no checkpoints to measure gradients at")
    return {
        int(checkpoint.state["progress"]["n_epochs"]): _at(run, checkpoint, scenes)
        for checkpoint in map(read_checkpoint, paths)
    }


def _at(run: PlannedRun, checkpoint: Checkpoint, scenes: SceneSet) -> Shares:
    memory, loss = checkpoint.tensors["oim"], run.recipe.loss
    lut = memory["memory.table.rows"]
    model = replace(run.recipe.model, backbone_weights="none")
    assert isinstance(model, ModelConfig)  # a row of Table 2
    net, criterion = build_system(model, loss, len(lut))
    net.load_state_dict(checkpoint.tensors["model"])
    criterion.load_state_dict(memory)
    searcher = PersonSearcher(net.eval(), checkpoint.path.name)
    labelled = [(scene, scene.person_ids != UNLABELLED) for scene in scenes.scenes]
    embeddings = [
        searcher.embed(read_picture(scene.path), scene.boxes[rows])
        for scene, rows in labelled
        if rows.any()
    ]
    ids = np.concatenate([scene.person_ids[rows] for scene, rows in labelled])
    dispersion = getattr(criterion, "dispersion", None)
    is_balanced = loss.name == "boim"
    weights = Weights(
        temperature=loss.temperature,
        w=1.0 if dispersion is None else float(dispersion.value(alpha=loss.alpha)),
        sigma=loss.sigma if is_balanced and loss.use_negatives else None,
        beta=loss.beta,
    )
    queue = memory["memory.queue.rows"].numpy()
    return shares(np.concatenate(embeddings), ids, lut.numpy(), queue, weights)
