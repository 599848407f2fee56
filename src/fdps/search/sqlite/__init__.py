"""The archive in one folder: SQLite holds the truth, a matrix in memory answers searches.

``store`` is the :class:`~fdps.search.store.Store` of a folder. The other modules are its parts: the
schema and its migration, searches, filters as SQL, tracks, and erasure.
"""
