"""Archives of people: index pictures, find a person again."""
