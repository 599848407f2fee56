"""Many machines that look at files for one archive, on Ray Data.

``cluster`` is what callers hold; ``session`` connects to Ray, and ``worker`` runs on the machines.
One process plans and writes, exactly as without Ray.
"""
