"""Numbers and pictures about results: strips, curves, the HTML report.

This package is internal, apart from ``fdps.evaluate`` and its ``Evaluation``, which the root
offers: the verbs of the command line draw with it, and its modules may change.
"""
