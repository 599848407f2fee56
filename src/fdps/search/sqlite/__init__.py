"""The archive in one folder: SQLite holds the truth, a matrix in memory answers searches.

``store`` is the :class:`~fdps.search.store.Store` of a folder; most of it is in
:mod:`fdps.search.sql`. The other modules are its parts: the connection, the schema with the lock of
the writer, and the migration of older archives.
"""
