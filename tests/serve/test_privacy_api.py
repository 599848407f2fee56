"""The duties towards those who are seen, over HTTP."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from fdps.search import Index
from fdps.search.sqlite.schema import writer_lock

API = "/api/v1"
FOREVER = {"keep": "forever", "by": "added", "n_due": 0, "old_cases": []}


def test_the_audit_is_paged_and_its_chain_verified(owner: TestClient) -> None:
    whole = owner.get(f"{API}/audit").json()
    assert whole["verified"] is True
    assert whole["total"] == len(whole["entries"])
    assert [entry["seq"] for entry in whole["entries"]] == list(range(whole["total"], 0, -1))
    assert whole["entries"][0]["hash"] == whole["head"]
    pages = [owner.get(f"{API}/audit?offset={n}&limit=1").json() for n in range(whole["total"])]
    assert [page["entries"][0] for page in pages] == whole["entries"]
    assert owner.get(f"{API}/audit?offset=999").json()["entries"] == []
    known = owner.get(f"{API}/audit?expect={whole['entries'][-1]['hash']}").json()
    assert known["verified"] is True
    assert owner.get(f"{API}/audit?expect={'ab' * 32}").json()["verified"] is False
    for wrong in ("offset=-1", "limit=0", "limit=1001", "expect=xyz", "expect=ab"):
        assert owner.get(f"{API}/audit?{wrong}").status_code == 422, wrong


def test_an_entry_that_was_changed_is_noticed(owner: TestClient, archive: Path) -> None:
    with closing(sqlite3.connect(archive / "index.sqlite", isolation_level=None)) as connection:
        connection.execute("UPDATE audit SET purpose = 'x' WHERE seq = 2")
    found = owner.get(f"{API}/audit").json()
    assert found["verified"] is False
    assert found["faults"] == ["audit: entry 2 was changed"]


def test_the_retention_is_set_read_and_in_the_audit(owner: TestClient) -> None:
    assert owner.get(f"{API}/retention").json() == FOREVER
    by_taken = owner.put(f"{API}/retention", json={"keep": "1h", "by": "taken"}).json()
    assert (by_taken["keep"], by_taken["by"]) == ("1h", "taken")
    assert by_taken["n_due"] > 0  # the pictures are of a spring day
    assert owner.get(f"{API}/retention").json() == by_taken
    actions = [entry["action"] for entry in owner.get(f"{API}/audit").json()["entries"]]
    assert "retention" in actions
    assert owner.put(f"{API}/retention", json={"keep": "forever"}).json()["n_due"] == 0
    for wrong in ({"keep": "soon"}, {"keep": "0d"}, {"keep": "1d", "by": "x"}, {}):
        assert owner.put(f"{API}/retention", json=wrong).status_code == 422


def test_there_are_no_connections(owner: TestClient) -> None:
    assert owner.get(f"{API}/connections").json() == []


@pytest.mark.long
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"items": []},
        {"items": [0]},
        {"items": [-5]},
        {"items": [2**63]},
        {"items": ["a"]},
        {"items": [1], "reason": "\u0000"},
        {"items": [1], "reason": "x" * 2001},
        {"items": [1], "path": "/etc"},
    ],
)
def test_malformed_requests_to_forget(owner: TestClient, body: dict[str, object]) -> None:
    assert owner.post(f"{API}/forget", json=body).status_code == 422


def test_nobody_is_forgotten_while_somebody_else_writes(owner: TestClient, archive: Path) -> None:
    case = owner.post(f"{API}/cases", json={"name": "a", "like": ["item:1"]}).json()
    with writer_lock(archive):
        answer = owner.post(f"{API}/forget", json={"items": [1], "dry_run": False})
    assert answer.status_code == 409
    assert str(archive.parent) not in answer.text
    assert len(owner.get(f"{API}/cases/{case['id']}").json()["query"]) == 1
    with Index.open(archive) as index:
        assert index.person(1)
