"""Explain the hits of a search: levels, wrong candidates to expect, and the verdict."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdps.cli.models.calibrate import mark
from fdps.errors import ModelError

if TYPE_CHECKING:
    from fdps.search import Index
    from fdps.search.results.calibration import Calibration
    from fdps.structures import Hit


def calibration_of(index: "Index", model: str) -> "tuple[Calibration | None, str]":
    """Return the calibration of the archive, else that of the model; if there is none, say why.

    Raises:
        ModelError: What the archive remembers is malformed.
    """
    from fdps.embedders import find_model
    from fdps.embedders.info import read_calibration

    if index.calibration is not None:
        return index.calibration, ""
    try:
        return read_calibration(find_model(model), index.info.model_hash), ""
    except ModelError as error:
        return None, str(error)


def remember_calibration(index: "Index", model: Path | None) -> None:
    """Let an archive keep the calibration beside its model, if it has none."""
    if index.calibration is None:
        calibration, _ = calibration_of(index, str(model or index.info.model))
        if calibration is not None:
            index.calibrate(calibration)


def reading_figures(
    calibration: "Calibration | None",
    hits: "list[Hit]",
    n_people: int,
    why: str = "",
    no_verdict: str = "",
) -> dict[str, Any]:
    """Give the thresholds in an archive of this size and the verdict, for JSON.

    Where there is no verdict, ``why`` says the reason.
    """
    if calibration is None:
        return {"calibration": None, "verdict": None, "why": why or "the model is not calibrated"}
    return {
        "calibration": {
            "data": calibration.data,
            "model_hash": calibration.model_hash,
            "thresholds": {
                "strong": mark(calibration, calibration.strong, n_people),
                "worth_a_look": mark(calibration, calibration.worth_a_look, n_people),
            },
        },
        "verdict": None if no_verdict else calibration.verdict(hit.similarity for hit in hits),
        **({"why": no_verdict} if no_verdict else {}),
    }


def reading(
    calibration: "Calibration | None",
    hits: "list[Hit]",
    n_people: int,
    model: str,
    why: str = "",
    *,
    no_levels: str = "",
    no_verdict: str = "",
) -> list[str]:
    """Lines for people.

    Args:
        calibration: If there is one.
        hits: Hits of the search.
        n_people: In the archive.
        model: The name that the user gave.
        why: Why there is no calibration, if there might be one.
        no_levels: Why the calibration does not apply to these hits.
        no_verdict: Why it cannot be told whether the person is in the archive.
    """
    if no_levels:
        return [f"Reading No levels and no verdict: {no_levels}."]
    if calibration is None:
        reason = why or "Not calibrated: how many of these are wrong is not known"
        return [
            f"Reading {reason}. To learn it:",
            f"        fdps models calibrate {model or 'MODEL'} --data KIND --root DIR",
        ]
    strong, look = (
        _number(calibration.expected_wrong(at, n_people).mean)
        for at in (calibration.strong, calibration.worth_a_look)
    )
    about = "at most about" if no_verdict else "about"  # a filter leaves fewer people
    lines = [
        f"Reading With {n_people:,} people indexed, expect {about} {strong} wrong hits at "
        f'"strong" and {look} at "worth a look".'
    ]
    if no_verdict:
        lines.append(f"        No verdict on whether the person is here: {no_verdict}.")
    elif calibration.verdict(hit.similarity for hit in hits) == "probably_not_present":
        share = calibration.found_at(calibration.worth_a_look)
        lines.append(
            '        Probably not here: nobody reaches "worth a look". Of people who were, '
            f"{share:.0%} did ({calibration.data or 'calibration data'})."
        )
    return lines


def _number(value: float) -> str:
    """Two digits are as many as anybody knows.

    Example:
        >>> [_number(x) for x in (0.0, 0.0049, 0.123, 2.34, 1234.5)]
        ['0', '0.0049', '0.12', '2.3', '1,200']
    """
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:.2g}"
