"""The archive on a PostgreSQL server, which keeps the promises of the archive in a folder.

``store`` is the :class:`~fdps.search.store.Store`; most of it is in :mod:`fdps.search.sql`. The
other modules are its parts: addresses and errors, the connection, the schema, the scan of the
server, and how what was erased leaves its files.
"""
