"""``fdps evaluate`` and ``fdps compare``: score predictions, compare systems."""
