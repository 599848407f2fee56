"""Whatever is typed into any field or address: refused or escaped, never an error of the server.

The fields are those of the OpenAPI description, so a new route is attacked as soon as it is there.
"""

import itertools
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from fake.embedder import ColourEmbedder
from fake.hostile_texts import addresses, scripts, traversals
from fake.served import BEARER, served, write_archive
from fake.stores import DIM, people_of
from fdps.search.sqlite.store import SqliteStore
from fdps.structures import SceneRecord

CORPORA = {"traversal": traversals(), "address": addresses(), "script": scripts()}
METHODS = ("get", "post", "put", "patch", "delete")
SECRETS = ("root:x:0:0", "SQLite format 3", "[fonts]", "PATH=")
EXAMPLES: dict[str, Any] = {"integer": 1, "number": 1.0, "boolean": True, "array": [], "object": {}}
Field = tuple[str, str, str, str]


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with served(write_archive(tmp_path_factory.mktemp("attacked"))) as client:
        client.headers.update(BEARER)
        yield client


@pytest.fixture(scope="module")
def schema(attacked: TestClient) -> dict[str, Any]:
    return dict(attacked.get("/api/v1/openapi.json").json())


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Whatever somebody tried to reach."""
    tried: list[object] = []

    def refuse(*arguments: object, **_: object) -> None:
        tried.append(arguments)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tried


def resolved(schema: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in part:
        part = schema["components"]["schemas"][part["$ref"].rsplit("/", 1)[1]]
    return part


def body_of(schema: dict[str, Any], operation: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        part = resolved(schema, content["schema"])
        for one in part.get("anyOf", []):
            part = resolved(schema, one) if "$ref" in one else part
        return kind, part.get("properties", {})
    return "", {}


def fields_of(schema: dict[str, Any]) -> list[Field]:
    """Every place where a client can put a text: (method, path, where, name)."""
    found: list[Field] = []
    for path, operations in schema["paths"].items():
        for method in set(METHODS) & set(operations):
            operation = operations[method]
            for parameter in operation.get("parameters", []):
                found.append((method, path, parameter["in"], parameter["name"]))
            kind, properties = body_of(schema, operation)
            found += [(method, path, kind, name) for name in properties]
    return sorted(found)


def send(client: TestClient, schema: dict[str, Any], field: Field, text: str) -> None:
    """Put a text into one field, and check the answer."""
    method, path, where, name = field
    operation = schema["paths"][path][method]
    given: dict[str, Any] = {}
    values = {p["name"]: "1" for p in operation.get("parameters", []) if p["in"] == "path"}
    if where == "path":
        values[name] = text
    for key, value in values.items():
        path = path.replace(f"{{{key}}}", quote(value, safe=""))
    if where == "query":
        given["params"] = {name: text}
    elif where == "header":
        given["headers"] = {name: text.encode("utf-8")}
    kind, properties = body_of(schema, operation)
    if kind == "application/json":
        given["json"] = body(schema, properties, name if where == kind else "", text)
    elif kind:
        given["files" if name == "picture" else "data"] = {name: text}
    check(client.request(method, path, **given), text)


def body(
    schema: dict[str, Any], properties: dict[str, Any], name: str, text: str
) -> dict[str, Any]:
    made: dict[str, Any] = {"like": ["item:1"]} if "like" in properties else {}
    if name:
        kinds = str(resolved(schema, properties[name]))
        made[name] = [text] if "'array'" in kinds else text
    return made


def check(answer: Any, text: str) -> None:
    assert answer.status_code < 500, (answer.status_code, text, answer.text)
    kind = answer.headers.get("content-type", "")
    assert not kind.startswith("text/html") or "<script>alert" not in answer.text
    if answer.status_code >= 400:
        assert kind == "application/problem+json"
        assert set(answer.json()) >= {"type", "title", "status", "detail", "hint", "code"}
    assert not any(secret in answer.text for secret in SECRETS)
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_there_are_as_many_texts_and_fields_as_promised(schema: dict[str, Any]) -> None:
    assert all(len(set(texts)) >= 150 for texts in CORPORA.values())
    assert len(fields_of(schema)) > 50


@pytest.mark.long
@pytest.mark.parametrize("kind", CORPORA)
def test_every_text_in_one_field_after_the_other(
    attacked: TestClient, schema: dict[str, Any], connections: list[object], kind: str
) -> None:
    for field, text in zip(itertools.cycle(fields_of(schema)), CORPORA[kind], strict=False):
        send(attacked, schema, field, text)
    assert not connections


@pytest.mark.slow
@pytest.mark.parametrize("kind", CORPORA)
def test_every_text_in_many_fields_and_every_field_with_many_texts(
    attacked: TestClient, schema: dict[str, Any], connections: list[object], kind: str
) -> None:
    fields = fields_of(schema)
    for number, text in enumerate(CORPORA[kind]):
        for field in fields[number % 8 :: 8]:
            send(attacked, schema, field, text)
    assert not connections


@pytest.mark.long
def test_no_address_reaches_a_file(attacked: TestClient) -> None:
    starts = itertools.cycle(["/", "/static/", "/api/v1/", "/api/v1/scenes/", "/static/../"])
    sent = 0
    for text, form in itertools.product(traversals(), ("{}", "{}/picture", "/{}")):
        path = quote(form.format(text), safe="/%" if sent % 2 else "")
        answer = attacked.get(next(starts) + path)
        assert answer.status_code in (200, 400, 401, 404, 405, 421, 422), (path, answer.text)
        assert not any(secret in answer.text for secret in SECRETS)
        sent += 1
    assert sent > 300


@pytest.mark.long
def test_names_in_an_archive_are_data_wherever_they_are_shown(tmp_path: Path) -> None:
    texts = [text for text in dict.fromkeys(scripts()) if text.isprintable()]
    model = ColourEmbedder().model_hash
    with SqliteStore.create(tmp_path / "a.fdps", model_hash=model, dim=DIM) as store:
        for number, text in enumerate(texts):
            record = SceneRecord(text, f"/x/{number}/{text}", f"{number:064x}", 99, 99, text)
            store.add(record, people_of(3))
    with served(tmp_path / "a.fdps") as client:
        client.headers.update(BEARER)
        page = client.get("/api/v1/scenes", params={"limit": 500})
        assert page.headers["content-type"] == "application/json"
        assert [one["name"] for one in page.json()["scenes"]] == texts
        for one in page.json()["scenes"][:20]:
            shown = client.get(f"/api/v1/scenes/{one['key']}").json()
            assert shown["scene"]["camera"] == one["name"]
            assert "/x/" not in str(shown)
        answer = client.get("/api/v1/people/1/crop")
        assert (answer.status_code, answer.json()["code"]) == (404, "no_picture")
        assert "/x/" not in answer.text
        cameras = client.get("/api/v1/cameras").json()
        assert {one["name"] for one in cameras} == set(texts)


@pytest.mark.parametrize("text", scripts()[:40])
def test_pages_of_problems_escape_what_they_quote(attacked: TestClient, text: str) -> None:
    for path in (f"/{quote(text, safe='')}", f"/cases/{quote(text, safe='')}"):
        answer = attacked.get(path, headers={"Accept": "text/html"}, params={"q": text})
        assert text not in answer.text or "<" not in text
