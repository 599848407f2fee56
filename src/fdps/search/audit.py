"""The audit of an archive: who did what, each entry bound to the one before it by a hash.

An entry that is changed, removed or slipped in breaks the chain. The number of entries and the
newest hash, the head, are kept apart as well, so that a removed last entry is missed. Whoever can
rewrite the whole file can also compute a new chain; a head that was written down elsewhere then
tells: it is no longer in the chain.

Entries say who looked for what, and what was shown; they hold no embedding and no pixel.
"""

import getpass
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, runtime_checkable

from fdps.errors import ArchiveError, ResourceError
from fdps.search.database import Database
from fdps.search.store import EVERYBODY, Filters
from fdps.structures import Hit

BEGINNING = "0" * 64
"""The hash that the first entry follows."""

MOST_NAMED = 1000  # most items or scenes named in one entry; a removal may be of a million
NOTE_ACTIONS = {"calibration": "calibrate", "retention": "retention"}
"""The action of a note with this key; any other note is called ``note``."""

KEEP = "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
"""Statement that keeps a text under a key, in place of an earlier one."""

_STAMP = ("model_hash", "dim", "model", "created", "created_by")
_COLUMNS = "seq, time, who, action, purpose, details, previous, hash"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One action in an archive.

    Args:
        seq: Number of the entry, from 1, without gaps.
        time: Time of the action, ISO 8601, UTC.
        who: Name of the user, as the operating system knows it.
        action: Kind of action: ``create``, ``index``, ``search``, ``remove``, ``forget`` ...
        purpose: The purpose, as the user stated it.
        details: JSON object with sorted keys.
        previous: Hash of the entry before.
        hash: SHA-256 of all the fields above.
    """

    seq: int
    time: str
    who: str
    action: str
    purpose: str
    details: str
    previous: str
    hash: str

    def computed_hash(self) -> str:
        """Compute what :attr:`hash` should be."""
        values = astuple(self)[:-1]
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Note:
    """The part of an entry that the caller gives; the archive adds the rest itself.

    Args:
        action: Kind of action, as in :attr:`AuditEntry.action`.
        purpose: The purpose, as the user stated it; may be empty.
        details: Any values that JSON can hold, but nothing biometric.
    """

    action: str
    purpose: str = ""
    details: Mapping[str, Any] | None = None


@runtime_checkable
class Audited(Protocol):
    """A store that keeps an audit of what is done with it."""

    def record(self, note: Note, *more: Note) -> None:
        """Add entries in one short transaction; this also works while another process writes.

        Raises:
            ArchiveError: The archive is read-only.
            ResourceError: The disk is full.
        """


def append(
    database: Database,
    action: str,
    *,
    purpose: str = "",
    details: Mapping[str, Any] | None = None,
) -> None:
    """Add an entry within the transaction of the action that it notes."""
    count, head = kept_head(database)
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    text = json.dumps(dict(details or {}), sort_keys=True)
    draft = AuditEntry(count + 1, now, _user(), action, purpose, text, head, "")
    new_head = draft.computed_hash()
    marks = ", ".join("?" * 8)
    database.execute(
        f"INSERT INTO audit ({_COLUMNS}) VALUES ({marks})", (*astuple(draft)[:-1], new_head)
    )
    database.executemany(
        KEEP,
        [("audit_count", str(count + 1)), ("audit_head", new_head)],
    )


def kept_head(database: Database) -> tuple[int, str]:
    """Return the number of entries and the newest hash, which are kept apart from the entries.

    Raises:
        ArchiveError: What is kept is not a number.
    """
    kept = dict(
        database.execute("SELECT key, value FROM meta WHERE key IN ('audit_count', 'audit_head')")
    )
    try:
        return int(kept.get("audit_count", 0)), str(kept.get("audit_head", BEGINNING))
    except ValueError as error:
        raise ArchiveError(
            f"the archive is damaged: it counts {kept['audit_count']!r} entries of its audit",
            hint="restore it from a backup; fdps archive verify names all that is damaged",
        ) from error


def entries(database: Database, *, last: int | None = None) -> list[AuditEntry]:
    """Return the entries, newest last; with ``last``, only so many of the newest."""
    limit = "" if last is None else f"LIMIT {int(last)}"
    rows = database.execute(f"SELECT {_COLUMNS} FROM audit ORDER BY seq DESC {limit}").fetchall()
    return [_entry(row) for row in reversed(rows)]


def faults(database: Database, *, expect: str = "") -> list[str]:
    """Return what is wrong with the chain: its first bad entry or its end; empty if it is whole.

    Args:
        database: Database within a read transaction.
        expect: A head that was noted earlier, or its beginning (at least 8 digits).
    """
    n_seen, head, is_expected = 0, BEGINNING, not expect
    for entry in _all(database):
        n_seen += 1
        if fault := _fault(entry, n_seen, head):
            return [fault]
        head = entry.hash
        is_expected = is_expected or head.startswith(expect)
    found = []
    count, kept = kept_head(database)
    if (count, kept) != (n_seen, head):
        missing = f"{count - n_seen} of the last are missing" if count > n_seen else "not its head"
        found.append(f"audit: {n_seen} entries, noted are {count} ({missing})")
    if not is_expected:
        found.append(f"audit: no entry has the expected head {expect}; the chain was rewritten")
    return found


def _fault(entry: AuditEntry, number: int, head: str) -> str:
    if entry.seq != number:
        return f"audit: entry {number} is missing"
    if entry.previous != head:
        return f"audit: entry {number} does not follow the one before it"
    return "" if entry.hash == entry.computed_hash() else f"audit: entry {number} was changed"


def note_search(store: object, hits: Iterable[Hit], *, purpose: str = "", **details: object) -> str:
    """Note a search in the archive.

    Args:
        store: Store of the archive; one that keeps no audit notes nothing.
        hits: The people who are shown.
        purpose: The purpose, as the user stated it.
        details: Further values to note. :class:`Filters` are noted as what they leave out; empty
            values are not noted.

    Returns:
        The reason why the search could not be noted, or empty. The search of a read-only archive is
        as good as any.
    """
    if not isinstance(store, Audited):
        return ""
    filters = details.pop("filters", EVERYBODY)
    known = {key: value for key, value in details.items() if value not in ("", None, [])}
    if isinstance(filters, Filters) and filters != EVERYBODY:
        known["filters"] = {key: value for key, value in asdict(filters).items() if value}
    known["items"] = named([hit.item for hit in hits])
    try:
        store.record(Note("search", purpose, known))
    except (ArchiveError, ResourceError) as error:
        return str(error)
    return ""


def note_ingest(store: object, action: str, **details: object) -> None:
    """Note that files are being added, or what became of them.

    Raises:
        ArchiveError: The archive is read-only.
        ResourceError: The disk is full.
    """
    if isinstance(store, Audited):
        store.record(Note(action, details=details))


def stamp(database: Database) -> dict[str, str]:
    """Return what ``create`` notes: the stamp of the archive and its tables."""
    meta = dict(database.execute("SELECT key, value FROM meta"))
    schema = hashlib.sha256(repr(database.tables()).encode()).hexdigest()
    return {**{key: meta.get(key, "") for key in _STAMP}, "schema": schema}


def text_hash(text: str) -> str:
    """Return the SHA-256 of a text, by which the audit names a note."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def named(values: list[Any]) -> list[Any]:
    """Return the first :data:`MOST_NAMED` values, which are all that an entry names."""
    return values[:MOST_NAMED]


def _all(database: Database) -> Iterator[AuditEntry]:
    for row in database.stream(f"SELECT {_COLUMNS} FROM audit ORDER BY seq"):
        yield _entry(row)


def _entry(row: Sequence[Any]) -> AuditEntry:
    """Read an entry. Damage can turn a text into bytes, which are then shown as text."""
    return AuditEntry(row[0], *map(str, row[1:]))


def _user() -> str:
    """Return the user's name from the operating system, not from the environment."""
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):  # Windows; a container may run as a number without a name
        return getpass.getuser() if os.name == "nt" else f"uid {os.getuid()}"
