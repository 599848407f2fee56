"""What an archive has erased, by a wish or by its retention, is also erased from the cases."""

from collections.abc import Sequence

from fdps.search.audit import Note
from fdps.search.care.forget import candidates_of_items, forget
from fdps.search.care.retention import limit, retention_of
from fdps.search.sql.store import SqlStore
from fdps.serve.cases.case import Place
from fdps.serve.cases.places import places_of
from fdps.serve.cases.store import CaseStore, ErasedFromCases, SceneKey

NOTHING = ErasedFromCases({}, 0, 0)


def archive_key(store: SqlStore) -> str:
    """Return what names an archive in a file of cases, wherever it is kept.

    It is the hash of the first entry of its audit; an archive without one goes by its place.
    """
    with store.reading() as database:
        row = database.execute("SELECT hash FROM audit WHERE seq = 1").fetchone()
    if row:
        return str(row[0])
    return str(store.folder.resolve()) if store.folder else store.where


def forget_everywhere(
    store: SqlStore,
    cases: CaseStore | None,
    items: Sequence[int],
    *,
    reason: str = "",
    user: str = "",
    dry_run: bool = False,
) -> tuple[int, ErasedFromCases]:
    """Erase people for good, from an archive and from its cases.

    The cases come first: whoever stops this half way finds the people in the archive again. What
    the command line erases from the archive alone is erased from the cases by
    :func:`erase_forgotten`.

    Args:
        store: The archive.
        cases: Its cases, if there are any.
        items: Numbers of people.
        reason: The reason, noted in the audit.
        user: Who asked for it, where that is not the user of the operating system.
        dry_run: Whether to change nothing, and only to say what would be erased.

    Returns:
        The number of people erased from the archive, and what was erased from the cases.

    Raises:
        MissingDataError: Nobody has any of these numbers.
        ArchiveError: Another process writes into the archive.
    """
    there = [one.item for one in candidates_of_items(store, items)]
    places = list(places_of(store, there).values())
    if dry_run:
        found = cases.erase(archive_key(store), places, dry_run=True) if cases else NOTHING
        return len(there), found
    with store.writing():  # so that nothing is erased from the cases where the archive is in use
        erased = cases.erase(archive_key(store), places) if cases else NOTHING
        return forget(store, there, reason=reason, user=user), erased


def erase_forgotten(store: SqlStore, cases: CaseStore, *, after: int = 0) -> int:
    """Erase from the cases whoever the archive has forgotten.

    Args:
        store: The archive.
        cases: Its cases.
        after: Marks up to this number are passed over, as what an earlier call returned.

    Returns:
        The number of the newest mark.
    """
    with store.reading() as database:
        rows = database.execute(
            "SELECT id, sha256, frame, x1, y1, x2, y2 FROM forgotten WHERE id > ? ORDER BY id",
            (after,),
        ).fetchall()
    if rows:
        places = [
            Place(sha256, frame, (x1, y1, x2, y2)) for _, sha256, frame, x1, y1, x2, y2 in rows
        ]
        cases.erase(archive_key(store), places)
        after = rows[-1][0]
    return after


def erase_expired(
    store: SqlStore, cases: CaseStore, *, now: float | None = None
) -> ErasedFromCases:
    """Erase from the cases what they keep of scenes that the retention has erased.

    A scene that is gone for another reason stays in the cases until it is as old as the retention
    allows, because its file may be indexed again.

    Args:
        store: The archive.
        cases: Its cases.
        now: Seconds since 1970; by default the time of the clock.
    """
    policy = retention_of(store)
    if policy is None:
        return NOTHING
    key = archive_key(store)
    old = cases.scenes_before(key, policy.by, limit(policy, now))
    gone = [scene for scene in old if not _is_there(store, scene)]
    if not gone:
        return NOTHING
    erased = cases.erase_scenes(key, gone)
    details = {
        "cases": [*erased.cases],
        "n_query_people": erased.n_people,
        "n_verdicts": erased.n_verdicts,
    }
    store.record(Note("retention", details=details))
    return erased


def _is_there(store: SqlStore, scene: SceneKey) -> bool:
    with store.reading() as database:
        row = database.execute(
            "SELECT 1 FROM scenes WHERE sha256 = ? AND frame = ?", scene
        ).fetchone()
    return row is not None
