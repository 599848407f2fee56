"""Measure models beside each other: speed, latency, memory, operations, the share of the peak.

Everybody who takes part has a process of its own, so that memory is known and threads of one
runtime do not disturb another. ``entrants`` says who takes part, ``plan`` chooses them,
``process`` and ``child`` are the two ends of a process, ``race`` lets all look at every picture in
turns, ``report`` puts together what came out, and ``plot`` draws it. ``ours``, ``public`` and
``product`` run in the child: models of fdps, networks of other people's code, and the matrix
product that tells the peak of this machine. ``flops`` counts operations.

This package is internal: ``fdps bench`` uses it.
"""
