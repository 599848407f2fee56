"""The ``fdps`` command: find the verb, run it, turn every error into a line and an exit code.

``fdps --help`` must answer at once, so this file and the verbs import only the standard library
and typer; a verb imports torch and the rest of the package when it runs.
"""

import errno
import io
import logging
import os
import platform
import signal
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, cast

import typer

from fdps import __version__
from fdps.cli.archive.app import app as archive
from fdps.cli.data.app import app as data
from fdps.cli.demo.demo import demo
from fdps.cli.detect import detect
from fdps.cli.doctor.doctor import doctor
from fdps.cli.evaluate.compare import compare
from fdps.cli.evaluate.evaluate import evaluate
from fdps.cli.export.bench import bench
from fdps.cli.export.export import export
from fdps.cli.index.index import index
from fdps.cli.models.app import app as models
from fdps.cli.reproduce.reproduce import reproduce
from fdps.cli.search.search import search
from fdps.cli.serve.serve import serve
from fdps.cli.train.predict import predict
from fdps.cli.train.resume import resume
from fdps.cli.train.train import train
from fdps.errors import FdpsError, ResourceError
from fdps.names import printable

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
    errno.ENOENT,  # a folder in which nothing can be made, or that has gone
    errno.ENOTDIR,  # a place that is a file, a folder, or no name at all
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
}

# click's UsageError, which typer does not export
_WrongUsage = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0])

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
app.command()(reproduce)
app.command()(detect)
app.command()(index)
app.command()(search)
app.command()(serve)
app.command()(export)
app.command()(bench)
app.add_typer(archive)
app.add_typer(models)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Without the program's name; those of the process by default.

    Returns:
        The exit code: 0 done, 1 a bug or a reader that left too early, 2 wrong usage, 130
        interrupted, 143 terminated, or that of the :class:`~fdps.errors.FdpsError` raised.
    """
    return run(app, sys.argv[1:] if arguments is None else arguments)


def run(command: typer.Typer, arguments: Sequence[str]) -> int:
    """Run a typer application and report how it ended, on stderr, without a traceback."""
    _prepare_streams()
    try:
        code = _end_of(command, arguments)
        with suppress(BrokenPipeError):  # the work was done, whoever reads of it
            sys.stdout.flush()
    except BrokenPipeError:  # a reader that has gone (``fdps ... | head``) is told nothing
        code = BUG
    except FdpsError as error:
        code = _report(error)
    except Exception as error:
        known = _resource_error(error)
        code = _report(known) if known else _report_bug(error, arguments)
    _let_go_of_broken_streams()
    return code


def _end_of(command: typer.Typer, arguments: Sequence[str]) -> int:
    """Run a verb, and return the exit code that it, typer or a signal chose."""
    program = typer.main.get_command(command)
    try:
        # Not program.main(), which forgets the signal that a KeyboardInterrupt stands for.
        with program.make_context("fdps", list(arguments)) as context:
            program.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except typer.Abort:  # a question was answered by no
        _say("Aborted!")
        return 1
    except _WrongUsage as error:
        error.show()
        return error.exit_code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt as interruption:  # SIGTERM asks training to stop, too
        number = interruption.args[0] if interruption.args else signal.SIGINT
        return 128 + (number if isinstance(number, int) else signal.SIGINT)
    return 0


def _prepare_streams() -> None:
    """Let every text be printed, and let no file that is opened later become stdout or stderr.

    Characters that the encoding of a stream lacks are written as their numbers, and so are the
    bytes of names that are not UTF-8.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # the program was started with the stream closed
            # The lowest number that is free is that of the stream itself; it stays open.
            nowhere = Path(os.devnull).open("r" if name == "stdin" else "w")  # noqa: SIM115
            setattr(sys, name, nowhere)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _let_go_of_broken_streams() -> None:
    """Write out what is buffered; what nobody reads must not fail again when Python ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _say(text: str) -> None:
    """Print text on stderr if it can be printed there; names in it leave the terminal alone."""
    lines = "\n".join(printable(line) for line in text.split("\n"))
    with suppress(OSError, ValueError):  # closed, or a reader that has gone
        print(lines, file=sys.stderr)


def _report(error: FdpsError) -> int:
    log.debug("where it happened", exc_info=True)
    _say(f"error: {printable(error)}")  # one line: a name in it may hold a newline
    if error.hint:
        _say(textwrap.indent(error.hint, "  "))
    return error.exit_code


def _resource_error(error: Exception) -> ResourceError | None:
    """Tell what the machine refuses, which is no bug: memory, disk, permissions, file handles."""
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
    _say(f"error: unexpected {type(error).__name__}: {error}")
    place = _kept(report)
    if place is None:
        _say(report)
    else:
        _say(f"  this is a bug in fdps; please report it with {place}")
    return BUG


def _kept(report: str) -> Path | None:
    """Write a report into the folder of temporary files; ``None`` if there is no room for it."""
    path = None
    try:
        handle, name = tempfile.mkstemp(prefix="fdps-error-", suffix=".txt", text=True)
        path = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(report)
    except OSError:
        if path is not None:
            path.unlink(missing_ok=True)
        return None
    return path
