"""Run networks over data: train, checkpoint, predict."""
