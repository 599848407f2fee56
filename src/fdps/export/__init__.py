"""Networks for other runtimes: graphs in ONNX or OpenVINO, what they lose, and which is quickest.

``graphs`` cuts a network into graphs and writes them, ``folder`` puts them into a folder with its
description (:mod:`fdps.runtime.exported` reads it), ``int8`` quantises, ``parity`` compares with
PyTorch, ``stages`` measures the time of each part, and ``choice`` finds the quickest runtime.

This package is internal: ``fdps export``, ``fdps bench`` and ``--runtime`` use it.
"""
