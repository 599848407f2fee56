"""Person search: find a person in uncropped scenes."""
