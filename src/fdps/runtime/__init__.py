"""Embedders other than our network in PyTorch, which keep the same promises.

A card (:mod:`fdps.runtime.card`) joins a detector and a re-ID network, two ONNX files, to one
embedder (:mod:`fdps.runtime.two_step`). Each layout of outputs has a small reader: YOLOX
(:mod:`fdps.runtime.yolox`); RF-DETR, RT-DETR and D-FINE (:mod:`fdps.runtime.detr`). They run in
ONNX Runtime. An exported network (:mod:`fdps.runtime.exported`) is one of ours as graphs, which run
in ONNX Runtime or OpenVINO (:mod:`fdps.runtime.graph`). Nothing here imports torch.

This package is internal: ``fdps.load`` opens a card. What a card may say is public.
"""
