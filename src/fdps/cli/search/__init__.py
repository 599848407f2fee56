"""``fdps search``: find a person in an archive and say how sure that is."""
