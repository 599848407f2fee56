"""The page about the structure says what the code does: files, functions, and who calls whom."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "fdps"
PAGE = (ROOT / "docs" / "concepts" / "how_it_is_built.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([\w/]+\.py)` \| `(\w+)` \|", re.M)
JOURNEYS = {
    title: ROW.findall(text)
    for title, text in re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S)
}
STEPS = [(title, *step) for title, steps in JOURNEYS.items() for step in steps]


def defined(file: str) -> set[str]:
    nodes = ast.walk(ast.parse((PACKAGE / file).read_text(encoding="utf-8")))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


def used(files: list[str]) -> set[str]:
    """Every name and attribute that code of these files mentions."""
    nodes = [
        node
        for file in files
        for node in ast.walk(ast.parse((PACKAGE / file).read_text(encoding="utf-8")))
    ]
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return names | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def test_there_are_three_journeys() -> None:
    assert len(JOURNEYS) == 3
    assert min(map(len, JOURNEYS.values())) >= 6


@pytest.mark.parametrize(("title", "file", "function"), STEPS)
def test_a_step_is_in_its_file(title: str, file: str, function: str) -> None:
    assert function in defined(file)


@pytest.mark.parametrize("title", JOURNEYS)
def test_every_step_is_called_by_one_before_it(title: str) -> None:
    steps = JOURNEYS[title]
    for position, (file, function) in enumerate(steps[1:], start=1):
        before = [other for other, _ in steps[:position]]
        mentioned = used(before)
        # PyTorch calls forward for whoever calls the network.
        assert function in mentioned or (function == "forward" and "net" in mentioned), file


def test_every_room_is_drawn() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"}
    rooms |= {path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")}
    drawn = set(re.findall(r"\w+", PAGE.split("## Three journeys")[0]))
    assert rooms - drawn <= {"bundled", "devices"}
    for house in ("search", "serve"):
        inside = {path.name for path in (PACKAGE / house).iterdir() if path.is_dir()}
        assert inside - {"__pycache__", "templates", "static"} <= drawn


def test_the_questions_point_at_what_is_there() -> None:
    answers = re.findall(r"^\| .*\? \| (.*) \|$", PAGE, re.M)
    assert len(answers) == 5
    for place in re.findall(r"`([\w/.]+)`", " ".join(answers)):
        assert (PACKAGE / place).exists(), place
