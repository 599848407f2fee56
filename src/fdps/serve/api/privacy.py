"""REST of the duties towards those who are seen: forget, audit, retention, connections."""

import json
from datetime import datetime
from functools import partial
from typing import Any

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool

from fdps.errors import UsageError
from fdps.names import printable
from fdps.search.audit import Note, entries, faults, kept_head
from fdps.search.care.retention import (
    FOREVER,
    due,
    limit,
    parse_keep,
    retention_of,
    set_retention,
)
from fdps.search.index import Index
from fdps.serve.api.cases import Book
from fdps.serve.api.schemas_of_work import (
    AuditEntryOut,
    AuditOut,
    CaseNameOut,
    ForgetIn,
    ForgottenOut,
    RetentionIn,
    RetentionOut,
)
from fdps.serve.archives import ServedArchive
from fdps.serve.cases.book import CaseBook
from fdps.serve.cases.case import MOST_OF_PURPOSE, checked
from fdps.serve.cases.forgetting import archive_key, forget_everywhere
from fdps.serve.cases.store import CaseStore
from fdps.serve.dependencies import Admin, AllArchives, Archive, Viewer

router = APIRouter(prefix="/api/v1", tags=["privacy"])


@router.post("/forget")
async def forget(body: ForgetIn, user: Admin, book: Book, archives: AllArchives) -> ForgottenOut:
    """Erase people from an archive and from the cases, or say what would be erased.

    Their pictures and videos are never touched; ``scenes`` names those that show them.
    """
    archive = archives.get(body.archive)
    if any(not 0 < item < 2**63 for item in body.items):
        raise UsageError("an item is the number of a person, above 0")
    reason = checked(body.reason, "the reason", MOST_OF_PURPOSE, lines=True)
    cases = await _cases_of(book, archive)
    erase = partial(_forget, archive.place, cases, body.items, reason, body.dry_run, user.name)
    return await archive.read(lambda _: erase())


@router.get("/audit")
async def audit(
    user: Admin,
    archive: Archive,
    offset: int = Query(0, ge=0, description="Newest entries to pass over."),
    limit: int = Query(100, ge=1, le=1000),
    expect: str = Query("", max_length=64, pattern="^([0-9a-f]{8,64})?$"),
) -> AuditOut:
    """Return entries of the audit, the newest first, and whether the whole chain is as it was."""
    return await archive.read(partial(_audit, offset=offset, limit=limit, expect=expect))


@router.get("/retention")
async def retention(user: Viewer, book: Book, archive: Archive) -> RetentionOut:
    """Return how long the archive keeps its scenes, how many are overdue, and which cases are."""
    cases = await _cases_of(book, archive)
    return await archive.read(partial(_retention, cases=cases))


@router.put("/retention")
async def keep(body: RetentionIn, user: Admin, book: Book, archive: Archive) -> RetentionOut:
    """Set how long the archive keeps its scenes; nothing is erased yet."""
    cases = await _cases_of(book, archive)
    wanted = parse_keep(body.keep, body.by)

    def change(index: Index) -> RetentionOut:
        set_retention(index.store, wanted)
        index.store.record(
            Note("retention", details={"keep": body.keep, "by": body.by, "user": user.name})
        )
        return _retention(index, cases)

    return await archive.read(change)


@router.get("/connections")
async def connections(user: Viewer) -> list[str]:
    """List the connections that the service opens to other machines: none."""
    return []


async def _cases_of(book: CaseBook, archive: ServedArchive) -> CaseStore | None:
    has_cases = await run_in_threadpool(_has_cases, book, archive)
    return await book.enter(archive) if has_cases else None


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
) -> ForgottenOut:
    with Index.open(place) as index:
        people = index.store.people(items)
        scenes = sorted({person.scene for person in people})
        n_people, erased = forget_everywhere(
            index.store, cases, items, reason=reason, user=user, dry_run=dry_run
        )
        is_log_empty = not index.store.still_kept
    return ForgottenOut(
        dry_run=dry_run,
        n_people=n_people,
        items=[person.item for person in people],
        scenes=scenes,
        cases=[CaseNameOut(id=key, name=name) for key, name in erased.cases.items()],
        n_query_people=erased.n_people,
        n_verdicts=erased.n_verdicts,
        log_is_empty=is_log_empty,
    )


def _audit(index: Index, *, offset: int, limit: int, expect: str) -> AuditOut:
    with index.store.reading() as database:
        wrong = faults(database, expect=expect)
        n_entries, head = kept_head(database)
        page = entries(database, last=offset + limit)
    shown = [
        AuditEntryOut(
            seq=entry.seq,
            time=entry.time,
            who=printable(entry.who),
            action=entry.action,
            purpose=entry.purpose,
            details=_details(entry.details),
            hash=entry.hash,
        )
        for entry in page[::-1][offset:]
    ]
    return AuditOut(total=n_entries, head=head, verified=not wrong, faults=wrong, entries=shown)


def _details(text: str) -> Any:
    """Read the details of an entry; damage can leave anything there."""
    try:
        return json.loads(text)
    except ValueError:
        return printable(text)


def _retention(index: Index, cases: CaseStore | None) -> RetentionOut:
    store = index.store
    policy = retention_of(store)
    if policy is None:
        return RetentionOut(keep=FOREVER, by="added", n_due=0, old_cases=[])
    n_due = len(due(store, policy))
    lines = cases.lines([archive_key(store)]) if cases else []
    before = limit(policy)
    old = [
        CaseNameOut(id=line.id, name=line.name)
        for line in lines
        if datetime.fromisoformat(line.changed).timestamp() < before
    ]
    return RetentionOut(keep=policy.keep, by=policy.by, n_due=n_due, old_cases=old)
