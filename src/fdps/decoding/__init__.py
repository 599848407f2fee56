"""Decode pictures and videos that may come from anywhere, in processes that may die.

.. code-block:: text

    Decoders (pool.py)  a queue of files; per worker one thread and one ...
      DecodingWorker (process.py)  the parent's end: starts, reads with a deadline, kills, replaces
        worker.py                  the child: one file at a time, within limits (limits.py)
          fdps.pictures, videos.py (a file as a whole), moments.py (single frames of it)
            container.py         which stream, and the picture as players show it
            endings.py           whether a file ends before its container says so
    messages.py         what goes through the pipe between them: tiny headers and plain pixels

Nothing here is imported by the child that it does not need: it starts in a fifth of a second and
loads no torch.

Internal: ``fdps.search`` decodes with it.
"""
