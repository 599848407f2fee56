"""One reader per kind of data set, and what all of them ask of what they read."""
