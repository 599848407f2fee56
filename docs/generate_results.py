"""Write the table of results in the README from the figures that are stored.

Run by ``make docs``; ``tests/test_docs.py`` fails when the README is older than the figures, or
when a figure is not the one of the page that tells how it was measured.
"""

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STORED = ROOT / "docs" / "results" / "stored"
HEADS = {"recall": "recall", "ap": "AP", "mAP": "mAP", "top1": "top-1"}
"""Name of a figure in the stored files, and in the heads of tables."""

_TABLE = re.compile(r"^\| system \|.*?\n\n", re.MULTILINE | re.DOTALL)


def stored_results(name: str) -> list[dict[str, Any]]:
    """Read the rows of a stored table.

    Each has ``system``, its name in the README; ``page`` and ``row``, where it is explained below
    ``docs/results``; ``command``, ``commit`` and ``seeds``; and the figures of :data:`HEADS` as
    fractions.
    """
    rows: list[dict[str, Any]] = json.loads((STORED / f"{name}.json").read_text(encoding="utf-8"))
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return the table of some rows in Markdown."""
    lines = [f"| system | {' | '.join(HEADS.values())} |", f"|---|{'---|' * len(HEADS)}"]
    lines += [f"| {row['system']} | {' | '.join(figures(row))} |" for row in rows]
    return "\n".join(lines) + "\n\n"


def figures(row: dict[str, Any]) -> list[str]:
    """Return the figures of a row as tables print them."""
    return [f"{row[name]:.3f}" for name in HEADS]


def readme(text: str) -> str:
    """Return the README with its table of results made anew."""
    made = table(stored_results("one_camera_of_prw"))
    replaced, n = _TABLE.subn(lambda _: made, text)
    if n != 1:
        raise ValueError(f"the README must have one table that begins with 'system', it has {n}")
    return replaced


def main() -> None:
    """Write the README."""
    path = ROOT / "README.md"
    path.write_text(readme(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
