"""Searches in which every query has detections of its own in every picture."""
