"""A search in more detail: by height, by camera, by query, and its wrong hits."""
