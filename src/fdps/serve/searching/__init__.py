"""Searches of many users at once: what waits together is one call of a process that compares.

From the ground up: ``calls`` is what that process does, ``process`` the process, ``gathering``
the thread that gives it all that waits, ``answer`` the search of one user.
"""
