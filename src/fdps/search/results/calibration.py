"""Calibrated similarities: the wrong candidates to expect in an archive of any size.

A labelled set tells how often somebody is as similar to a stranger as a hit is (the *rate*, per
comparison). An archive of N people makes N comparisons, so N times the rate are the wrong
candidates to expect. Where strangers were rarely so similar, the rate is extrapolated; see
``docs/concepts/calibration.md``.

Axes: K levels, G groups of people, R resamples.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from fdps.errors import DataError, ModelError
from fdps.search.results.comparisons import Comparisons
from fdps.search.store import Store, check_model

FORMAT, VERSION = "fdps-calibration", 1
ARCHIVE_SIZE = 10_000
"""Number of people in the archive for which the rules choose the two thresholds."""
STRONG_WRONG = 0.1
"""Most wrong candidates to expect there per search, among strong hits."""
LOOK_WRONG = 10.0
"""Most wrong candidates to expect there per search, among hits worth a look ..."""
LOOK_KEPT = 0.9
"""... which are not less similar than it takes to keep this share of the true matches."""
TAIL_SHARE = 1e-3
"""The share of comparisons that the tail is fitted to ..."""
TAIL_COUNT = 200
"""... but at least so many comparisons."""
MIN_COMPARED = 1000
_RESAMPLES = 200
_INTERVAL = (2.5, 97.5)  # percentiles that bound the interval
_NOTE = "calibration"  # key under which an archive keeps it
_LEAST_RATE = 1e-15  # stands for never, so that logarithms exist

Level = Literal["strong", "worth a look", "weak"]
Verdict = Literal["candidates", "probably_not_present"]


@dataclass(frozen=True, slots=True)
class Expected:
    """The number of wrong candidates to expect, with a 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """The similarities of one model, and how sure they are.

    Args:
        model_hash: Hash of the model.
        data: Name of the labelled set.
        data_hash: Hash of its annotations.
        min_frame_gap: Distance in frames; sightings nearer to the query were left out.
        n_people: Number of identities in the set.
        n_queries: Number of detections that were looked for.
        n_same: Number of comparisons with the same person, one per query and scene.
        n_different: Number of comparisons with others.
        strong: Similarity from which a hit is strong.
        worth_a_look: Similarity from which a hit is worth a look.
        tail_start: Similarity from which on the rate is extrapolated.
        tail_shape: Shape of the generalised Pareto distribution beyond; 0 is an exponential.
        similarity: Rising levels; the other lists hold a number for each.
        rate: Share of comparisons with others that are at least so similar.
        low: Lower bound of the rate.
        high: Upper bound of the rate.
        kept: Share of comparisons with the same person that are at least so similar.
        found: Share of queries that have such a comparison.
    """

    model_hash: str
    data: str
    data_hash: str
    min_frame_gap: int
    n_people: int
    n_queries: int
    n_same: int
    n_different: int
    strong: float
    worth_a_look: float
    tail_start: float
    tail_shape: float
    similarity: tuple[float, ...]
    rate: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    kept: tuple[float, ...]
    found: tuple[float, ...]

    def expected_wrong(self, similarity: float, n_people: int) -> Expected:
        """Return the expected wrong candidates of at least this similarity among so many people."""
        at = max(similarity, self.similarity[0])
        curves = (self.rate, self.low, self.high)
        logs = [np.interp(at, self.similarity, np.log(np.maximum(c, _LEAST_RATE))) for c in curves]
        mean, low, high = (n_people * float(np.exp(value)) for value in logs)
        return Expected(mean, min(low, mean), max(high, mean))

    def similarity_of_rate(self, rate: float) -> float:
        """Return the lowest similarity that at most this share of the comparisons reach."""
        return _first_at(np.array(self.similarity), np.array(self.rate), rate)

    def kept_at(self, similarity: float) -> float:
        """Return the share of the true matches that are at least so similar."""
        return float(np.interp(similarity, self.similarity, self.kept))

    def found_at(self, similarity: float) -> float:
        """Return the share of people seen again who have a true match at least so similar."""
        return float(np.interp(similarity, self.similarity, self.found))

    def level(self, similarity: float) -> Level:
        """Say in words how sure a hit is."""
        if similarity >= self.strong:
            return "strong"
        return "worth a look" if similarity >= self.worth_a_look else "weak"

    def verdict(self, similarities: Iterable[float]) -> Verdict:
        """Tell whether any hit is worth a look."""
        seen = any(similarity >= self.worth_a_look for similarity in similarities)
        return "candidates" if seen else "probably_not_present"


