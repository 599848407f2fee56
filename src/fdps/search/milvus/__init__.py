"""The archive on a Milvus server, which keeps the promises of the archive in a folder.

``store`` is the :class:`~fdps.search.store.Store`. The other modules are its parts: addresses,
the collections and their rows, the journal that makes transactions, and searches.
"""
