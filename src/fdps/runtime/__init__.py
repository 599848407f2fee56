"""Embedders that are not our network in PyTorch, with the same promises.

A card (:mod:`fdps.runtime.card`) joins a detector and a re-ID network, two ONNX files, to one
embedder (:mod:`fdps.runtime.two_step`). They run in ONNX Runtime; nothing here imports torch.

Internal: ``fdps.load`` opens a card; what a card may say is public, these modules are not.
"""
