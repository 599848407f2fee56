"""Embedders that are not our network in PyTorch, with the same promises."""
