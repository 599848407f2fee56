"""Run networks over data: train, checkpoint, predict.

Internal: recipes, run folders and the files in them are what others may build on, not these
modules. ``train`` is where to start reading.
"""
