"""Documents cannot drift: pages are generated, commands exist, links lead somewhere."""

import ast
import importlib.util
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

import fdps
from fdps.cli.main import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SOURCES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "configs").rglob("*.toml")])
READING_PATH = [
    "cli/train/train.py",
    "engine/train.py",
    "models/person_search.py",
    "models/roi_heads.py",
    "models/decomposition.py",
]


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def generator(name: str = "generate_reference") -> ModuleType:
    path = ROOT / "docs" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands(page: Path) -> Iterator[list[str]]:
    """Every ``fdps …`` line of the shell blocks of a page, as words."""
    for block in re.findall(r"^```(?:sh|console)\n(.*?)^```", page.read_text(), re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words[:1] == ["fdps"]:
                yield words[1:]


def link_targets(page: Path) -> Iterator[Path]:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path = target.partition("#")[0]
        if path and not re.match(r"[a-z]+:", path):
            yield page.parent / path


@pytest.mark.parametrize("name", sorted(generator().pages()))
def test_reference_pages_are_what_the_code_says(name: str) -> None:
    written = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert written == generator().pages()[name], "run: make docs"


def test_the_results_of_the_readme_are_those_that_are_stored() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text == generator("generate_results").readme(text), "run: make docs"


def test_a_changed_figure_changes_the_readme(monkeypatch: pytest.MonkeyPatch) -> None:
    results = generator("generate_results")
    rows = results.stored_results("one_camera_of_prw")
    rows[0]["mAP"] = 0.1234
    monkeypatch.setattr(results, "stored_results", lambda name: rows)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "| 0.123 |" in results.readme(text)


def test_stored_results_are_those_of_the_pages_that_explain_them() -> None:
    results = generator("generate_results")
    stored = [row for file in results.STORED.glob("*.json") for row in json.loads(file.read_text())]
    assert stored
    for row in stored:
        page = (ROOT / "docs" / "results" / row["page"]).read_text(encoding="utf-8")
        cells = " | ".join(results.figures(row))
        assert f"| {row['row']} | {cells} |" in page, row["system"]


def test_pages_have_the_tables_that_are_stored() -> None:
    results = generator("generate_results")
    for path in results.PAGES.glob("*.md"):
        text = path.read_text(encoding="utf-8")
        assert text == results.page(text), f"{path.name}: run make docs"


def test_a_reproduced_table_is_stored_and_taken_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    results = generator("generate_results")
    monkeypatch.setattr(results, "STORED", tmp_path / "stored")
    results.STORED.mkdir()
    out = tmp_path / "small"
    out.mkdir()
    made = {
        "Command": "fdps reproduce table1",
        "Commit": "abc",
        "Machine": "2 cores",
        "Hours": "3 h",
    }
    (out / "figures.json").write_text(json.dumps({"table1": {}, "made": made}))
    (out / "table1.md").write_text("| a |\n|---|\n| 1.5 |\n")
    (out / "table1.csv").write_text("a\n1.5\n")
    (out / "table1_plot.png").write_bytes(b"a picture")
    results.store(out, ["table1"])
    page = results.page("# A page\n\n<!-- small/table1 -->\nold\n<!-- end -->\n\nReading.\n")
    assert "| 1.5 |\n\n`fdps reproduce table1` at abc, 2 cores; hours: 3 h.\n<!-- end -->\n" in page
    assert (results.STORED / "small" / "table1_plot.png").read_bytes() == b"a picture"
    assert page.startswith("# A page\n\n<!-- small/table1 -->\n")
    assert page.endswith("\n\nReading.\n")
    assert "old" not in page
    with pytest.raises(ValueError, match="not of table2"):
        results.store(out, ["table2"])


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_to_files(page: Path) -> None:
    assert not [str(target) for target in link_targets(page) if not target.exists()]


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_commands_exist_with_their_options(page: Path) -> None:
    for words in commands(page):
        command: Any = typer.main.get_command(app)
        while (below := getattr(command, "commands", {})) and words[0] in below:
            command, words = below[words[0]], words[1:]
        assert not hasattr(command, "commands"), f"no such verb: fdps {' '.join(words)}"
        known = {name for param in command.params for name in param.opts + param.secondary_opts}
        used = {word.partition("=")[0] for word in words if re.match("--?[a-z]", word)}
        assert used <= known | {"--help"}, f"fdps {command.name} has no {used - known}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_python_names_exist(page: Path) -> None:
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S):
        tree = ast.parse(block)
        used = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            if isinstance(node.value, ast.Name) and node.value.id == "fdps"
        }
        assert used <= {*fdps.__all__}


@pytest.mark.parametrize("source", [*PAGES, *SOURCES], ids=page_id)
def test_files_named_in_hints_and_pages_exist(source: Path) -> None:
    named = re.findall(r"\b((?:docs|configs|examples|benchmarks)/[\w/]+\.\w+)", source.read_text())
    assert not [name for name in named if not (ROOT / name).exists()]


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r"[\w/]+\.md", (ROOT / "mkdocs.yml").read_text()))
    assert listed == {
        str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")
    }


def test_the_readme_is_short_and_shows_the_way_in() -> None:
    text = (ROOT / "README.md").read_text()
    assert text.count("\n") <= 150
    places = [text.find(f"(src/fdps/{name})") for name in READING_PATH]
    assert -1 not in places
    assert places == sorted(places)
