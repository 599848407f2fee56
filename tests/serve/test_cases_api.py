"""Cases over HTTP: who may, what is kept, what two editors see, what is exported."""

import csv
import io
import json
import shutil
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from fake.embedder import ColourEmbedder
from fake.served import ADDRESS, BEARER, served, write_archive
from fdps.cli.main import main
from fdps.search import Index
from fdps.search.audit import entries
from fdps.search.care.forget import forget
from fdps.search.open_store import open_store
from fdps.search.seals import seal_scene
from fdps.search.sqlite.schema import connect
from fdps.serve.security.users import Role, add_user

API = "/api/v1"


def begun(client: TestClient, **more: Any) -> dict[str, Any]:
    answer = client.post(f"{API}/cases", json={"name": "lost child", **more})
    assert answer.status_code == 201, answer.text
    assert answer.headers["ETag"] == f'"{answer.json()["version"]}"'
    found: dict[str, Any] = answer.json()
    return found


def judged(client: TestClient, case_id: str, item: int, verdict: str | None, **more: Any) -> Any:
    answer = client.put(
        f"{API}/cases/{case_id}/verdicts", json={"item": item, "verdict": verdict, **more}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_case_from_its_beginning_to_its_end(owner: TestClient, archive: Path) -> None:
    case = begun(owner, purpose="guardian asked", like=["item:1"], unlike=["item:2"])
    assert [person["is_unlike"] for person in case["query"]] == [False, True]
    crop = owner.get(case["query"][0]["crop"])
    assert (crop.status_code, crop.headers["content-type"]) == (200, "image/webp")
    assert crop.content[8:12] == b"WEBP"
    judged(owner, case["id"], 3, "confirmed", note="at the gate")
    found = judged(owner, case["id"], 4, "rejected")
    assert [(hit["item"], hit["note"]) for hit in found["confirmed"]] == [(3, "at the gate")]
    (rejected,) = found["rejected"]
    assert rejected["item"] == 4
    assert rejected["scene"]["path_name"].endswith(".png")
    assert str(archive.parent) not in json.dumps(found)
    (line,) = owner.get(f"{API}/cases").json()
    assert (line["n_query"], line["n_confirmed"], line["n_rejected"]) == (2, 1, 1)
    assert line["archive"] == "event"
    version = {"If-Match": f'"{found["version"]}"'}
    changed = owner.patch(f"{API}/cases/{case['id']}", json={"notes": "x"}, headers=version)
    assert changed.json()["notes"] == "x"
    assert len(changed.json()["query"]) == 2
    assert owner.delete(f"{API}/cases/{case['id']}").status_code == 204
    assert owner.get(f"{API}/cases/{case['id']}").status_code == 404
    assert owner.get(f"{API}/cases").json() == []


def test_the_second_of_two_editors_gets_412(owner: TestClient) -> None:
    case = begun(owner)
    url, seen = f"{API}/cases/{case['id']}", {"If-Match": '"1"'}
    assert owner.patch(url, json={"notes": "ann's"}, headers=seen).status_code == 200
    late = owner.patch(url, json={"notes": "bob's"}, headers=seen)
    assert late.status_code == 412
    assert late.headers["ETag"] == '"2"'
    assert late.json()["code"] == "outdated"
    verdict = {"item": 1, "verdict": "confirmed"}
    assert owner.put(f"{url}/verdicts", json=verdict, headers=seen).status_code == 412
    assert owner.delete(url, headers=seen).status_code == 412
    assert owner.get(url).json()["notes"] == "ann's"
    assert owner.patch(url, json={"notes": "y"}).status_code == 428
    assert owner.patch(url, json={"notes": "y"}, headers={"If-Match": "x"}).status_code == 422
    assert owner.patch(url, json={"notes": "y"}, headers={"If-Match": "*"}).status_code == 200


def test_whom_a_case_looks_for_can_be_changed(owner: TestClient) -> None:
    case = begun(owner, like=["item:1"], unlike=["item:2"])
    url = f"{API}/cases/{case['id']}"
    more = {"like": ["query:1", "item:3"]}
    answer = owner.patch(url, json=more, headers={"If-Match": '"1"'})
    assert [person["is_unlike"] for person in answer.json()["query"]] == [False, False, True]
    none = owner.patch(url, json={"like": [], "unlike": []}, headers={"If-Match": "*"})
    assert none.json()["query"] == []
    for word, status in (("item:99999", 404), ("item:x", 422), ("query:9", 422), ("query:x", 422)):
        wrong = owner.patch(url, json={"like": [word]}, headers={"If-Match": "*"})
        assert wrong.status_code == status, word


def test_a_case_looks_for_somebody_of_a_picture_that_was_brought(
    owner: TestClient, photos_archive: Path
) -> None:
    picture = next(photos_archive.parent.glob("gate/*.png")).read_bytes()
    brought = owner.post(f"{API}/queries", files={"picture": ("a.png", picture)}).json()
    choice = owner.post(f"{API}/queries/{brought['id']}/select", json={"person": 1}).json()
    case = begun(owner, like=[choice["selection"]])
    (person,) = case["query"]
    assert person["box"] == brought["people"][0]["box"]
    shown = Image.open(io.BytesIO(owner.get(person["crop"]).content))
    x1, y1, x2, y2 = person["box"]
    assert shown.width / shown.height == pytest.approx((x2 - x1) / (y2 - y1), rel=0.1)
    assert owner.delete(f"{API}/queries/{brought['id']}").status_code == 204
    assert owner.get(person["crop"]).status_code == 200  # the case keeps it
    gone = owner.post(f"{API}/cases", json={"name": "b", "like": [choice["selection"]]})
    assert gone.status_code == 404
    for word in ("x", "q:1:2", "item:", "item:-1", "query:1", "item:1e3", ""):
        assert owner.post(f"{API}/cases", json={"name": "b", "like": [word]}).status_code in (
            *(404, 422),
        ), word


@pytest.mark.long
def test_a_case_does_without_the_picture_of_a_file_that_is_gone(tmp_path: Path) -> None:
    archive = write_archive(tmp_path)
    for path in (*(tmp_path / "gate").iterdir(), *(tmp_path / "hall").iterdir()):
        path.unlink()
    with served(archive) as client:
        client.headers.update(BEARER)
        (person,) = begun(client, like=["item:1"])["query"]
    assert person["crop"] is None


def test_a_service_may_ask_for_purposes(archive: Path) -> None:
    with served(archive, purpose_required=True) as client:
        client.headers.update(BEARER)
        refused = client.post(f"{API}/cases", json={"name": "a"})
        assert refused.json()["code"] == "purpose_required"
        stated = {"X-Purpose": "guardian asked"}
        case = client.post(f"{API}/cases", json={"name": "a"}, headers=stated).json()
        assert case["purpose"] == "guardian asked"
        assert client.post(f"{API}/cases/{case['id']}/export", json={"format": "csv"}).is_success


@pytest.mark.long
def test_a_verdict_survives_indexing_anew(owner: TestClient, archive: Path) -> None:
    case = begun(owner, like=["item:1"])
    before = judged(owner, case["id"], 3, "rejected", note="not this person")
    with Index.open(archive, ColourEmbedder()) as index:
        sources = {Path(scene.path).parent for scene in index.store.find_all()}
        for source in sorted(sources):
            index.add(source, again=True)
        n_people = len(index)
    after = owner.get(f"{API}/cases/{case['id']}").json()
    (old,), (new,) = before["rejected"], after["rejected"]
    assert new["item"] > n_people >= old["item"]
    assert (new["note"], new["box"]) == ("not this person", old["box"])
    taken_back = judged(owner, case["id"], new["item"], None)
    assert taken_back["rejected"] == taken_back["missing"] == []


@pytest.mark.long
def test_an_export_is_complete_and_in_the_audit(owner: TestClient, archive: Path) -> None:
    case = begun(owner, like=["item:1"], purpose="guardian asked")
    judged(owner, case["id"], 3, "confirmed")
    judged(owner, case["id"], 4, "rejected")
    for format_, media_type in (("csv", "text/csv"), ("json", "application/json")):
        answer = owner.post(f"{API}/cases/{case['id']}/export", json={"format": format_})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(media_type)
        name = f'attachment; filename="lost_child.{format_}"'
        assert answer.headers["content-disposition"] == name
    rows = list(csv.DictReader(io.StringIO(answer.text))) if format_ == "csv" else answer.json()
    assert [hit["item"] for hit in rows["confirmed"]] == [3]
    answer = owner.post(f"{API}/cases/{case['id']}/export", json={"format": "zip"})
    content = zipfile.ZipFile(io.BytesIO(answer.content))
    assert json.loads(content.read("manifest.json"))["bystanders"] == "blurred"
    refused = owner.post(f"{API}/cases/{case['id']}/export", json={"format": "mot"})
    assert refused.status_code == 422
    with open_store(archive) as store, store.reading() as connection:
        notes = [entry for entry in entries(connection) if entry.action == "export"]
    assert [json.loads(note.details)["format"] for note in notes] == ["csv", "json", "zip"]
    assert {note.purpose for note in notes} == {"guardian asked"}
    assert json.loads(notes[0].details) == {
        "case": case["id"],
        "user": "local",
        "format": "csv",
        "bystanders": "blur",
        "items": [3, 4],
    }


def test_whoever_the_command_line_forgets_leaves_the_cases(
    owner: TestClient, archive: Path
) -> None:
    case = begun(owner, like=["item:3"])
    judged(owner, case["id"], 3, "confirmed", note="gone soon")
    with Index.open(archive) as index:
        forget(index.store, [3])
    found = owner.get(f"{API}/cases/{case['id']}").json()
    assert found["query"] == found["confirmed"] == found["missing"] == []
    assert b"gone soon" not in (archive / "cases.sqlite").read_bytes()


def age(archive: Path, item: int, days: float) -> None:
    """Let the scene of a person be older."""
    with Index.open(archive) as index:
        name = index.person(item).scene
    with closing(connect(archive / "index.sqlite")) as connection:
        (scene,) = connection.execute("SELECT id FROM scenes WHERE name = ?", (name,)).fetchone()
        change = "UPDATE scenes SET added = added - ? WHERE id = ?"
        connection.execute(change, (86400 * days, scene))
        seal_scene(connection, scene)


def test_what_the_retention_erases_leaves_the_cases(owner: TestClient, archive: Path) -> None:
    age(archive, 3, 31)
    case = begun(owner, like=["item:3", "item:9"])
    judged(owner, case["id"], 3, "confirmed", note="gone soon")
    assert owner.put(f"{API}/retention", json={"keep": "30d"}).json()["n_due"] == 1
    found = owner.get(f"{API}/cases/{case['id']}").json()
    assert len(found["query"]) == 2  # as long as the archive has the scene
    assert main(["archive", "retention", str(archive), "--apply", "--yes"]) == 0
    content = b"".join(path.read_bytes() for path in archive.glob("cases.sqlite*"))
    assert b"gone soon" not in content  # before anybody looks
    found = owner.get(f"{API}/cases/{case['id']}").json()
    assert found["confirmed"] == found["missing"] == []
    assert [one["n"] for one in found["query"]] == [1]
    (entry, *_) = owner.get(f"{API}/audit").json()["entries"]
    assert (entry["action"], entry["details"]["cases"]) == ("retention", [case["id"]])


def test_a_file_of_cases_elsewhere_follows_the_retention_at_the_next_look(
    archive: Path, tmp_path: Path
) -> None:
    age(archive, 3, 31)
    with served(archive, cases=tmp_path / "cases.sqlite") as client:
        client.headers.update(BEARER)
        case = begun(client, like=["item:3"])
        judged(client, case["id"], 3, "confirmed")
        assert client.put(f"{API}/retention", json={"keep": "30d"}).is_success
        assert main(["archive", "retention", str(archive), "--apply", "--yes"]) == 0
        found = client.get(f"{API}/cases/{case['id']}").json()
        assert found["query"] == found["confirmed"] == found["missing"] == []


@pytest.mark.long
def test_a_verdict_on_a_removed_scene_that_is_not_due_waits_for_it(
    owner: TestClient, archive: Path
) -> None:
    case = begun(owner, like=["item:1"])
    judged(owner, case["id"], 3, "confirmed")
    owner.put(f"{API}/retention", json={"keep": "30d"})
    with Index.open(archive, ColourEmbedder()) as index:
        scene = index.scene(index.person(3).scene)
        assert scene is not None
        index.remove(scenes=[scene.name])
        assert len(owner.get(f"{API}/cases/{case['id']}").json()["missing"]) == 1
        index.add(scene.path)
    assert len(owner.get(f"{API}/cases/{case['id']}").json()["confirmed"]) == 1


def test_old_cases_are_named_beside_the_retention(owner: TestClient, archive: Path) -> None:
    case = begun(owner)
    assert owner.put(f"{API}/retention", json={"keep": "1h"}).json()["old_cases"] == []
    with closing(sqlite3.connect(archive / "cases.sqlite", isolation_level=None)) as connection:
        connection.execute("UPDATE cases SET changed = '2026-01-01T00:00:00.000+00:00'")
    named = owner.get(f"{API}/retention").json()["old_cases"]
    assert named == [{"id": case["id"], "name": "lost child"}]


@pytest.mark.long
def test_forgetting_over_http_erases_from_archive_and_cases(
    owner: TestClient, archive: Path
) -> None:
    with Index.open(archive) as index:
        gone, stays = (index.person(item) for item in (3, 4))
    case = begun(owner, like=["item:3"])
    judged(owner, case["id"], 3, "confirmed", note="secret note")
    crop = owner.get(f"{API}/cases/{case['id']}/query/1/crop").content
    body = {"items": [3, 99999], "reason": "art. 17"}
    dry = owner.post(f"{API}/forget", json=body).json()
    assert (dry["dry_run"], dry["n_people"], dry["items"]) == (True, 1, [3])
    assert dry["scenes"] == [gone.scene]
    assert dry["cases"] == [{"id": case["id"], "name": "lost child"}]
    assert owner.get(f"{API}/cases/{case['id']}").json()["version"] == 2
    done = owner.post(f"{API}/forget", json={**body, "dry_run": False}).json()
    assert {**done, "dry_run": True} == dry
    assert done["log_is_empty"]
    content = b"\0".join(path.read_bytes() for path in archive.iterdir())
    assert gone.embedding.tobytes() not in content
    assert crop not in content
    assert b"secret note" not in content
    assert stays.embedding.tobytes() in content
    assert owner.post(f"{API}/forget", json=body).status_code == 404
    audit = owner.get(f"{API}/audit").json()
    (entry,) = (one for one in audit["entries"] if one["action"] == "forget")
    assert (entry["purpose"], entry["details"]["user"]) == ("art. 17", "local")


@pytest.mark.long
def test_one_file_may_hold_the_cases_of_several_archives(
    photos_archive: Path, archive: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.fdps"
    with Index.create(other, ColourEmbedder()) as index:
        index.add(next(photos_archive.parent.glob("gate/*.png")))
    file = tmp_path / "all.sqlite"
    with served(archive, other, cases=file) as client:
        client.headers.update(BEARER)
        first, second = begun(client, archive="event"), begun(client, archive="other")
        assert client.post(f"{API}/cases", json={"name": "x"}).status_code == 422
        assert client.post(f"{API}/cases", json={"name": "x", "archive": "y"}).status_code == 404
        assert {line["archive"] for line in client.get(f"{API}/cases").json()} == {
            *("event", "other")
        }
    with served(other, cases=file) as client:
        client.headers.update(BEARER)
        assert [line["id"] for line in client.get(f"{API}/cases").json()] == [second["id"]]
        assert client.get(f"{API}/cases/{first['id']}").status_code == 404
    assert not (archive / "cases.sqlite").exists()


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": "x" * 201},
        {"name": "a", "notes": "\u0000"},
        {"name": "a", "path": "/etc"},
        {"name": "a", "like": ["item:1"] * 51},
        {},
    ],
)
def test_malformed_cases_are_refused(client: TestClient, body: dict[str, Any]) -> None:
    answer = client.post(f"{API}/cases", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


REQUESTS = [
    ("GET", "/cases", None, Role.VIEWER),
    ("POST", "/cases", {"name": "a"}, Role.EDITOR),
    ("PATCH", "/cases/x", {"notes": "a"}, Role.EDITOR),
    ("DELETE", "/cases/x", None, Role.EDITOR),
    ("PUT", "/cases/x/verdicts", {"item": 1, "verdict": None}, Role.EDITOR),
    ("POST", "/cases/x/export", {"format": "csv"}, Role.EDITOR),
    ("GET", "/roots", None, Role.EDITOR),
    ("GET", "/jobs", None, Role.VIEWER),
    ("POST", "/jobs", {"root": "x"}, Role.EDITOR),
    ("DELETE", "/jobs/x", None, Role.EDITOR),
    ("GET", "/skipped", None, Role.VIEWER),
    ("POST", "/skipped/retry", None, Role.EDITOR),
    ("POST", "/forget", {"items": [1]}, Role.ADMIN),
    ("GET", "/audit", None, Role.ADMIN),
    ("GET", "/retention", None, Role.VIEWER),
    ("PUT", "/retention", {"keep": "30d"}, Role.ADMIN),
    ("GET", "/connections", None, Role.VIEWER),
]


@pytest.fixture(scope="module")
def of_roles(
    photos_archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Role, TestClient]]:
    """A client for each role, who has logged in."""
    folder, password = tmp_path_factory.mktemp("roles"), "a long password"
    users, copy = folder / "users.toml", folder / "event.fdps"
    shutil.copytree(photos_archive, copy)
    for role in Role:
        add_user(users, role.name.lower(), role.name.lower(), password)
    with served(copy, users=users, token="") as client:
        clients = {}
        for role in Role:
            form = {"username": role.name.lower(), "password": password}
            answer = client.post("/login", data=form, headers={"Origin": ADDRESS})
            assert answer.status_code == 303, answer.text
            clients[role] = TestClient(client.app, base_url=ADDRESS, headers={"Origin": ADDRESS})
            clients[role].cookies.update(answer.cookies)
            client.cookies.clear()
        yield clients


