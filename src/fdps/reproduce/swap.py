r"""What each sub-feature encodes: every target read from every one of them (swap test).

FDPS hands ``rows`` to the vertical deltas of a box, ``cols`` to the horizontal ones, ``mean`` to
person/background and ``peak`` to re-ID (section 3.2 of the paper). Here the network stays as it
was trained, and linear models are fitted that read each target from each descriptor of its region
maps: ridge regression of the deltas, and of person against background. Identity is not fitted: the
nearest neighbour by the descriptor itself shows the same person, or not. If the decomposition
tells the tasks apart, the vertical deltas can be read from ``rows`` and not from ``cols``, and the
reverse.

Models are fitted on training scenes and measured on test scenes, whose people are others.

Axes: N regions, D length of a descriptor, T targets, C channels, H and W of a region map.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from scipy.stats import rankdata

from fdps.analysis.curves import finish, line_style, new_figure
from fdps.analysis.page import Plot
from fdps.boxes import iou
from fdps.engine.run_folder import WEIGHTS_FILE
from fdps.evaluation.statistics import over_seeds
from fdps.models import PersonSearchNet
from fdps.models.box_coder import encode
from fdps.models.decomposition import Marginals, decompose
from fdps.models.roi_heads import RoIHeads
from fdps.models.weights import load_weights
from fdps.pictures import read_picture
from fdps.reproduce.bench import evenly_spread
from fdps.reproduce.plan import PlannedRun
from fdps.reproduce.scores import Scores
from fdps.reproduce.section import Section
from fdps.reproduce.tables import Cell, Measured, ResultTable
from fdps.structures import UNLABELLED, Scene, SceneSet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Swap test: what each sub-feature encodes"
VARIANTS = ("oim_base", "fdps")
DELTAS = ("dx", "dy", "dw", "dh")
FIGURES = (*DELTAS, "person", "identity")
N_SCENES = 200
"""Scenes of each split, evenly spread; every annotated person of them is looked at."""
REGIONS_PER_PERSON = 3
SHIFT, LOG_SCALE = 0.25, 0.25
"""Largest shift of a region from its box, in sides of the box, and change of a side's logarithm."""
RIDGES = (1e-3, 1e-2, 1e-1, 1.0)
"""Strengths to choose from, in mean squared lengths of a standardised descriptor."""


class Regions(NamedTuple):
    """Regions of a picture, and what they should say."""

    boxes: Float32[np.ndarray, "N 4"]
    """The regions, in pixels of the picture."""
    wanted: Float32[np.ndarray, "N 4"]
    """The annotated box of each that shows a person; the region itself for background."""
    is_person: Bool[np.ndarray, " N"]


@dataclass(frozen=True)
class Read:
    """Descriptors of regions, with what should be read from them.

    Args:
        descriptors: (N, D) of each name in :class:`~fdps.models.decomposition.Marginals`.
        deltas: (N, 4) of :data:`DELTAS`, zeros for background.
        is_person: (N,)
        people: (M, D) descriptors of annotated boxes of labelled people.
        person_ids: (M,) their identities.
        scenes: (M,) and the scenes that they are in.
    """

    descriptors: Mapping[str, Float32[np.ndarray, "N _"]]
    deltas: Float[np.ndarray, "N 4"]
    is_person: Bool[np.ndarray, " N"]
    people: Mapping[str, Float32[np.ndarray, "M _"]]
    person_ids: Int64[np.ndarray, " M"]
    scenes: Int64[np.ndarray, " M"]


