"""The tables and figures of the paper, from runs that are trained or found.

In reading order: ``paper`` (what the paper reports), ``variants`` (the rows of its tables, as
recipes), ``bench`` (the data), ``plan`` and ``address`` (the runs that a target needs and the names
of their folders), ``cost`` (what they will take), ``one_run`` and ``queue`` (train and predict),
``scores``, ``tables`` and ``table_files`` (figures become tables), ``fig3`` to ``fig5`` (the
pictures), ``targets`` and ``report`` (what is written).

This package is internal and may change; ``fdps reproduce`` is what others may rely on.
"""
