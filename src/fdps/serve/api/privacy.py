"""REST of the duties towards those who are seen: forget, audit, retention, connections."""

import json
from functools import partial
from typing import Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from fdps.errors import UsageError
from fdps.names import printable
from fdps.search.audit import Note, entries, faults, kept_head
from fdps.search.care.retention import due, parse_keep, retention_of, set_retention
from fdps.search.index import Index
from fdps.search.open_store import ON_A_SERVER
from fdps.search.sqlite.store import SqliteStore
from fdps.serve.api.cases import Book
from fdps.serve.archives import ServedArchive
from fdps.serve.cases.case import MOST_OF_PURPOSE, checked
from fdps.serve.cases.forgetting import forget_everywhere
from fdps.serve.cases.store import CaseStore
from fdps.serve.dependencies import Admin, AllArchives, Archive, Viewer

router = APIRouter(prefix="/api/v1", tags=["privacy"])

MOST_FORGOTTEN = 10_000
"""Most people in one request."""


class Forget(BaseModel):
    """People to erase for good."""

    model_config = ConfigDict(extra="forbid")

    archive: str | None = Field(None, max_length=200)
    items: list[int] = Field(min_length=1, max_length=MOST_FORGOTTEN)
    reason: str = ""
    dry_run: bool = Field(True, description="Only say what would be erased; change nothing.")


class Keep(BaseModel):
    """How long an archive keeps its scenes."""

    model_config = ConfigDict(extra="forbid")

    keep: str = Field(max_length=50, description="Such as 12h, 30d or 2w, or forever.")
    by: Literal["added", "taken"] = "added"


@router.post("/forget")
async def forget(body: Forget, user: Admin, book: Book, archives: AllArchives) -> dict[str, Any]:
    """Erase people from an archive and from the cases, or say what would be erased.

    Their pictures and videos are never touched; ``scenes`` names those that show them.
    """
    archive = archives.get(body.archive)
    if any(not 0 < item < 2**63 for item in body.items):
        raise UsageError("an item is the number of a person, above 0")
    reason = checked(body.reason, "the reason", MOST_OF_PURPOSE, lines=True)
    has_cases = await run_in_threadpool(_has_cases, book, archive)
    cases = await book.enter(archive) if has_cases else None
    erase = partial(_forget, archive.place, cases, body.items, reason, body.dry_run, user.name)
    return await archive.read(lambda _: erase())


@router.get("/audit")
async def audit(
    user: Admin,
    archive: Archive,
    offset: int = Query(0, ge=0, description="Newest entries to pass over."),
    limit: int = Query(100, ge=1, le=1000),
    expect: str = Query("", max_length=64, pattern="^([0-9a-f]{8,64})?$"),
) -> dict[str, Any]:
    """Return entries of the audit, the newest first, and whether the whole chain is as it was."""
    return await archive.read(partial(_audit, offset=offset, limit=limit, expect=expect))


@router.get("/retention")
async def retention(user: Viewer, archive: Archive) -> dict[str, Any]:
    """Return how long the archive keeps its scenes, and how many are overdue."""
    return await archive.read(_retention)


@router.put("/retention")
async def keep(body: Keep, user: Admin, archive: Archive) -> dict[str, Any]:
    """Set how long the archive keeps its scenes; nothing is erased yet."""
    wanted = parse_keep(body.keep, body.by)

    def change(index: Index) -> dict[str, Any]:
        set_retention(index.store, wanted)
        _store(index).record(
            Note("retention", details={"keep": body.keep, "by": body.by, "user": user.name})
        )
        return _retention(index)

    return await archive.read(change)


@router.get("/connections")
async def connections(user: Viewer) -> list[str]:
    """List the connections that the service opens to other machines: none."""
    return []


def _has_cases(book: Book, archive: ServedArchive) -> bool:
    try:
        return book.place(archive).is_file()
    except UsageError:  # an archive on a server, and no file of cases
        return False


def _forget(
    place: str,
    cases: CaseStore | None,
    items: list[int],
    reason: str,
    dry_run: bool,
    user: str,
) -> dict[str, Any]:
    with Index.open(place) as index:
        people = index.store.people(items)
        scenes = sorted({person.scene for person in people})
        n_people, erased = forget_everywhere(
            index.store, cases, items, reason=_signed(reason, user), dry_run=dry_run
        )
        is_log_empty = getattr(index.store, "is_log_empty", True)
    return {
        "dry_run": dry_run,
        "n_people": n_people,
        "scenes": scenes,
        "items": [person.item for person in people],
        "cases": [{"id": key, "name": name} for key, name in erased.cases.items()],
        "n_query_people": erased.n_people,
        "n_verdicts": erased.n_verdicts,
        "log_is_empty": is_log_empty,
    }


def _signed(reason: str, user: str) -> str:
    """Add who asked for it: the audit itself names the user of the operating system."""
    return f"{reason} (by {user})" if reason else f"by {user}"


def _store(index: Index) -> SqliteStore:
    if not isinstance(index.store, SqliteStore):
        raise UsageError(
            "an archive on a server has no audit and no retention of its own", hint=ON_A_SERVER
        )
    return index.store


def _audit(index: Index, *, offset: int, limit: int, expect: str) -> dict[str, Any]:
    with _store(index).reading() as connection:
        wrong = faults(connection, expect=expect)
        n_entries, head = kept_head(connection)
        page = entries(connection, last=offset + limit)
    newest_first = page[::-1][offset:]
    return {
        "total": n_entries,
        "head": head,
        "verified": not wrong,
        "faults": wrong,
        "entries": [
            {
                "seq": entry.seq,
                "time": entry.time,
                "who": printable(entry.who),
                "action": entry.action,
                "purpose": entry.purpose,
                "details": _details(entry.details),
                "hash": entry.hash,
            }
            for entry in newest_first
        ],
    }


def _details(text: str) -> Any:
    """Read the details of an entry; damage can leave anything there."""
    try:
        return json.loads(text)
    except ValueError:
        return printable(text)


def _retention(index: Index) -> dict[str, Any]:
    store = _store(index)
    policy = retention_of(store)
    return {
        "keep": policy.keep if policy else "forever",
        "by": policy.by if policy else "added",
        "n_due": len(due(store, policy)) if policy else 0,
    }
