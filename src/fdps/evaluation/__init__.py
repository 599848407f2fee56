"""Predictions and ground truth become numbers; no network, no GPU."""
