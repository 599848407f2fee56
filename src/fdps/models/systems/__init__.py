"""Systems of the literature, where they need more than a choice of parts: one file each.

A file reads like the method section of its paper. Public is nothing; recipes name the parts.
"""