def make(scores: Scores, runs: Mapping[str, Sequence[PlannedRun]]) -> Section:
    """Fit and measure the readings of every seed of the systems."""
    fitted = evenly_spread(scores.bench.training(), N_SCENES)
    tested = evenly_spread(scores.scenes, N_SCENES)
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    for seeds in runs.values():
        for run in seeds:
            if run.address in scores.failed:
                raise scores.failed[run.address]
            net, _ = load_weights(run.folder / WEIGHTS_FILE)
            readings = measure(read(net, fitted, seed=1), read(net, tested, seed=2))
            of_system = found.setdefault(run.variant.label, {})
            for name, figures in readings.items():
                of_system.setdefault(name, []).append(figures)
    rows: list[tuple[Cell, ...]] = [
        (label, name, *(_cell([seed[figure] for seed in seeds]) for figure in FIGURES))
        for label, readings_of in found.items()
        for name, seeds in readings_of.items()
    ]
    table = ResultTable(
        "swap",
        f"Targets read from each descriptor of the region map, on {scores.bench.name}",
        ("system", "read from", *(_HEADS[name] for name in FIGURES)),
        tuple(rows),
        f"Per cent: share of the variance of a delta that ridge regression explains on people who "
        f"were not in training (R², below 0 where it is worse than the mean); area under the curve "
        f"of person against background; share of sightings whose nearest neighbour in another "
        f"scene is the same person. {len(fitted)} training and {len(tested)} test scenes.",
    )
    plots = {
        f"swap_{key}": Plot(
            plot_readings(found[seeds[0].variant.label], seeds[0].variant.label),
            "A marker for each descriptor. FDPS reads dy and dh from the rows, dx and dw from the "
            "columns, person from the mean and identity from the peak.",
        )
        for key, seeds in runs.items()
    }
    return Section(TITLE, (table,), plots, {"readings": found})


_HEADS = {name: f"{name}, R²" for name in DELTAS} | {
    "person": "person, AUC",
    "identity": "identity, top-1",
}


def _cell(values: list[float]) -> Measured:
    spread = over_seeds(values)
    return Measured(100 * spread.mean, 100 * spread.deviation)


def plot_readings(readings: Mapping[str, Sequence[Mapping[str, float]]], label: str) -> "Figure":
    """Plot the mean over seeds of every reading: a marker for each descriptor."""
    figure, axes = new_figure(f"What can be read, {label}", size=(7.2, 4.6))
    for number, (name, seeds) in enumerate(readings.items()):
        values = [100 * float(np.mean([seed[figure] for seed in seeds])) for figure in FIGURES]
        places = np.arange(len(FIGURES)) + 0.12 * (number - 1.5)
        style = line_style(number) | {"ls": "none"}
        axes.plot(places, values, marker="osD^"[number % 4], ms=7, label=name, **style)
    axes.set(ylabel="R², AUC or top-1 (%)", ylim=(-10, 105))
    axes.set_xticks(np.arange(len(FIGURES)), [_HEADS[name] for name in FIGURES], fontsize=8)
    axes.axhline(0, color="0.6", lw=0.8)
    return finish(figure, axes, bool(readings), columns=4)


def read(net: PersonSearchNet, scenes: SceneSet, *, seed: int) -> Read:
    """Take the descriptors of regions near every person, of background, and of annotated boxes.

    Args:
        net: In evaluation mode, with one stage of region heads.
        scenes: Pictures with annotated people.
        seed: Draws the regions.
    """
    rng = np.random.default_rng(seed)
    regions, ids, where = [], [], []
    descriptors: list[Marginals] = []
    of_people: list[Marginals] = []
    for number, scene in enumerate(scenes.scenes):
        if not len(scene.boxes):
            continue
        picture = read_picture(scene.path)
        drawn = draw_regions(scene, picture.shape[:2], rng)
        labelled = scene.person_ids != UNLABELLED
        boxes = np.concatenate([drawn.boxes, scene.boxes[labelled]])
        found = region_marginals(net, picture, boxes)
        descriptors.append(Marginals(*(values[: len(drawn.boxes)] for values in found)))
        of_people.append(Marginals(*(values[len(drawn.boxes) :] for values in found)))
        regions.append(drawn)
        ids.append(scene.person_ids[labelled])
        where.append(np.full(int(labelled.sum()), number))
    wanted = torch.from_numpy(np.concatenate([one.wanted for one in regions]))
    near = torch.from_numpy(np.concatenate([one.boxes for one in regions]))
    return Read(
        _joined(descriptors),
        encode(wanted, near, (1.0, 1.0, 1.0, 1.0)).double().numpy(),
        np.concatenate([one.is_person for one in regions]),
        _joined(of_people),
        np.concatenate(ids),
        np.concatenate(where),
    )


