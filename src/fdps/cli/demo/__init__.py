"""``fdps demo``: draw scenes, find and search people in them, write a report."""
