"""The command line: arguments become one library call, results are printed.

Internal: the commands with their options, exit codes and ``--json`` are what others may build on,
not these modules. Each group of verbs has a folder; ``main`` puts them together.
"""