def _joined(parts: Sequence[Marginals]) -> dict[str, Float32[np.ndarray, "N _"]]:
    return {
        name: torch.cat([getattr(part, name).flatten(1) for part in parts]).numpy()
        for name in Marginals._fields
    }


@torch.inference_mode()
def region_marginals(
    net: PersonSearchNet, picture: np.ndarray, boxes: Float32[np.ndarray, "N 4"]
) -> Marginals:
    """Decompose the region maps of given boxes, whatever the network itself makes of them.

    Args:
        net: In evaluation mode, with one stage of region heads.
        picture: RGB.
        boxes: In pixels of the picture.
    """
    heads = net.roi_heads
    if not isinstance(heads, RoIHeads):
        raise TypeError(f"one stage of region heads is read, not {type(heads).__name__}")
    image = torch.from_numpy(picture.copy()).permute(2, 0, 1).float() / 255
    batch, moved = net.transform([image], [{"boxes": torch.from_numpy(boxes)}])
    assert moved is not None  # there were targets
    aligned = heads.pool(net.features(batch), [moved[0]["boxes"]])
    return decompose(heads.region_head(aligned))


def draw_regions(scene: Scene, size: tuple[int, int], rng: np.random.Generator) -> Regions:
    """Draw regions near every annotated box, and as many without a person.

    Args:
        scene: With at least one box.
        size: Height and width of the picture.
        rng: Draws.
    """
    boxes = np.repeat(scene.boxes, REGIONS_PER_PERSON, axis=0).astype(np.float64)
    sides = boxes[:, 2:] - boxes[:, :2]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 + sides * rng.uniform(-SHIFT, SHIFT, sides.shape)
    near = _inside(centres, sides * np.exp(rng.uniform(-LOG_SCALE, LOG_SCALE, sides.shape)), size)
    anywhere = rng.uniform(0, 1, sides.shape) * (size[1], size[0])
    empty = _inside(anywhere, sides, size)
    empty = empty[(iou(empty, scene.boxes) < 0.1).all(axis=1)]
    regions = np.concatenate([near, empty])
    is_person = np.arange(len(regions)) < len(near)
    wanted = np.where(is_person[:, None], np.resize(boxes, regions.shape), regions)
    return Regions(regions, wanted.astype(np.float32), is_person)


def _inside(
    centres: Float[np.ndarray, "N 2"], sides: Float[np.ndarray, "N 2"], size: tuple[int, int]
) -> Float32[np.ndarray, "N 4"]:
    """Return boxes cut by the borders of the picture, each at least a pixel wide and high."""
    limit = np.array([size[1], size[0]], dtype=np.float64)
    first = np.clip(centres - sides / 2, 0, limit - 1)
    last = np.clip(np.maximum(centres + sides / 2, first + 1), 1, limit)
    return np.concatenate([first, last], axis=1).astype(np.float32)


def measure(fitted: Read, tested: Read) -> dict[str, dict[str, float]]:
    """Fit readings and measure them.

    Args:
        fitted: Regions to fit on.
        tested: Regions to measure on.

    Returns:
        :data:`FIGURES` of every descriptor, as fractions.
    """
    found = {}
    for name, descriptors in fitted.descriptors.items():
        test = tested.descriptors[name]
        rows, test_rows = fitted.is_person, tested.is_person
        deltas = ridge(descriptors[rows], fitted.deltas[rows], test[test_rows])
        explained = r_squared(tested.deltas[test_rows], deltas)
        person = ridge(descriptors, 2.0 * fitted.is_person[:, None] - 1, test)[:, 0]
        found[name] = dict(zip(DELTAS, explained.tolist(), strict=True)) | {
            "person": area_under_curve(person, tested.is_person),
            "identity": nearest_is_same(tested.people[name], tested.person_ids, tested.scenes),
        }
    return found


