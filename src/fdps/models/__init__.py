"""Networks: tensors in, tensors out. Start with ``person_search.py``."""
