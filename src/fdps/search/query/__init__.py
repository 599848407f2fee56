"""From a question to hits: whom to look for, and the exact search over a matrix.

``find`` is one search from beginning to end, and where hits are re-ranked. ``wanted`` turns people
into embeddings, ``matrix`` holds those of the archive, ``ranking`` finds the most similar, and
``tracklets`` and ``pooling`` join sightings in a row.
"""