def calibrate(
    comparisons: Comparisons,
    *,
    model_hash: str,
    data: str = "",
    data_hash: str = "",
    min_frame_gap: int = 0,
    seed: int = 0,
) -> Calibration:
    """Fit the rate of wrong candidates, and choose the two thresholds.

    The rate is what was counted, down to the last :data:`TAIL_SHARE` of the comparisons; beyond,
    it falls as a generalised Pareto distribution with the mean and variance of those, which is
    never heavier than an exponential and never ends below a similarity of 1.

    *Strong* is the lowest similarity with at most :data:`STRONG_WRONG` wrong candidates expected
    in an archive of :data:`ARCHIVE_SIZE` people. *Worth a look* keeps :data:`LOOK_KEPT` of the
    true matches, or is higher if more than :data:`LOOK_WRONG` wrong ones would come with them; it
    is never above *strong*.

    Args:
        comparisons: Comparisons on a labelled set.
        model_hash: Hash of the model that embedded it.
        data: Name of the set.
        data_hash: Hash of its annotations.
        min_frame_gap: Distance in frames, as given to
            :func:`~fdps.search.results.comparisons.compare`.
        seed: Seed of the resamples of people that give the bounds.

    Raises:
        DataError: There are fewer than :data:`MIN_COMPARED` comparisons with others.
    """
    n_different = int(comparisons.compared.sum())
    if n_different < MIN_COMPARED:
        raise DataError(
            f"calibration needs at least {MIN_COMPARED} comparisons of different people, the data "
            f"give {n_different}",
            hint="use a larger labelled set",
        )
    levels = comparisons.levels
    ones = np.ones(len(comparisons.compared))
    (counted,) = _weighted_rates(comparisons, ones[np.newaxis])
    start = _tail_start(counted, n_different)
    rate, shape = _with_tail(levels, counted, start)
    low, high = _bounds(comparisons, start, np.random.default_rng(seed))
    same = comparisons.same
    kept = (same[:, None] >= levels).mean(axis=0)
    strong = _first_at(levels, rate, STRONG_WRONG / ARCHIVE_SIZE)
    look = max(
        _first_at(levels, rate, LOOK_WRONG / ARCHIVE_SIZE), float(np.quantile(same, 1 - LOOK_KEPT))
    )
    found = (comparisons.best[:, None] >= levels).mean(axis=0)
    return Calibration(
        model_hash=model_hash,
        data=data,
        data_hash=data_hash,
        min_frame_gap=min_frame_gap,
        n_people=comparisons.n_people,
        n_queries=comparisons.n_queries,
        n_same=len(same),
        n_different=n_different,
        strong=strong,
        worth_a_look=min(look, strong),
        tail_start=float(levels[start]),
        tail_shape=shape,
        similarity=_numbers(levels),
        rate=_numbers(rate),
        low=_numbers(low),
        high=_numbers(high),
        kept=_numbers(kept),
        found=_numbers(found),
    )


def to_json(calibration: Calibration) -> str:
    """Write the text that :func:`from_json` reads, with the rules that chose the thresholds."""
    rules = {
        "archive_size": ARCHIVE_SIZE,
        "strong": f"at most {STRONG_WRONG} wrong candidates",
        "worth_a_look": f"keeps {LOOK_KEPT:.0%} of true matches, at most {LOOK_WRONG:g} wrong",
    }
    header = {"format": FORMAT, "version": VERSION, "rules": rules}
    return json.dumps(header | asdict(calibration)) + "\n"


def from_json(text: str, *, where: object, model_hash: str | None = None) -> Calibration:
    """Read a calibration.

    Args:
        text: Text from :func:`to_json`.
        where: The place of the calibration, for messages.
        model_hash: Hash of the model at hand; ``None`` accepts any.

    Raises:
        ModelError: The text is malformed, of another version, or of another model.
    """
    try:
        values: dict[str, Any] = json.loads(text)
        found = values.pop("format"), values.pop("version")
        values.pop("rules", None)
        if found != (FORMAT, VERSION):
            raise ModelError(f"{where} holds {found[0]} {found[1]}, expected {FORMAT} {VERSION}")
        numbers = {key: tuple(map(float, v)) for key, v in values.items() if isinstance(v, list)}
        calibration = Calibration(**(values | numbers))
        _check(calibration)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{where} is not a calibration: {error}", hint="make it again: fdps models calibrate"
        ) from error
    if model_hash is not None and calibration.model_hash != model_hash:
        raise ModelError(
            f"{where} is the calibration of model {calibration.model_hash[:12]}, this model is "
            f"{model_hash[:12]}; their similarities differ",
            hint="make it again: fdps models calibrate",
        )
    return calibration


def kept_calibration(store: Store) -> Calibration | None:
    """Return the calibration that an archive keeps, or ``None`` if it keeps none.

    Raises:
        ModelError: What the archive keeps is malformed or of another model.
    """
    text = store.note(_NOTE)
    if text is None:
        return None
    where = f"the archive of {store.info.model or 'this model'}"
    return from_json(text, where=where, model_hash=store.info.model_hash)


