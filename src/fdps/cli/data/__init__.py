"""The verbs for data sets, ``fdps data``: make, check, count, convert and look at them."""
