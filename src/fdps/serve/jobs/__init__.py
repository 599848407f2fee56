"""Indexing for clients: configured folders, one job at a time, with a history."""