def keep_calibration(store: Store, calibration: Calibration) -> None:
    """Keep a calibration in an archive.

    Raises:
        ArchiveError: The calibration is of another model, another process writes, or the archive is
            read-only.
    """
    check_model(store.info, calibration.model_hash, "the archive")
    store.write_note(_NOTE, to_json(calibration))


def _check(calibration: Calibration) -> None:
    """Refuse values that would give nonsense: lists of unequal length, levels that do not rise."""
    curves = (calibration.rate, calibration.low, calibration.high)
    shares = (*curves, calibration.kept, calibration.found)
    if len({len(calibration.similarity), *map(len, shares)}) > 1:
        raise ValueError("its curves are not equally long lists of numbers")
    rows = np.array([calibration.similarity, *shares], dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] < 2 or not np.isfinite(rows).all():
        raise ValueError("its curves are not equally long lists of numbers")
    if (np.diff(rows[0]) <= 0).any() or (rows[1:] < 0).any() or (rows[1:] > 1).any():
        raise ValueError("its levels do not rise, or its shares are not in 0..1")
    if not -1 <= float(calibration.worth_a_look) <= float(calibration.strong) <= 1 + 1e-6:
        raise ValueError("its thresholds are not in order")


def _weighted_rates(
    comparisons: Comparisons, weights: Float64[np.ndarray, "R G"]
) -> Float64[np.ndarray, "R K"]:
    """Return rates at each level, with people counted so often; detections of nobody count once."""
    theirs = np.concatenate([weights, np.ones((len(weights), 1))], axis=1)
    n = ((weights @ comparisons.compared) * theirs).sum(axis=1)
    n_groups, n_others, n_levels = comparisons.above.shape
    asked = weights @ comparisons.above.reshape(n_groups, -1).astype(np.float64)
    n_above = np.einsum("rgk,rg->rk", asked.reshape(-1, n_others, n_levels), theirs)
    return np.asarray(n_above / np.maximum(n, 1.0)[:, np.newaxis])


def _tail_start(rate: Float64[np.ndarray, " K"], n: int) -> int:
    """Find the first level that at most the tail's share of comparisons reach, but some do."""
    share = max(TAIL_SHARE, TAIL_COUNT / n)
    reached = int((rate > 0).sum()) - 1
    return min(int((rate > share).sum()), max(reached, 0))


def _with_tail(
    levels: Float64[np.ndarray, " K"], rate: Float64[np.ndarray, " K"], start: int
) -> tuple[Float64[np.ndarray, " K"], float]:
    """Replace the end of a curve by a generalised Pareto distribution, and return its shape too.

    The method of moments gives it: with mean m and variance v of what exceeds the start, the shape
    is (1 − m²/v) / 2 and the scale m (1 − shape).
    """
    over, tail = levels[start:] - levels[start], rate[start:]
    if len(tail) == 1 or tail[0] == 0:
        return np.maximum(rate, _LEAST_RATE), 0.0
    survival = tail / tail[0]
    mean = max(float(np.trapezoid(survival, over)), float(over[1]))
    square = 2 * float(np.trapezoid(over * survival, over))
    variance = max(square - mean**2, float(over[1]) ** 2)
    # The end, mean * (1 - 1 / shape), is 1 at least: an equal picture is always possible.
    lowest = -1 / max(float(over[-1]) / mean - 1, 1e-6)
    shape = float(np.clip((1 - mean**2 / variance) / 2, lowest, 0))
    scale = mean * (1 - shape)
    if shape > -1e-6:
        survival = np.exp(-over / scale)
    else:
        survival = np.maximum(1 + shape * over / scale, 0) ** (-1 / shape)
    smooth = np.concatenate([rate[:start], tail[0] * survival])
    return np.maximum(smooth, _LEAST_RATE), shape


def _bounds(
    comparisons: Comparisons, start: int, rng: np.random.Generator
) -> tuple[Float64[np.ndarray, " K"], Float64[np.ndarray, " K"]]:
    """Return percentiles of the curve over resampled people, both as queries and as results."""
    n = len(comparisons.compared)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=_RESAMPLES).astype(np.float64)
    rates = _weighted_rates(comparisons, weights)
    curves = [_with_tail(comparisons.levels, rate, start)[0] for rate in rates]
    low, high = np.percentile(curves, _INTERVAL, axis=0)
    return np.asarray(low), np.asarray(high)


def _first_at(
    levels: Float64[np.ndarray, " K"], rate: Float64[np.ndarray, " K"], limit: float
) -> float:
    """Return the lowest similarity at which a falling curve is at its limit; 1 if it never is."""
    if rate[0] <= limit:
        return float(levels[0])
    if rate[-1] > limit:
        return 1.0
    return float(np.interp(-np.log(limit), -np.log(rate), levels))


def _numbers(values: Float64[np.ndarray, " K"]) -> tuple[float, ...]:
    return tuple(float(f"{value:.8g}") for value in values.tolist())
