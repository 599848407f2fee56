"""Data sets on disk become scene sets, scene sets become tensors."""
