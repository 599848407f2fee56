"""An archive that grows, shrinks, or is replaced while it is served."""

import shutil
from pathlib import Path

import pytest

from fake.embedder import ColourEmbedder
from fake.photos import write_photos
from fake.served import BEARER, served, write_archive
from fdps.search import Index


@pytest.mark.long
def test_what_is_added_and_removed_is_seen_at_once(tmp_path: Path) -> None:
    archive = write_archive(tmp_path)
    with served(archive) as client, Index.open(archive, ColourEmbedder()) as writer:
        client.headers.update(BEARER)

        def found() -> tuple[int, int, list[int]]:
            answer = client.post("/api/v1/search", json={"like": ["item:1"], "top": 500}).json()
            items = sorted(hit["item"] for hit in answer["hits"])
            return answer["n_people"], answer["n_looked_at"], items

        assert found()[:2] == (len(writer), len(writer))
        write_photos(tmp_path / "more", 4, seed=9)
        for path in sorted((tmp_path / "more").iterdir()):  # picture after picture
            writer.add(path)
            n_people, n_looked_at, items = found()
            assert n_people == n_looked_at == len(writer)
            assert len(items) == len(writer) - 1
        newest = max(found()[2])
        assert client.get(f"/api/v1/people/{newest}").status_code == 200
        writer.remove(items=[newest])
        assert newest not in found()[2]
        assert client.get(f"/api/v1/people/{newest}").status_code == 404
        assert client.get(f"/api/v1/people/{newest}/crop").status_code == 404


@pytest.mark.long
def test_an_archive_that_was_replaced_is_opened_anew(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "one")
    with served(archive) as client:
        client.headers.update(BEARER)
        before = client.post("/api/v1/search", json={"like": ["item:1"]}).json()["n_people"]
        shutil.rmtree(archive)
        answer = client.post("/api/v1/search", json={"like": ["item:1"]})
        assert (answer.status_code, answer.json()["code"]) == (404, "missing_data")
        assert str(tmp_path) not in answer.text
        shutil.copytree(write_archive(tmp_path / "two", n_scenes=2), archive)
        after = client.post("/api/v1/search", json={"like": ["item:1"]}).json()
        with Index.open(archive) as index:
            assert after["n_people"] == len(index) != before
