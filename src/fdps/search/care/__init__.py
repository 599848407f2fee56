"""Care for an archive: check it, erase from it, and keep nothing longer than wanted.

``verify`` checks every promise, ``forget`` erases people for good, ``retention`` removes what is
overdue, ``compaction`` gives disk space back, and ``info`` tells what an archive holds. Everything
here works on an open :class:`~fdps.search.store.Store`; nothing else in ``search`` imports it.
"""
