"""Imports point downwards, and optional packages stay optional."""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "fdps"
FILES = sorted(PACKAGE.rglob("*.py"))

FOUNDATION = {"errors", "names", "structures", "durable"}
BELOW = {
    "errors": set(),
    "names": set(),
    "structures": {"errors"},
    "durable": set(),
    "bundled": set(),
    "devices": {"errors"},
    "boxes": FOUNDATION,
    "crops": FOUNDATION,
    "config": FOUNDATION,
    "predictions": FOUNDATION | {"boxes"},
    "pictures": FOUNDATION,
    "data": FOUNDATION | {"boxes", "config", "crops", "pictures"},
    "decoding": FOUNDATION | {"pictures"},
    "losses": FOUNDATION,
    "weights_file": FOUNDATION | {"bundled", "config"},
    "models": FOUNDATION | {"boxes", "config", "losses", "weights_file"},
    "engine": FOUNDATION
    | {"pictures", "boxes", "config", "devices", "predictions", "data", "losses", "models"}
    # It searches the validation split while it trains.
    | {"evaluation", "query", "searcher", "weights_file"}
    # A two-step recipe names its detector, which is a model like any other, and leaves a card.
    | {"crops", "describer", "embedders", "runtime"},
    "query": FOUNDATION | {"boxes", "pictures"},
    "searcher": FOUNDATION
    | {"pictures", "boxes", "config", "data", "devices", "models", "query", "weights_file"},
    "describer": FOUNDATION | {"crops", "models", "runtime"},
    "evaluation": FOUNDATION | {"boxes", "pictures", "predictions"},
    "search": FOUNDATION
    | {"pictures", "boxes", "data", "decoding", "devices", "predictions", "evaluation"},
    "runtime": FOUNDATION | {"boxes", "config", "crops", "devices", "query"},
    # A model looks at pictures, and what it sees becomes a data set.
    "labelling": FOUNDATION | {"boxes", "data", "decoding", "pictures", "search"},
    # Above the network of ours and those of others: the one place where a path becomes an embedder.
    "embedders": FOUNDATION
    | {"bundled", "describer", "devices", "models", "pictures", "config", "query", "runtime"}
    | {"search", "searcher", "weights_file"},
    # A network of ours for other runtimes, compared with itself in PyTorch on drawn scenes.
    "export": FOUNDATION
    | {"data", "embedders", "models", "pictures", "boxes", "query", "runtime", "search", "searcher"}
    | {"describer", "devices", "weights_file"},
    # Networks beside each other, each in a process of its own; what came out is drawn.
    "bench": FOUNDATION
    | {"analysis", "devices", "embedders", "export", "models", "pictures", "runtime"},
    # The one part that fetches files, and only when somebody asks for them.
    "downloads": FOUNDATION | {"bundled", "config", "embedders", "runtime"},
    "analysis": FOUNDATION
    | {"boxes", "pictures", "predictions", "data", "losses", "evaluation", "search"},
    # The archives over HTTP: what the command line does for one user, for many at once.
    "serve": FOUNDATION
    | {"boxes", "bundled", "pictures", "decoding", "query", "search", "embedders", "analysis"}
    | {"weights_file"},
    # The top: it trains, scores and draws.
    "reproduce": FOUNDATION
    | {"analysis", "boxes", "config", "data", "engine", "evaluation", "models", "pictures"}
    | {"predictions", "searcher", "weights_file"},
}
"""What each part may import besides itself; the command line may import everything."""

ARCHIVE = ["times", "database", "seals", "store", "audit", "query"]
ARCHIVE += ["sql", "sqlite", "postgres", "open_store"]
ARCHIVE += ["ingest", "ray", "results", "care", "index"]
"""The rooms of ``fdps.search``, from the ground up; each may import what stands before it."""

SERVE = ["settings", "problems", "security", "metrics", "garbage", "opened", "readers"]
SERVE += ["searching", "looking"]
SERVE += ["archives", "database", "cases", "jobs", "dependencies", "api", "pages", "app", "server"]
"""The rooms of ``fdps.serve``, from the ground up, likewise."""

