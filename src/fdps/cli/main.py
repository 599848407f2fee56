"""The ``fdps`` command: find the verb, run it, turn every error into a line and an exit code.

``fdps --help`` must answer at once, so this file and the verbs import only the standard library
and typer; a verb imports torch and the rest of the package when it runs.
"""

import errno
import logging
import os
import platform
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from fdps import __version__
from fdps.cli.archive.app import app as archive
from fdps.cli.data.app import app as data
from fdps.cli.demo.demo import demo
from fdps.cli.detect import detect
from fdps.cli.doctor.doctor import doctor
from fdps.cli.evaluate.compare import compare
from fdps.cli.evaluate.evaluate import evaluate
from fdps.cli.index.index import index
from fdps.cli.models.app import app as models
from fdps.cli.search.search import search
from fdps.cli.train.predict import predict
from fdps.cli.train.resume import resume
from fdps.cli.train.train import train
from fdps.errors import FdpsError, ResourceError

log = logging.getLogger("fdps")

BUG = 1
_RESOURCE_ERRNOS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EMFILE,
    errno.ENFILE,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,  # a place that is a file, a folder, or no name at all
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
}

app = typer.Typer(
    name="fdps",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    pretty_exceptions_enable=False,  # errors are reported below
    rich_markup_mode=None,  # plain help takes half the time, and keeps what stands in [brackets]
)


def _print_version(wanted: bool) -> bool:
    if wanted:
        print(f"fdps {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def fdps(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log details; show the traceback of an error.")
    ] = False,
) -> None:
    """Person search: find a person in uncropped scenes with one network."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    log.setLevel(logging.DEBUG if verbose else logging.WARNING)


app.command()(doctor)
app.command()(demo)
app.add_typer(data)
app.command()(train)
app.command()(resume)
app.command()(predict)
app.command()(evaluate)
app.command()(compare)
app.command()(detect)
app.command()(index)
app.command()(search)
app.add_typer(archive)
app.add_typer(models)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Without the program's name; those of the process by default.

    Returns:
        The exit code: 0 done, 1 a bug, 2 wrong usage, 130 interrupted, 143 terminated, or that of
        the :class:`~fdps.errors.FdpsError` raised.
    """
    return run(app, sys.argv[1:] if arguments is None else arguments)


def run(command: typer.Typer, arguments: Sequence[str]) -> int:
    """Run a typer application and report how it ended, on stderr, without a traceback."""
    try:
        typer.main.get_command(command).main(args=list(arguments), prog_name="fdps")
    except SystemExit as end:  # typer reports usage errors itself and ends this way
        return _flushed(_exit_code(end))
    except FdpsError as error:
        return _report(error)
    except Exception as error:
        known = _resource_error(error)
        return _report(known) if known else _report_bug(error, arguments)
    return 0


def _exit_code(end: SystemExit) -> int:
    """The code that typer chose, or 128 + the number of the signal that interrupted a verb.

    typer makes 130 of every ``KeyboardInterrupt``, which stays behind the ``SystemExit``; one that
    carries a signal number stands for that signal (SIGTERM asks training to stop, too).
    """
    cause = end.__context__.__cause__ if end.__context__ else None
    if isinstance(cause, KeyboardInterrupt) and cause.args and isinstance(cause.args[0], int):
        return 128 + cause.args[0]
    return end.code if isinstance(end.code, int) else int(end.code is not None)


def _report(error: FdpsError) -> int:
    log.debug("where it happened", exc_info=True)
    print(f"error: {error}", file=sys.stderr)
    if error.hint:
        print(textwrap.indent(error.hint, "  "), file=sys.stderr)
    return error.exit_code


def _resource_error(error: Exception) -> ResourceError | None:
    """What the machine refuses is no bug: memory, disk, permissions, file handles."""
    if isinstance(error, OSError) and error.errno in _RESOURCE_ERRNOS:
        place = f": {error.filename}" if error.filename else ""
        return ResourceError(
            f"{error.strerror}{place}", hint="make room or permission, or use another place"
        )
    # By name: torch's own class is a RuntimeError, and torch may not be loaded here.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return ResourceError(
            f"out of memory: {error or 'the machine refused more'}",
            hint="use a smaller batch or smaller pictures",
        )
    return None


def _report_bug(error: Exception, arguments: Sequence[str]) -> int:
    log.debug("where it happened", exc_info=True)
    report = "\n".join(
        [
            f"fdps {__version__}, Python {platform.python_version()}, {platform.platform()}",
            f"fdps {' '.join(arguments)}",
            "",
            *traceback.format_exception(error),
        ]
    )
    print(f"error: unexpected {type(error).__name__}: {error}", file=sys.stderr)
    try:
        handle, path = tempfile.mkstemp(prefix="fdps-error-", suffix=".txt", text=True)
        with os.fdopen(handle, "w") as file:
            file.write(report)
        print(f"  this is a bug in fdps; please report it with {Path(path)}", file=sys.stderr)
    except OSError:
        print(report, file=sys.stderr)
    return BUG


def _flushed(code: int) -> int:
    """Write out what is buffered; a reader that has gone (``fdps … | head``) is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code
