"""``fdps doctor``: what this machine has, and what a recipe would need."""
