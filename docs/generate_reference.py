"""Write docs/reference from the code: command line, recipes, errors, predictions file.

Run by ``make docs``; ``tests/test_docs.py`` fails when a page is older than the code.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import typer

from fdps import config, errors, predictions
from fdps.cli.main import app
from fdps.config import fields, two_step
from fdps.evaluation.pairwise import pairs_file

REFERENCE = Path(__file__).resolve().parent / "reference"


def pages() -> dict[str, str]:
    """Every generated page: its file name and its text."""
    written = {
        "cli.md": command_line_page(),
        "config.md": config_page(),
        "errors.md": errors_page(),
        "predictions.md": predictions_page(),
    }
    return {name: "\n".join([*lines]).strip() + "\n" for name, lines in written.items()}


def command_line_page() -> Iterator[str]:
    """Each verb with its arguments and options."""
    root = typer.main.get_command(app)
    yield "# Command line\n"
    yield "Results go to standard output, progress and errors to standard error."
    yield "[Exit codes](errors.md) tell how a command ended.\n"
    yield from _command("fdps", root, "##")


def _command(name: str, command: Any, heading: str) -> Iterator[str]:
    yield f"{heading} `{name}`\n"
    yield _prose(command.help or "") + "\n"
    rows = [_parameter(param) for param in command.params if param.name != "help"]
    if rows:
        yield from _table(("argument or option", "default", "meaning"), rows)
    for verb, below in getattr(command, "commands", {}).items():
        yield from _command(f"{name} {verb}", below, "##" if name == "fdps" else "###")


def _parameter(param: Any) -> tuple[str, str, str]:
    if param.param_type_name == "argument":
        name = (param.metavar or param.name.upper()).strip("[].")
        names = [name + ("…" if param.nargs == -1 else "")]
    else:
        value = f" {param.metavar}" if param.metavar else ""
        names = [name + value for name in (*param.opts, *param.secondary_opts)]
    given = param.default
    unset = given is None or given is False or given == () or given == []
    default = "required" if param.required else "" if unset else f"`{given}`"
    return (
        ", ".join(f"`{name}`" for name in names),
        default,
        _prose(getattr(param, "help", "") or ""),
    )


def config_page() -> Iterator[str]:
    """Each section of a recipe with its fields, from the source of ``fdps.config``."""
    yield "# Recipes\n"
    yield f"{_prose(inspect.getdoc(config) or '')}\n"
    yield "`fdps train RECIPE.toml --set train.lr=0.01` changes one field from the command line.\n"
    classes = {
        node.name: node
        for module in (fields, two_step)
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, ast.ClassDef)
    }
    for name, node in classes.items():
        yield f"## {name}\n"
        yield f"{_prose(ast.get_docstring(node) or '')}\n"
        yield from _table(("field", "type", "default", "meaning"), _fields(node))


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, ...]]:
    """Fields and the sentence below each."""
    for line, below in zip(node.body, node.body[1:], strict=False):
        if isinstance(line, ast.AnnAssign) and isinstance(below, ast.Expr):
            sentence = ast.literal_eval(below.value)
            default = f"`{ast.unparse(line.value)}`" if line.value else "required"
            section = re.fullmatch(r"`field\(default_factory=(\w+)\)`", default)
            yield (
                f"`{ast.unparse(line.target)}`",
                f"`{ast.unparse(line.annotation)}`",
                f"[{section[1]}](#{section[1].lower()})" if section else default,
                _prose(sentence),
            )


def errors_page() -> Iterator[str]:
    """Each error class with its exit code."""
    yield "# Errors and exit codes\n"
    yield "A command that fails prints `error: …`, a hint where there is one, and ends with:\n"
    codes = [
        ("0", "done"),
        ("1", "a bug in fdps; the message names a file with the traceback, `fdps -v` prints it"),
        ("4", "done, but files were skipped (only with `--strict`)"),
        ("10", "nobody in the archive fits (only with `--fail-if-none`)"),
        ("130", "interrupted from the keyboard; `fdps train` wrote a checkpoint first"),
        ("143", "told to stop (SIGTERM); `fdps train` wrote a checkpoint first"),
    ]
    for error in _error_classes()[1:]:  # the base class is never raised
        codes.append((str(error.exit_code), f"`{error.__name__}`"))
    merged: dict[str, list[str]] = {}
    for code, meaning in codes:
        merged.setdefault(code, []).append(meaning)
    rows = [(code, ", ".join(merged[code])) for code in sorted(merged, key=int)]
    yield from _table(("exit code", "meaning"), rows)
    yield "In Python every one of them is an `fdps.FdpsError` with `exit_code` and `hint`.\n"
    rows = [
        (f"`{error.__name__}`", f"`{error.__bases__[0].__name__}`", _summary(error))
        for error in _error_classes()
    ]
    yield from _table(("class", "is a", "meaning"), rows)


def _error_classes() -> list[type[errors.FdpsError]]:
    """In the order of the source."""
    found = [value for value in vars(errors).values() if inspect.isclass(value)]
    return [error for error in found if issubclass(error, errors.FdpsError)]


def _summary(documented: object) -> str:
    return _prose((inspect.getdoc(documented) or "").partition("\n\n")[0])


def predictions_page() -> Iterator[str]:
    """The formats, from the docstrings of ``fdps.predictions`` and of the file of pairs."""
    yield "# The predictions file\n"
    yield from _file_format(predictions)
    yield "\n## The pairs file\n"
    yield from _file_format(pairs_file)


def _file_format(module: ModuleType) -> Iterator[str]:
    parts = re.split(r"^=[= ]+=$", inspect.getdoc(module) or "", flags=re.MULTILINE)
    before, header, body, after = parts
    yield f"{_prose(before, lines=True)}\n"
    head, *rows = ([*re.split(r"\s{2,}", line)] for line in (header + body).splitlines() if line)
    yield from _table(head, [[_prose(cell) for cell in row] for row in rows])
    yield _prose(after, lines=True)


def _table(head: Any, rows: Any) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def _prose(text: str, *, lines: bool = False) -> str:
    """Docstring to Markdown: literals, roles, and unless ``lines`` are kept, one line."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text.strip()).replace("``", "`")
    return text if lines else re.sub(r"\s*\n\s*", " ", text)


if __name__ == "__main__":
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
