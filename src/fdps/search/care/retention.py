"""The retention policy of an archive: how long it keeps its scenes, and which are older."""

import json
import re
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

from fdps.errors import ArchiveError, UsageError
from fdps.search.audit import Note
from fdps.search.sql.store import SqlStore

By = Literal["added", "taken"]
FOREVER = "forever"

_UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400}
_KEEP = re.compile(r"(\d+(?:\.\d+)?)([hdw])")
_POLICY = "retention"
_COLUMNS = {"added": "added", "taken": "instant"}


@dataclass(frozen=True, slots=True)
class Retention:
    """A policy that says how long scenes are kept.

    Args:
        keep: Duration such as ``30d``, ``12h`` or ``2w``.
        by: Whether the duration is counted from the time a scene was added, or from the time it was
            taken; a scene of unknown time is then never due.

    Raises:
        UsageError: ``keep`` is malformed or zero.
    """

    keep: str
    by: By = "added"

    def __post_init__(self) -> None:
        if self.keep_s <= 0:
            raise UsageError(f"keep must be above zero, got {self.keep!r}")

    @property
    def keep_s(self) -> float:
        """The duration in seconds.

        Example:
            >>> Retention("1.5d").keep_s
            129600.0
        """
        match = _KEEP.fullmatch(self.keep)
        if not match:
            raise UsageError(
                f"keep takes hours, days or weeks, got {self.keep!r}",
                hint="such as 12h, 30d or 2w; 'forever' ends the retention",
            )
        return float(match[1]) * _UNITS[match[2]]


def parse_keep(keep: str | None, by: By = "added") -> Retention | None:
    """Read a policy as users write it; ``forever`` gives ``None``.

    Raises:
        UsageError: The policy is malformed.
    """
    return None if keep in (None, FOREVER) else Retention(str(keep), by)


def retention_of(store: SqlStore) -> Retention | None:
    """Return the policy of an archive, or ``None`` if it keeps everything.

    Raises:
        ArchiveError: The policy in the archive is malformed.
    """
    text = store.note(_POLICY)
    try:
        return Retention(**json.loads(text)) if text else None
    except (TypeError, ValueError, UsageError) as error:
        raise ArchiveError(
            f"the archive is damaged: its retention is {text!r}",
            hint="set it again: fdps archive retention NAME --keep 30d",
        ) from error


def set_retention(store: SqlStore, retention: Retention | None) -> None:
    """Give an archive a policy, or take it away. Nothing is erased yet.

    Raises:
        ArchiveError: Another process writes, or the archive is read-only.
    """
    store.write_note(_POLICY, json.dumps(asdict(retention)) if retention else "")


def due(store: SqlStore, retention: Retention, *, now: float | None = None) -> list[str]:
    """Return the names of the scenes that are older than the policy allows, oldest first.

    Args:
        store: The archive.
        retention: The policy.
        now: Seconds since 1970; by default the time of the clock.
    """
    column = _COLUMNS[retention.by]
    with store.reading() as database:
        rows = database.execute(
            f"SELECT name FROM scenes WHERE {column} < ? ORDER BY {column}, id",
            (limit(retention, now),),
        ).fetchall()
    return [name for (name,) in rows]


@dataclass(frozen=True, slots=True)
class Age:
    """Since when a scene counts for the retention.

    Args:
        added: When it was added, in seconds since 1970; ``None`` where that is not known.
        taken: When it was taken, likewise.
    """

    added: float | None = None
    taken: float | None = None


UNKNOWN_AGE = Age()
"""The age of what no retention reaches."""


def age_of(store: SqlStore, sha256: str, frame: int) -> Age:
    """Return since when a scene counts."""
    with store.reading() as database:
        row = database.execute(
            "SELECT added, instant FROM scenes WHERE sha256 = ? AND frame = ?", (sha256, frame)
        ).fetchone()
    return Age(*row) if row else UNKNOWN_AGE


def apply_retention(store: SqlStore, retention: Retention, *, now: float | None = None) -> int:
    """Erase the scenes that are due, as :meth:`SqlStore.remove` does.

    Returns:
        The number of people erased.

    Raises:
        ArchiveError: Another process writes, or the archive is read-only.
    """
    with store.writing():
        names = due(store, retention, now=now)
        moment = datetime.fromtimestamp(limit(retention, now), UTC).isoformat(timespec="seconds")
        note = Note("retention", details={**asdict(retention), "older_than": moment})
        return store.remove(scenes=names, note=note)


def overdue(store: SqlStore, where: str, *, now: float | None = None) -> str:
    """Return one line about scenes that should be gone by now; empty if there are none.

    Args:
        store: The archive.
        where: The archive, as the user names it.
        now: The time, as for :func:`due`.
    """
    retention = retention_of(store)
    if retention is None:
        return ""
    n_due = len(due(store, retention, now=now))
    scenes = "1 scene is" if n_due == 1 else f"{n_due} scenes are"
    way_out = f"fdps archive retention {where} --apply"
    return f"{scenes} older than {retention.keep}: {way_out}" if n_due else ""


def limit(retention: Retention, now: float | None = None) -> float:
    """Return the moment before which a scene is due, in seconds since 1970."""
    return (time.time() if now is None else now) - retention.keep_s