def ridge(
    inputs: Float[np.ndarray, "N D"],
    targets: Float[np.ndarray, "N T"],
    asked: Float[np.ndarray, "M D"],
) -> Float[np.ndarray, "M T"]:
    """Fit ridge regression and predict.

    Inputs are standardised. The strength is the one of :data:`RIDGES` that is best on every fifth
    row when it is fitted on the others, for all targets together.

    Args:
        inputs: To fit on.
        targets: Of the inputs.
        asked: Inputs to predict for.
    """
    mean, deviation = inputs.mean(axis=0), inputs.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1)
    x, z = ((rows.astype(np.float64) - mean) / scale for rows in (inputs, asked))
    kernel = x @ x.T
    is_held = np.arange(len(x)) % 5 == 4
    errors = [
        np.square(
            _dual(kernel, targets, ~is_held, kernel[is_held], strength) - targets[is_held]
        ).sum()
        for strength in RIDGES
    ]
    everything = np.ones(len(x), dtype=bool)
    return _dual(kernel, targets, everything, z @ x.T, RIDGES[int(np.argmin(errors))])


def _dual(
    kernel: Float[np.ndarray, "N N"],
    targets: Float[np.ndarray, "N T"],
    fitted: Bool[np.ndarray, " N"],
    products: Float[np.ndarray, "M N"],
    strength: float,
) -> Float[np.ndarray, "M T"]:
    """Solve ridge regression by the products of its inputs, of which there are fewer than D."""
    own = kernel[np.ix_(fitted, fitted)]
    mean = targets[fitted].mean(axis=0)
    # The strength is relative to the mean squared length, so that it fits every D.
    ridged = own + strength * np.trace(own) * np.eye(len(own))
    weights = np.linalg.solve(ridged, targets[fitted] - mean)
    predicted: Float[np.ndarray, "M T"] = products[:, fitted] @ weights + mean
    return predicted


def r_squared(
    true: Float[np.ndarray, "N T"], predicted: Float[np.ndarray, "N T"]
) -> Float[np.ndarray, " T"]:
    """Return the share of the variance of each target that is predicted; 1 is all of it."""
    left = np.square(true - predicted).sum(axis=0)
    all_of_it = np.square(true - true.mean(axis=0)).sum(axis=0)
    share: Float[np.ndarray, " T"] = 1 - left / np.where(all_of_it > 0, all_of_it, 1)
    return share


def area_under_curve(scores: Float[np.ndarray, " N"], is_true: Bool[np.ndarray, " N"]) -> float:
    """Return the chance that a true one is scored above a false one; ties count half."""
    n_true = int(is_true.sum())
    n_false = len(is_true) - n_true
    if not n_true or not n_false:
        return float("nan")
    ranks = rankdata(scores)[is_true].sum()
    return float((ranks - n_true * (n_true + 1) / 2) / (n_true * n_false))


def nearest_is_same(
    descriptors: Float[np.ndarray, "M D"],
    person_ids: Int64[np.ndarray, " M"],
    scenes: Int64[np.ndarray, " M"],
) -> float:
    """Return the share of sightings whose nearest neighbour in another scene is the same person.

    Neighbours are those of the largest cosine, after the mean is taken away. Sightings of people
    whom no other scene shows do not count.
    """
    centred = descriptors - descriptors.mean(axis=0)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = centred / np.where(lengths > 0, lengths, 1)
    similarity = unit @ unit.T
    is_other = scenes[:, None] != scenes
    is_same = person_ids[:, None] == person_ids
    counts = (is_same & is_other).any(axis=1)
    nearest = np.where(is_other, similarity, -np.inf).argmax(axis=1)
    hit = is_same[np.arange(len(nearest)), nearest]
    return float(hit[counts].mean()) if counts.any() else float("nan")
