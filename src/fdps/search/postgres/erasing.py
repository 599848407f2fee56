"""How what was erased leaves the files of a server.

A deleted row stays in the file of its table until its room is used again. Writing the table anew
(``VACUUM FULL``) leaves it behind for good. The server's log (WAL) holds rows as they were added; a
file of it is deleted when a checkpoint has made it needless, unless the server uses it again
(``wal_recycle``) or keeps it for others (``archive_mode``, replicas). What cannot be done from here
is told.
"""

from contextlib import suppress

import psycopg

from fdps.search.postgres.database import PostgresDatabase

TABLES = ("people", "scenes", "tracks", "videos")
WAIT_S = 30
"""Longest wait for those who read; meanwhile those who come later wait as well."""


def rewrite_tables(database: PostgresDatabase) -> None:
    """Write the tables of scenes and people anew, outside of any transaction.

    Raises:
        psycopg.errors.LockNotAvailable: Somebody reads for longer than :data:`WAIT_S`.
    """
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
        "AND pg_has_role('pg_checkpoint', 'usage'), current_setting('wal_recycle'), "
        "current_setting('archive_mode')"
    ).fetchone() or (False, "on", "off")
    if not may_close:
        return (
            "the server's log keeps what was erased until its next checkpoints; to end that at "
            "once, its administrator grants pg_checkpoint and pg_switch_wal()"
        )
    if recycle == "on":
        return (
            "the server's log keeps what was erased until its files are written over; "
            "wal_recycle = off lets the server delete them"
        )
    if archived != "off":
        return "the archived log of the server keeps what was erased as long as its files are kept"
    return ""
