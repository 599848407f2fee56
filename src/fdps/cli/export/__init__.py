"""The commands ``fdps export`` and ``fdps bench``: other runtimes, and how quick they are."""