OPTIONAL = [
    "argon2",
    "av",
    "beartype",
    "fastapi",
    "jinja2",
    "matplotlib",
    "onnxruntime",
    "pillow_heif",
]
OPTIONAL += [
    "simplejpeg",
    "simsimd",
    "nncf",
    "onnx",
    "openvino",
    "pydantic",
    "psycopg",
    "ray",
    "rich",
    "tensorboard",
    "timm",
    "tomli_w",
    "typer",
]
WITHOUT_OPTIONAL = [
    "durable",
    "names",
    "boxes",
    "config",
    "predictions",
    "data",
    "losses",
    "models",
]
WITHOUT_OPTIONAL += ["engine", "query", "searcher", "evaluation", "decoding"]
WITHOUT_OPTIONAL += ["search", "runtime", "embedders"]

ON_A_SERVER = PACKAGE / "search" / "postgres"
"""Loaded when an archive on a server is opened, but for the module that reads addresses."""


def part(file: Path) -> str:
    """First name below ``fdps``: a folder, or a file without its suffix."""
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Full names of all modules that the nodes import."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def names_from(package: str, nodes: Iterable[ast.AST]) -> set[str]:
    return {
        alias.name
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module == package
        for alias in node.names
    }


def file_id(file: Path) -> str:
    return str(file.relative_to(PACKAGE))


def test_every_part_has_its_place_in_the_table() -> None:
    assert {part(file) for file in FILES} <= {*BELOW, "cli", "__init__", "__main__"}


@pytest.mark.parametrize("file", FILES, ids=file_id)
def test_imports_point_downwards(file: Path) -> None:
    nodes = list(ast.walk(ast.parse(file.read_text())))
    # The root is loaded lazily: a name taken from it would hide which part is meant.
    assert names_from("fdps", nodes) <= {"__version__"}
    assert not [name for name in imports(nodes) if name.startswith(".")], "imports are absolute"
    if part(file) in BELOW:
        used = {name.split(".")[1] for name in imports(nodes) if name.startswith("fdps.")}
        forbidden = used - BELOW[part(file)] - {part(file)}
        assert not forbidden, f"{part(file)} must not import {sorted(forbidden)}"


def is_run(node: ast.AST) -> bool:
    """Whether a statement is more than a help for type checkers."""
    return not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")


def statements(node: ast.AST) -> Iterator[ast.AST]:
    for below in filter(is_run, ast.iter_child_nodes(node)):
        yield below
        yield from statements(below)


@pytest.mark.parametrize(
    ("house", "rooms", "file"),
    [
        (house, rooms, file)
        for house, rooms in {"search": ARCHIVE, "serve": SERVE}.items()
        for file in sorted((PACKAGE / house).rglob("*.py"))
    ],
    ids=lambda value: file_id(value) if isinstance(value, Path) else "",
)
def test_the_rooms_of_a_house_stand_on_each_other(house: str, rooms: list[str], file: Path) -> None:
    room = file.relative_to(PACKAGE / house).with_suffix("").parts[0]
    if room == "__init__":
        return
    nodes = list(statements(ast.parse(file.read_text())))
    names = [name.split(".") for name in imports(nodes)]
    used = {name[2] for name in names if name[:2] == ["fdps", house] and len(name) > 2}
    # From the package itself only rooms are taken: other names would hide which one is meant.
    used |= names_from(f"fdps.{house}", nodes)
    assert used - {room} <= {*rooms[: rooms.index(room)]}


@pytest.mark.parametrize("file", sorted((PACKAGE / "cli").rglob("*.py")), ids=file_id)
def test_the_command_line_loads_only_typer_and_the_standard_library(file: Path) -> None:
    light = {"fdps", "fdps.errors", "fdps.names", "typer", *sys.stdlib_module_names}
    heavy = {
        name
        for name in imports(ast.parse(file.read_text()).body)
        if not name.startswith("fdps.cli") and name not in light
        if name.split(".")[0] not in sys.stdlib_module_names
    }
    assert not heavy, f"import {sorted(heavy)} inside the command"


@pytest.mark.long
def test_the_path_from_data_to_evaluation_needs_no_optional_package() -> None:
    modules = [
        ".".join(("fdps", *file.relative_to(PACKAGE).with_suffix("").parts))
        for file in FILES
        if part(file) in WITHOUT_OPTIONAL and file.name != "__init__.py"
        if file.parent != ON_A_SERVER or file.name == "address.py"
    ]
    block = f"import sys; sys.modules.update(dict.fromkeys({OPTIONAL}))"
    code = f"{block}; from importlib import import_module; [*map(import_module, {modules})]"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
