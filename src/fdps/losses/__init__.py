"""Losses and their memory: formulas over tensors, without models or data."""
