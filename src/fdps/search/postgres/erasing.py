"""How what was erased leaves the files of a server.

A deleted row stays in the file of its table until its room is used again. Writing the table anew
(``VACUUM FULL``) leaves it behind for good, once nobody reads an older state of the database, in
which the row was still there. The server's log (WAL) holds rows as they were added; a
file of it is deleted when a checkpoint has made it needless, unless the server uses it again
(``wal_recycle``) or keeps it for others (``archive_mode``, replicas). What cannot be done from here
is told.
"""

import time
from contextlib import suppress

import psycopg

from fdps.search.postgres.database import PostgresDatabase

TABLES = ("people", "scenes", "tracks", "videos")
WAIT_S = 30
"""Longest wait for those who read, and then for the lock; meanwhile later readers wait as well."""

_LOOK_AGAIN_S = 0.05


class StillReadError(Exception):
    """Somebody reads what was erased, for longer than :data:`WAIT_S`."""


def rewrite_tables(database: PostgresDatabase) -> None:
    """Write the tables of scenes and people anew, outside of any transaction.

    Raises:
        StillReadError: Somebody reads for longer than :data:`WAIT_S`.
    """
    _wait_for_readers(database)
    try:
        _rewrite(database)
    except psycopg.errors.LockNotAvailable as error:
        raise StillReadError from error


def _wait_for_readers(database: PostgresDatabase) -> None:
    """Wait until nobody reads a state of the database from before now.

    Whoever may not look at the sessions of others (``pg_read_all_stats``) sees their own only.
    """
    (now,) = database.execute("SELECT CAST(pg_current_xact_id() AS text)").fetchone() or ("",)
    end = time.monotonic() + WAIT_S
    while True:
        (n_readers,) = database.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
            "AND backend_xmin IS NOT NULL AND coalesce(datname, '') IN ('', current_database()) "
            "AND age(backend_xmin) > age(CAST(CAST(? AS xid8) AS xid))",
            (now,),
        ).fetchone() or (0,)
        if not n_readers:
            return
        if time.monotonic() > end:
            raise StillReadError
        time.sleep(_LOOK_AGAIN_S)


def _rewrite(database: PostgresDatabase) -> None:
    database.execute(f"SET lock_timeout = '{WAIT_S}s'")
    try:
        for table in TABLES:
            database.execute(f"VACUUM (FULL, ANALYZE) {table}")
    finally:
        with suppress(psycopg.Error):
            database.execute("RESET lock_timeout")


def close_log(database: PostgresDatabase) -> None:
    """Begin a new file of the log and make the older ones needless, as far as we have the right."""
    for statement in ("SELECT pg_switch_wal()", "CHECKPOINT"):
        with suppress(psycopg.errors.InsufficientPrivilege):
            database.execute(statement)


def what_the_log_keeps(database: PostgresDatabase) -> str:
    """Say what the log may still hold of what was erased before; empty if nothing.

    Returns:
        One sentence for the user.
    """
    may_close, recycle, archived = database.execute(
        "SELECT has_function_privilege('pg_switch_wal()', 'execute') "
        "AND pg_has_role('pg_checkpoint', 'usage') AND pg_has_role('pg_read_all_stats', 'usage'), "
        "current_setting('wal_recycle'), "
        "current_setting('archive_mode')"
    ).fetchone() or (False, "on", "off")
    if not may_close:
        return (
            "the server's log keeps what was erased until its next checkpoints; to end that at "
            "once, its administrator grants pg_checkpoint, pg_read_all_stats and pg_switch_wal()"
        )
    if recycle == "on":
        return (
            "the server's log keeps what was erased until its files are written over; "
            "wal_recycle = off lets the server delete them"
        )
    if archived != "off":
        return "the archived log of the server keeps what was erased as long as its files are kept"
    return ""
