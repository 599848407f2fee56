"""Archives of people: index pictures, find a person again.

Public are the names in ``__all__``; the modules behind them are internal and may change.
"""

from fdps.search.index import Index
from fdps.search.ingest.frames import Found, Frame, Skipped, find_pictures
from fdps.search.ingest.ingest import IngestOptions, IngestSummary, ingest
from fdps.search.ray.cluster import RayCluster
from fdps.search.sqlite.store import SqliteStore
from fdps.search.store import Appearance, ArchivedPerson, Filters, IndexInfo, SceneRecord, Store

__all__ = [
    "Appearance",
    "ArchivedPerson",
    "Filters",
    "Found",
    "Frame",
    "Index",
    "IndexInfo",
    "IngestOptions",
    "IngestSummary",
    "RayCluster",
    "SceneRecord",
    "Skipped",
    "SqliteStore",
    "Store",
    "find_pictures",
    "ingest",
]
