"""What both databases share: the tables of an archive, and everything that is asked of them.

An archive is kept in SQLite, in a folder, or in PostgreSQL, on a server. Its tables have the same
names and columns in both, and the same statements read and write them; what these may rely on says
:mod:`fdps.search.database`. ``store`` is the :class:`~fdps.search.store.Store` as far as both
agree. The other modules are its parts: searches, filters, tracks and erasure.
"""
