"""From a question to its hits: whom to look for, and the exact search over a matrix.

``find`` runs one search from beginning to end, and re-ranks its hits. ``wanted`` turns people into
embeddings, ``matrix`` holds those of the archive, ``ranking`` finds the most similar, and
``tracklets`` and ``pooling`` join the sightings in a row.
"""
