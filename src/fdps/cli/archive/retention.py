"""``fdps archive retention``: how long an archive keeps what is in it."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fdps.cli.archive.erase import Archive, Json, Yes, confirm, report_erased
from fdps.errors import UsageError
from fdps.names import printable

if TYPE_CHECKING:
    from fdps.search.sql.store import SqlStore


def retention(
    archive: Archive,
    keep: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Keep scenes for this time: 12h, 30d, 2w, or forever."),
    ] = None,
    by: Annotated[
        Literal["added", "taken"], typer.Option(help="Count from when a scene was added, or taken.")
    ] = "added",
    apply: Annotated[bool, typer.Option("--apply", help="Erase what is older.")] = False,
    yes: Yes = False,
    json_output: Json = False,
) -> None:
    """Show or set how long an archive keeps its scenes; erase what is older."""
    from fdps.search.care.retention import (
        apply_retention,
        due,
        parse_keep,
        retention_of,
        set_retention,
    )
    from fdps.search.open_store import open_store

    wanted = parse_keep(keep, by)
    with open_store(archive) as store:
        if keep is not None:
            set_retention(store, wanted)
        policy = retention_of(store)
        names = due(store, policy) if policy else []
        if apply and policy is None:
            raise UsageError(f"{archive} keeps everything", hint="set it first: --keep 30d")
        if apply and policy and names:
            confirm(f"Erase {len(names)} scenes from {archive}?", yes)
            n_people = apply_retention(store, policy)
            _erase_from_cases(store)
            report_erased(archive, store, n_people, len(names), json_output=json_output)
            return
    if json_output:
        figures = {"keep": policy.keep, "by": policy.by} if policy else {"keep": None, "by": None}
        print(json.dumps({"archive": archive, **figures, "due": names}))
        return
    if policy is None:
        print(f"Keeps   {printable(archive)} keeps everything for ever; --keep 30d changes that")
        return
    print(f"Keeps   {printable(archive)} keeps scenes for {policy.keep} from the time {policy.by}")
    print(f"Due     {len(names)} scenes are older{'; --apply erases them' if names else ''}")


def _erase_from_cases(store: "SqlStore") -> None:
    """Erase what the cases in the folder of the archive keep of scenes that are gone."""
    from fdps.serve.cases.forgetting import erase_expired
    from fdps.serve.cases.store import cases_in

    with cases_in(store.folder) as cases:
        if cases:
            erase_expired(store, cases)


def warn_of_overdue(archive: str, store: "SqlStore") -> None:
    """Print a line on stderr if scenes are kept longer than the archive may."""
    from fdps.search.care.retention import overdue

    if line := overdue(store, archive):
        print(f"warning: {line}", file=sys.stderr)
