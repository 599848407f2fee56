"""The page of a training run, which is drawn again while the run goes on.

``index.html`` in the run folder holds figures, charts and style inside and links the sheets of
sample detections beside it. It has no script and loads nothing else. A run may be killed at any
time, so nothing in its folder has to be there or to be whole.
"""

import json
import re
import time
import tomllib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from fdps.analysis.curves import LOSSES
from fdps.analysis.page import Table
from fdps.analysis.rendering import render
from fdps.analysis.run_curves import (
    FRACTIONS,
    GRADIENTS,
    REID_TERMS,
    VALIDATION,
    Chart,
    draw_charts,
    further_losses,
    label,
)
from fdps.analysis.run_records import (
    N_NEWEST,
    Record,
    Standing,
    find_best,
    find_standing,
    read_records,
    read_text,
)
from fdps.durable import write_file

PAGE = "index.html"
REFRESH_S = 10
"""Seconds after which a browser loads the page of a running run again."""

_REST = 50
"""Ratio of training time to the time for drawing curves: they take at most a fiftieth."""

_TELLING = (
    ("system", "model", "system"),
    ("backbone", "model", "backbone"),
    ("loss", "loss", "name"),
    ("batch", "train", "batch_size"),
    ("learning rate", "train", "lr"),
    ("seed", "train", "seed"),
)
"""The fields of a recipe that tell runs apart most often: name on the page, section, key."""

_SAMPLE = re.compile(r"e(\d+)\.jpg")


class RunPage:
    """The page ``index.html`` of a run folder.

    Drawing the curves takes much longer than writing the rest. While a run goes on, they are drawn
    anew only after fifty times as long as the last drawing took.

    Args:
        run: The run folder; what is missing in it is left out of the page.
    """

    def __init__(self, run: Path) -> None:
        self._run, self._draw_at_s = run, 0.0
        self._charts: list[Chart] = []

    def write(self, *, total_steps: int, is_running: bool) -> Path:
        """Write the page; an older one is replaced whole or not at all.

        Args:
            total_steps: Number of steps of the whole run; of a run that ended early, those it took.
            is_running: Whether the run goes on; a browser then loads the page again and again.

        Returns:
            The path of the file.
        """
        run = self._run
        steps, epochs = read_records(run / "log.jsonl"), read_records(run / "epochs.jsonl")
        standing = find_standing(steps, total_steps, is_running=is_running)
        recipe = read_text(run / "recipe.toml")
        if not is_running or time.monotonic() >= self._draw_at_s:
            self._draw(steps, epochs)
        page = render(
            "run.html",
            name=run.resolve().name,
            standing=standing,
            refresh_s=REFRESH_S,
            recipe_in_brief=_in_brief(recipe),
            facts=_facts(standing, epochs),
            written=f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S %Z}",
            newest=_newest(steps),
            charts=self._charts,
            samples=_samples(run / "samples"),
            epochs=_epoch_table(epochs),
            recipe=recipe,
            environment=_environment(run / "environment.json"),
        )
        run.mkdir(parents=True, exist_ok=True)
        write_file(run / PAGE, page.encode())
        return run / PAGE

    def _draw(self, steps: Sequence[Record], epochs: Sequence[Record]) -> None:
        import matplotlib.figure  # noqa: F401  # keeps loading it out of the time measured

        start = time.monotonic()
        self._charts = draw_charts(steps, epochs)
        end = time.monotonic()
        self._draw_at_s = end + _REST * (end - start)


def _facts(standing: Standing, epochs: Sequence[Record]) -> dict[str, str]:
    facts = {
        "Step": f"{standing.step:,} of {standing.total_steps:,}",
        "Epoch": f"{standing.epoch:.1f} of {standing.total_epochs:.0f}" if standing.step else "–",
        "Time so far": _clock(standing.seconds),
    }
    if standing.seconds_left is not None:
        facts["Time left"] = f"about {_clock(standing.seconds_left)}"
    best = find_best(epochs)
    if best is not None and "mAP" in best:
        facts["Best mAP"] = f"{_number('mAP', best['mAP'])} % in epoch {best.get('epoch', 0):g}"
    return facts


def _newest(steps: Sequence[Record]) -> list[Table]:
    """Make a table of the newest figures beside their mean; none before the first logged step."""
    newest = steps[-N_NEWEST:]
    losses = (*LOSSES, *further_losses(newest))
    groups = {"Losses": losses, "Re-ID terms": REID_TERMS, "Step": ("lr", *GRADIENTS)}
    shown = {"step", "epoch", "seconds"}.union(*groups.values())
    groups["Step"] += tuple(sorted(set().union(*newest) - shown))
    columns = ("", "newest", f"mean of {len(newest)}")
    tables = []
    for caption, names in groups.items():
        found = {name: [line[name] for line in newest if name in line] for name in names}
        rows = [
            (label(name), _number(name, values[-1]), _number(name, sum(values) / len(values)))
            for name, values in found.items()
            if values
        ]
        if rows:
            tables.append(Table(caption, columns, tuple(rows)))
    return tables


def _samples(folder: Path) -> list[tuple[int, str]]:
    """Find the sheets of sample detections: epoch and file name, the newest first."""
    found = ((_SAMPLE.fullmatch(path.name), path.name) for path in folder.glob("e*.jpg"))
    return sorted(((int(match[1]), name) for match, name in found if match), reverse=True)


def _epoch_table(epochs: Sequence[Record]) -> Table:
    columns = (*LOSSES, *further_losses(epochs), "images_per_s", "seconds", *VALIDATION)
    names = [name for name in columns if any(name in row for row in epochs)]
    newest_first, best = epochs[::-1], find_best(epochs)
    rows = tuple(
        (
            f"{row.get('epoch', 0):g}{' · best' if row is best else ''}",
            *(_number(name, row[name]) if name in row else "–" for name in names),
        )
        for row in newest_first
    )
    return Table(
        "Means over each epoch",
        ("epoch", *map(label, names)),
        rows,
        note="Figures of validation in percent." if set(names) & set(VALIDATION) else "",
        bold_row=next((k for k, row in enumerate(newest_first) if row is best), None),
    )


def _in_brief(recipe: str) -> str:
    """Write a recipe in one line."""
    try:
        values: dict[str, Any] = tomllib.loads(recipe)
    except tomllib.TOMLDecodeError:
        return ""
    told = []
    for name, section, key in _TELLING:
        fields = values.get(section)
        if isinstance(fields, dict) and key in fields:
            told.append(f"{name} {fields[key]}")
    return " · ".join(told)


def _environment(path: Path) -> dict[str, str]:
    try:
        values = json.loads(read_text(path))
    except ValueError:
        return {}
    if not isinstance(values, dict):
        return {}
    return {name: str(value) for name, value in values.items() if value not in ("", None)}


def _number(name: str, value: int | float) -> str:
    if name in FRACTIONS:
        return f"{100 * value:.1f}"
    if name == "seconds":
        return _clock(value)
    if isinstance(value, int) or 1e3 <= abs(value) < 1e6:
        return f"{value:,.0f}"
    # Trailing zeros stay where they line up a column: 0.0160 below 0.0175.
    return f"{value:#.3g}".rstrip(".") if 1e-3 <= abs(value) < 1e3 else f"{value:.3g}"


def _clock(seconds: int | float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
