"""``fdps serve``: archives in a browser and over REST."""
