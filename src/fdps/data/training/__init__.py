"""Scenes on their way into a training: their order, how they are changed, and batches."""
