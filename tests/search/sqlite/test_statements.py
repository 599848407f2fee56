"""How many statements a search needs, however many it finds."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from fake.photos import unit_rows
from fake.stores import DIM, SCENES, Place, fill, people_of, scene
from fdps.search import Index
from fdps.search.results.candidates import candidates
from fdps.search.sqlite.store import SqliteStore


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    _, store = Place(tmp_path).create()
    assert isinstance(store, SqliteStore)
    fill(store)
    return store


def statements(connection: sqlite3.Connection, index: Index, top: int) -> list[str]:
    """Those that read scenes or people during a search and what is told about its hits."""
    seen: list[str] = []
    connection.set_trace_callback(seen.append)
    hits = index.search(unit_rows(np.random.default_rng(0), 1, DIM)[0], top=top)
    found = candidates(index, hits)
    connection.set_trace_callback(None)
    assert len(found) == len(hits) == min(top, len(index))
    for one in found:
        assert one.scene == scene(int(one.hit.scene[-7:-4]))
    # The type checker of the tests reads the properties of the store, which count its scenes.
    seen = [text for text in seen if text != "SELECT count(*) FROM scenes"]
    return [text for text in seen if "people" in text or "scenes" in text]


def test_results_are_read_in_two_statements(store: SqliteStore) -> None:
    with store.reading() as connection:
        pass
    with Index(store) as index:
        index.search(unit_rows(np.random.default_rng(1), 1, DIM)[0], top=1)  # reads the matrix
        assert len(statements(connection, index, 5)) <= 2
        assert len(statements(connection, index, 1000)) == 2
        assert len(statements(connection, index, 1000)) == 1  # the seals were compared before


@pytest.mark.parametrize("number", [3, SCENES - 1])
def test_a_damaged_scene_is_refused_and_others_are_shown(store: SqliteStore, number: int) -> None:
    folder = store.folder
    assert folder
    with sqlite3.connect(folder / "index.sqlite") as connection:
        connection.execute("UPDATE scenes SET camera = 'x' WHERE name = ?", (scene(number).name,))
    connection.close()
    with Index.open(folder) as index:
        with pytest.raises(Exception, match="is damaged: item"):
            index.search(people_of(number).embeddings[0], top=1)
        (hit,) = index.search(people_of(7).embeddings[0], top=1)
        assert hit.scene == scene(7).name
