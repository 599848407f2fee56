"""Other orders of the hits of a search."""