@pytest.mark.parametrize(("method", "path", "body", "least"), REQUESTS)
def test_who_may(
    of_roles: dict[Role, TestClient],
    stranger: TestClient,
    method: str,
    path: str,
    body: Any,
    least: Role,
) -> None:
    assert stranger.request(method, API + path, json=body).status_code in (401, 403)
    for role, client in of_roles.items():
        answer = client.request(method, API + path, json=body)
        is_refused = answer.status_code == 403 and answer.json()["code"] == "wrong_role"
        assert is_refused == (role < least), (role, answer.text)
        assert answer.status_code < 500


def test_a_search_goes_on_from_whom_a_case_looks_for(owner: TestClient) -> None:
    case = begun(owner, like=["item:1"])
    asked = owner.post(f"{API}/search", json={"like": [f"case:{case['id']}:1"], "top": 100})
    alone = owner.post(f"{API}/search", json={"like": ["item:1"], "top": 100})
    # The person of the case is an embedding, so item 1 itself is a candidate as well.
    assert [hit["item"] for hit in asked.json()["hits"]][1:] == [
        hit["item"] for hit in alone.json()["hits"]
    ]
    for wrong, status in ((f"case:{case['id']}:2", 404), ("case:nothing:1", 404)):
        answer = owner.post(f"{API}/search", json={"like": [wrong]})
        assert answer.status_code == status, wrong
