"""The command ``fdps serve``: archives in a browser and over REST."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fdps.cli.archive_model import ModelChoice, warn_of_limits
from fdps.cli.option_groups import grouped
from fdps.cli.serve.options import Access, Rules, settings_of
from fdps.errors import UsageError
from fdps.names import printable, typed

if TYPE_CHECKING:
    from fdps.search import IndexInfo
    from fdps.serve.settings import ServeSettings
    from fdps.structures import Embedder

NOTE = "These are candidates of similar appearance, mostly clothing; a human decides."


@grouped
def serve(
    access: Access,
    rules: Rules,
    model: ModelChoice,
    archives: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME.fdps]...", help="Archives to serve.")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Serve the archive of fdps demo; make it first.")
    ] = False,
    add_user: Annotated[
        str, typer.Option(metavar="NAME", help="Add a user to --users, and stop.")
    ] = "",
    role: Annotated[
        Literal["viewer", "editor", "admin"],
        typer.Option(help="With --add-user: search; cases and jobs too; privacy too."),
    ] = "viewer",
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser.")
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object when it is listening.")
    ] = False,
) -> None:
    """Serve archives in a browser and over REST, on this machine unless told otherwise."""
    _need_packages()
    # Before NumPy is loaded: many searches at once are one product of matrices, and a second thread
    # of OpenBLAS would wait by spinning on the core that answers. Models have their own threads.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if add_user:
        _add_user(access.users, add_user, role)
        return
    places = [*(archives or []), *([_demo_archive()] if demo else [])]
    _serve(places, access, rules, model, open_browser=open_browser, json_output=json_output)


def _serve(
    places: Sequence[str],
    access: Access,
    rules: Rules,
    model: ModelChoice,
    *,
    open_browser: bool,
    json_output: bool,
) -> None:
    from fdps.serve.app import create_app
    from fdps.serve.archives import Archives
    from fdps.serve.server import listen
    from fdps.serve.server import serve as serve_app

    def load(info: "IndexInfo") -> "Embedder":
        warn_of_limits(info.model_hash)
        return model.load_for("the archive", info, quiet=True)

    # Whatever can be refused is refused before the port is taken.
    settings = settings_of(access, rules, access.port)
    settings.check()
    served = Archives(places, load, model=str(model.model or ""))
    try:
        with listen(settings.host, settings.port) as bound:
            settings = replace(settings, port=bound.getsockname()[1])
            app = create_app(settings, served)
            serve_app(
                app, settings, bound, partial(_started, places, settings, open_browser, json_output)
            )
    finally:
        served.close()


def _started(
    places: Sequence[str], settings: "ServeSettings", open_browser: bool, json_output: bool
) -> None:
    """Say where the service listens, as soon as it does."""
    if json_output:
        _print_json(places, settings)
    else:
        _print_banner(places, settings)
    if open_browser:
        import webbrowser

        webbrowser.open(address(settings))


def address(settings: "ServeSettings") -> str:
    """Return the address to open; with the token, where there is one for browsers."""
    name = settings.names[0] if settings.names else settings.host
    if ":" in name and not name.startswith("["):
        name = f"[{name}]" if name.count(":") > 1 else name
    has_port = settings.names and ":" in settings.names[0].rpartition("]")[2]
    port = "" if has_port or settings.behind_proxy else f":{settings.port}"
    query = "" if settings.users else f"?token={settings.token}"
    return f"{settings.scheme}://{name}{port}/{query}"


def _print_banner(places: Sequence[str], settings: "ServeSettings") -> None:
    names = ", ".join(printable(place) for place in places)
    who = "users of " + str(settings.users) if settings.users else "whoever has this address"
    where = "this machine only" if settings.is_local else "other machines, too"
    hours = settings.limits.query_s / 3600
    print(f"Serving {names} on {address(settings)}")
    print(f"Access  {printable(who)}, from {where}")
    print(f"Audit   on; query pictures are forgotten after {hours:g} h or when this ends")
    print(f"Note    {NOTE}")
    print("Stop    Ctrl-C", flush=True)


def _print_json(places: Sequence[str], settings: "ServeSettings") -> None:
    told = {
        "address": address(settings),
        "port": settings.port,
        "archives": [str(place) for place in places],
        "local": settings.is_local,
    }
    print(json.dumps(told), flush=True)


def _need_packages() -> None:
    """Name the extra before anything is done.

    Raises:
        UsageError: A package of the extra is not installed.
    """
    try:
        import argon2
        import fastapi
        import prometheus_client
        import python_multipart
        import uvicorn
    except ImportError as error:
        raise UsageError(
            f"fdps serve needs {error.name}, which is not installed",
            hint="pip install 'fdps[serve]'",
        ) from error
    del argon2, fastapi, prometheus_client, python_multipart, uvicorn


def _add_user(users: Path | None, name: str, role: str) -> None:
    from fdps.serve.security.users import add_user

    if users is None:
        raise UsageError("--add-user needs the file of users", hint="--users FILE")
    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    add_user(users, name, role, password)
    print(f"{printable(name)} is {role} in {printable(users)}")
    print(f"Next    fdps serve NAME.fdps --users {typed(users)}")


def _demo_archive() -> str:
    """Return the archive of ``fdps demo``, which is made where it is not there."""
    from fdps.cli.demo.drawn import OUT, demo_of_drawn
    from fdps.cli.demo.options import Drawn
    from fdps.cli.demo.stages import ARCHIVE
    from fdps.search.sqlite.schema import DATABASE

    if not (OUT / ARCHIVE / DATABASE).is_file():
        demo_of_drawn(OUT, Drawn(), json_output=False, quiet=False)
    return str(OUT / ARCHIVE)
