"""Run networks over data: train, checkpoint, predict.

This package is internal: others may build on recipes, run folders and the files in them. Start
reading at ``train``.
"""
