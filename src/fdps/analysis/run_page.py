"""The page of a training run: how it goes, drawn again while it goes on.

``index.html`` in the run folder holds figures, charts and style inside and links the sheets of
sample detections beside it. It has no script and loads nothing else. A run may be killed at any
time, so nothing in its folder has to be there or to be whole.
"""

import json
import re
import tomllib
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from fdps.analysis.run_charts import (
    FRACTIONS,
    GRADIENTS,
    LOSSES,
    REID_TERMS,
    VALIDATION,
    draw_charts,
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
"""Seconds after which the page of a running run is loaded again."""

_TELLING = (
    ("system", "model", "system"),
    ("backbone", "model", "backbone"),
    ("loss", "loss", "name"),
    ("batch", "train", "batch_size"),
    ("learning rate", "train", "lr"),
    ("seed", "train", "seed"),
)
"""Fields of a recipe that tell runs apart most often: how the page says it, section, key."""

_SAMPLE = re.compile(r"e(\d+)\.jpg")


def write_run_page(run: Path, *, total_steps: int, is_running: bool) -> Path:
    """Write ``index.html`` of a run folder; an older one is replaced whole or not at all.

    Args:
        run: The run folder; what is missing in it is left out of the page.
        total_steps: Of the whole run; of a run that ended early, those it took.
        is_running: Whether the run goes on; a browser then loads the page again and again.

    Returns:
        The page.
    """
    steps, epochs = read_records(run / "log.jsonl"), read_records(run / "epochs.jsonl")
    standing = find_standing(steps, total_steps, is_running=is_running)
    recipe = read_text(run / "recipe.toml")
    sections = (
        ("Newest figures", _newest(steps)),
        ("Curves", _thirds(draw_charts(steps, epochs))),
        ("Sample detections", _samples(run / "samples")),
        ("Epochs", _epoch_table(epochs)),
        ("Recipe and environment", _recipe(recipe) + _environment(run / "environment.json")),
    )
    sheets = (files("fdps.analysis").joinpath(name) for name in ("page.css", "run_page.css"))
    style = "\n" + "".join(sheet.read_text(encoding="utf-8") for sheet in sheets)
    page = _PAGE.format(
        refresh=f'\n<meta http-equiv="refresh" content="{REFRESH_S}">' if is_running else "",
        style_hash=b64encode(sha256(style.encode()).digest()).decode("ascii"),
        title=escape(run.resolve().name),
        state=standing.state.lower(),
        style=style,
        header=_header(run, standing, epochs, _in_brief(recipe)),
        sections="\n".join(
            f"<section>\n<h2>{escape(heading)}</h2>\n{body}\n</section>"
            for heading, body in sections
            if body
        ),
    )
    run.mkdir(parents=True, exist_ok=True)
    write_file(run / PAGE, page.encode())
    return run / PAGE


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
img-src 'self' file:; style-src 'sha256-{style_hash}'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">{refresh}
<title>{title}: {state}</title>
<style>{style}</style>
</head>
<body>
{header}
<main>
{sections}
</main>
</body>
</html>
"""


def _header(run: Path, standing: Standing, epochs: Sequence[Record], brief: str) -> str:
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
    said = {
        "Running": f"This page renews itself every {REFRESH_S} seconds.",
        "Finished": "All steps are taken.",
        "Stopped": "It ended before its last step; fdps resume continues it.",
    }[standing.state]
    written = f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S %Z}"
    listed = "".join(f"<div><dt>{k}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items())
    percent = 100 * standing.share
    return f"""<header>
<p class="state {standing.state.lower()}">{standing.state}</p>
<h1>{escape(run.resolve().name)}</h1>
<p class="summary">{escape(brief)}</p>
<progress max="100" value="{percent:.2f}" aria-label="Progress">{percent:.0f} %</progress>
<dl class="facts">{listed}</dl>
<p class="note">{said} Written {written}.</p>
</header>"""


def _newest(steps: Sequence[Record]) -> str:
    if not steps:
        return '<p class="note">No step is logged yet: figures and curves come with the first.</p>'
    newest = steps[-N_NEWEST:]
    groups = {"Losses": LOSSES, "Re-ID terms": REID_TERMS, "Step": ("lr", *GRADIENTS)}
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
            tables.append(_table(caption, columns, rows))
    return _thirds(tables)


def _thirds(parts: Sequence[str]) -> str:
    return '<div class="thirds">\n' + "\n".join(parts) + "\n</div>" if parts else ""


def _samples(folder: Path) -> str:
    found = ((_SAMPLE.fullmatch(path.name), path.name) for path in folder.glob("e*.jpg"))
    sheets = sorted(((int(match[1]), name) for match, name in found if match), reverse=True)
    if not sheets:
        return ""
    (epoch, newest), older = sheets[0], sheets[1:]
    links = ", ".join(f'<a href="samples/{name}">epoch {n}</a>' for n, name in older)
    return (
        f'<figure>\n<a href="samples/{newest}"><img src="samples/{newest}" '
        f'alt="Pictures with the people found after epoch {epoch}, and those annotated"></a>\n'
        f"<figcaption>After epoch {epoch}.{f' Before: {links}.' if links else ''}</figcaption>\n"
        "</figure>"
    )


def _epoch_table(epochs: Sequence[Record]) -> str:
    if not epochs:
        return ""
    columns = (*LOSSES, "images_per_s", "seconds", *VALIDATION)
    names = [name for name in columns if any(name in row for row in epochs)]
    newest_first, best = epochs[::-1], find_best(epochs)
    rows = [
        (
            f"{row.get('epoch', 0):g}{' · best' if row is best else ''}",
            *(_number(name, row[name]) if name in row else "–" for name in names),
        )
        for row in newest_first
    ]
    marked = next((k for k, row in enumerate(newest_first) if row is best), None)
    table = _table("Means over each epoch", ("epoch", *map(label, names)), rows, marked=marked)
    note = '\n<p class="note">Figures of validation in percent.</p>'
    return table + (note if set(names) & set(VALIDATION) else "")


def _in_brief(recipe: str) -> str:
    """A recipe in one line."""
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


def _recipe(text: str) -> str:
    shown = f"<details>\n<summary>recipe.toml</summary>\n<pre>{escape(text)}</pre>\n</details>\n"
    return shown if text else ""


def _environment(path: Path) -> str:
    try:
        values = json.loads(read_text(path))
    except ValueError:
        return ""
    if not isinstance(values, dict):
        return ""
    rows = "\n".join(
        f"<dt>{escape(str(name))}</dt><dd>{escape(str(value))}</dd>"
        for name, value in values.items()
        if value not in ("", None)
    )
    return f"<dl>\n{rows}\n</dl>"


def _table(
    caption: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    marked: int | None = None,
) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    body = "\n".join(
        ('<tr class="best">' if number == marked else "<tr>")
        + f'<th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for number, row in enumerate(rows)
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">\n'
        f"<table>\n<caption>{escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def _number(name: str, value: int | float) -> str:
    if name in FRACTIONS:
        return f"{100 * value:.1f}"
    if name == "seconds":
        return _clock(value)
    if isinstance(value, int) or 1e3 <= abs(value) < 1e6:
        return f"{value:,.0f}"
    # Trailing zeros where they line up a column: 0.0160 below 0.0175.
    return f"{value:#.3g}".rstrip(".") if 1e-3 <= abs(value) < 1e3 else f"{value:.3g}"


def _clock(seconds: int | float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
