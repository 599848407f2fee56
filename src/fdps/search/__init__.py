"""Archives of people: index pictures, find a person again."""

from fdps.search.frames import Found, Frame, Skipped, find_pictures
from fdps.search.index import Index
from fdps.search.ingest import IngestOptions, IngestSummary, ingest
from fdps.search.sqlite import SqliteStore
from fdps.search.store import ArchivedPerson, Filters, IndexInfo, SceneRecord, Store

__all__ = [
    "ArchivedPerson",
    "Filters",
    "Found",
    "Frame",
    "Index",
    "IndexInfo",
    "IngestOptions",
    "IngestSummary",
    "SceneRecord",
    "Skipped",
    "SqliteStore",
    "Store",
    "find_pictures",
    "ingest",
]
