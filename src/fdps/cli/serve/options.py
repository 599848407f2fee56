"""The options of ``fdps serve``."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdps.errors import MissingDataError, UsageError

if TYPE_CHECKING:
    from fdps.serve.settings import ServeSettings

TOKEN = "FDPS_SERVE_TOKEN"


@dataclass(frozen=True)
class Access:
    """Where the service listens, and who may come in."""

    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine's need --users.")
    ] = "127.0.0.1"
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8899
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:PORT]", help="A name of this service, for other machines."),
    ] = None
    users: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Users, roles and password hashes (TOML).")
    ] = None
    cert: Annotated[Path | None, typer.Option(metavar="FILE.pem", help="Certificate, for TLS.")] = (
        None
    )
    key: Annotated[
        Path | None, typer.Option(metavar="FILE.pem", help="Private key of the certificate.")
    ] = None
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A proxy in front speaks TLS.")
    ] = False
    proxy: Annotated[str, typer.Option(metavar="ADDRESSES", help="Addresses of that proxy.")] = (
        "127.0.0.1"
    )


@dataclass(frozen=True)
class Rules:
    """What the service offers."""

    root: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIR", help="A folder that may be indexed; repeatable."),
    ] = None
    purpose_required: Annotated[
        bool, typer.Option("--purpose-required", help="Refuse searches without a purpose.")
    ] = False
    cases: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File of cases. [default: in the archive's folder]"),
    ] = None


def settings_of(access: Access, rules: Rules, port: int) -> "ServeSettings":
    """Return the settings of the service, with a new token where there are no users.

    Args:
        access: Where it listens, and who may come in.
        rules: What it offers.
        port: The port that it has.

    Raises:
        UsageError: The token of the environment is too short, or a root is malformed.
        MissingDataError: A file or folder is not there.
    """
    from fdps.serve.security.tokens import MIN_TOKEN, new_token
    from fdps.serve.settings import ServeSettings

    token = os.environ.get(TOKEN, "")
    if token and len(token) < MIN_TOKEN:
        raise UsageError(f"{TOKEN} has {len(token)} letters, a token needs {MIN_TOKEN}")
    for file in filter(None, (access.cert, access.key)):
        if not file.is_file():
            raise MissingDataError(f"there is no file {file}")
    return ServeSettings(
        host=access.host,
        port=port,
        names=tuple(access.name or ()),
        token=token or ("" if access.users else new_token()),
        users=access.users,
        certificate=access.cert,
        key=access.key,
        behind_proxy=access.behind_proxy,
        proxy=access.proxy,
        roots=roots_of(rules.root or []),
        purpose_required=rules.purpose_required,
        cases=rules.cases,
    )


def roots_of(given: list[str]) -> dict[str, Path]:
    """Read ``NAME=DIR``.

    Raises:
        UsageError: One is malformed, or a name is given twice.
        MissingDataError: There is no such folder.
    """
    roots: dict[str, Path] = {}
    for text in given:
        name, separator, folder = text.partition("=")
        if not name or not separator or not folder or name in roots:
            raise UsageError(f"a root is NAME=DIR, each name once, got {text!r}")
        if not Path(folder).is_dir():
            raise MissingDataError(f"there is no folder {folder}")
        roots[name] = Path(folder).resolve()
    return roots
