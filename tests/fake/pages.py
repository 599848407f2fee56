"""Pages of the documentation as a reader follows them: their code, in the order of the page."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n)?^```(?P<language>sh|python)\n(?P<code>.*?)^```",
    re.M | re.S,
)
CHECKOUT = ("configs", "benchmarks", "src", "docs", "Makefile", "pyproject.toml", "README.md")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code that a page shows.

    Args:
        language: ``sh`` or ``python``.
        code: The text between the fences.
        line: Number of its first line in the page, from 1.
        reason: Why it is not run; empty for a block that is.
    """

    language: str
    code: str
    line: int
    reason: str = ""


def blocks(page: Path) -> list[Block]:
    """Return the shell and Python blocks of a page in the order in which they stand."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            found["language"],
            found["code"],
            text[: found.start("code")].count("\n") + 1,
            found["reason"] or "",
        )
        for found in BLOCK.finditer(text)
    ]


def make_checkout(folder: Path) -> None:
    """Lay a checkout into an empty folder, with the environment that ``make setup`` would make."""
    for name in CHECKOUT:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, folder / name)
    (folder / ".venv").symlink_to(Path(sys.prefix))


def follow(block: Block, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run one block the way a reader does, from the folder, with the environment activated.

    Args:
        block: What to run; a shell block stops at its first failing command.
        folder: The working directory of the reader.
    """
    programs = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "100",
        "NO_COLOR": "1",
    }
    interpreter = ["bash", "-euo", "pipefail", "-c"]
    if block.language == "python":
        interpreter = [sys.executable, "-c"]
    return subprocess.run(
        [*interpreter, block.code],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=580,
    )
