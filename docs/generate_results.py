"""Write stored results into the README and into the pages of ``docs/results``.

Run by ``make docs``; ``tests/test_docs.py`` fails when a text is older than what is stored, or when
a figure of the README is not the one of the page that tells how it was measured.

.. code-block:: text

    stored/one_camera_of_prw.json    the table of the README
    stored/BENCH/NAME.csv            a table as fdps reproduce wrote it, its plots as NAME*.png, and
    stored/BENCH/NAME.json           its command, commit, machine and hours, and the table itself

``python docs/generate_results.py reproduced/BENCH NAME...`` stores tables of that folder, whose
figures.json has to be of the last call. A page takes one in between the lines
``<!-- BENCH/NAME -->`` and ``<!-- end -->``.
"""

import json
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "results"
STORED = PAGES / "stored"
HEADS = {"recall": "recall", "ap": "AP", "mAP": "mAP", "top1": "top-1"}
"""Name of a figure in the stored files, and in the heads of tables."""

_TABLE = re.compile(r"^\| system \|.*?\n\n", re.MULTILINE | re.DOTALL)
_PLACES = re.compile(r" (?:(?:-o|--out|--root) \S+|-q)")  # of no interest on another machine
_BLOCK = re.compile(r"^<!-- ([\w-]+/[\w-]+) -->\n.*?^<!-- end -->\n", re.MULTILINE | re.DOTALL)


def stored_results(name: str) -> list[dict[str, Any]]:
    """Read the rows of the README's table.

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


def page(text: str) -> str:
    """Return a page of results with its stored tables taken in anew."""
    return _BLOCK.sub(lambda block: _reproduced(block[1]), text)


def store(folder: Path, names: Sequence[str]) -> None:
    """Keep tables and figures of a folder of ``fdps reproduce``, which is named as its data are.

    Raises:
        ValueError: The last call of ``fdps reproduce`` made another table.
    """
    facts = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    kept = STORED / folder.name
    kept.mkdir(exist_ok=True)
    for name in names:
        if name not in facts:
            raise ValueError(f"{folder}/figures.json is of {', '.join(facts)}, not of {name}")
        for pattern in (f"{name}.csv", f"{name}*.png"):
            for file in folder.glob(pattern):
                shutil.copyfile(file, kept / file.name)
        made = {key.lower(): fact for key, fact in facts["made"].items()}
        made["command"] = _PLACES.sub("", made["command"])
        written = folder / f"{name}.md"
        if written.is_file():  # a figure has no table
            made["table"] = written.read_text(encoding="utf-8").splitlines()
        text = json.dumps(made, indent=1, ensure_ascii=False)
        (kept / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


def _reproduced(name: str) -> str:
    made = json.loads((STORED / f"{name}.json").read_text(encoding="utf-8"))
    lines = [*made["table"], ""] if "table" in made else []
    written = "".join(f"{line}\n" for line in lines)
    how = f"`{made['command']}` at {made['commit']}, {made['machine']}; hours: {made['hours']}."
    return f"<!-- {name} -->\n{written}{how}\n<!-- end -->\n"


def main() -> None:
    """Store what is named, then write the README and the pages."""
    if len(sys.argv) > 1:
        store(Path(sys.argv[1]), sys.argv[2:])
    for path, written in (
        (ROOT / "README.md", readme),
        *((path, page) for path in PAGES.glob("*.md")),
    ):
        path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
