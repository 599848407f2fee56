"""From a question to hits: whom to look for, and the exact search over a matrix.

``wanted`` turns people into embeddings, ``matrix`` holds those of the archive, ``ranking`` finds
the most similar, ``pooling`` and ``appearances`` join sightings in a row, ``reranking`` orders hits
anew.
"""
