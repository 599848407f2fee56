"""The command ``fdps index``: pictures and videos become an archive of people."""
