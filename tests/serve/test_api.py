"""REST over a small archive: what it shows is what the archive holds."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from fake.embedder import ColourEmbedder
from fake.served import ADDRESS, BEARER, served, write_archive
from fdps.search import Index
from fdps.search.audit import entries
from fdps.search.sqlite.store import SqliteStore
from fdps.serve.security.users import add_user
from fdps.structures import Hit


@pytest.fixture(scope="module")
def index(photos_archive: Path) -> Iterator[Index]:
    with Index.open(photos_archive) as index:
        yield index


def some_picture(archive: Path) -> Path:
    return sorted((archive.parent / "gate").iterdir())[0]


def bring(client: TestClient, content: bytes) -> dict:  # type: ignore[type-arg]
    answer = client.post("/api/v1/queries", files={"picture": ("child.png", content)})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def listed(hits: list[Hit]) -> list[tuple[int, float, list[float]]]:
    return [(hit.item, hit.similarity, hit.box.tolist()) for hit in hits]


def test_the_archive_is_described(client: TestClient, index: Index) -> None:
    (one,) = client.get("/api/v1/archives").json()
    assert (one["id"], one["n_people"], one["n_scenes"]) == ("event", len(index), index.n_scenes)
    assert one["cameras"] == ["gate", "hall"]
    assert one["levels"] is None
    assert one["why_blind"] == ""


def test_hits_equal_those_of_the_index_to_the_last_bit(client: TestClient, index: Index) -> None:
    body = {"like": ["item:1"], "unlike": ["item:3"], "top": 7, "cameras": ["hall"]}
    found = client.post("/api/v1/search", json=body).json()
    alone = index.search(index.person(1), 7, unlike=[index.person(3)], cameras=["hall"])
    assert [(h["item"], h["similarity"], h["box"]) for h in found["hits"]] == listed(alone)
    assert found["n_people"] == len(index)
    assert found["n_looked_at"] == sum(found["histogram"]["counts"])
    assert [hit["rank"] for hit in found["hits"]] == list(range(1, len(alone) + 1))


def test_a_picture_is_brought_looked_at_chosen_and_searched(
    client: TestClient, index: Index, photos_archive: Path
) -> None:
    path = some_picture(photos_archive)
    with Image.open(path) as image:
        found = ColourEmbedder().detect(np.asarray(image.convert("RGB")))
    query = bring(client, path.read_bytes())
    assert (query["width"], query["height"]) == (160, 120)
    assert [person["box"] for person in query["people"]] == found.boxes.tolist()
    x1, y1, x2, y2 = query["people"][-1]["box"]
    centre = [(x1 + x2) / 2, (y1 + y2) / 2]
    chosen = client.post(f"/api/v1/queries/{query['id']}/select", json={"point": centre}).json()
    assert chosen["n"] == len(found)
    hits = client.post("/api/v1/search", json={"like": [chosen["selection"]]}).json()["hits"]
    alone = index.search(found.embeddings[-1])
    assert [(h["item"], h["similarity"], h["box"]) for h in hits] == listed(alone)


def test_a_box_that_is_drawn_becomes_a_person(
    client: TestClient, index: Index, photos_archive: Path
) -> None:
    path = some_picture(photos_archive)
    query = bring(client, path.read_bytes())
    url = f"/api/v1/queries/{query['id']}/select"
    chosen = client.post(url, json={"box": [10, 10, 60, 500]}).json()
    assert chosen["box"] == [10, 10, 60, 120]
    assert chosen["n"] == len(query["people"]) + 1
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    embedding = ColourEmbedder().embed(pixels, np.array([[10, 10, 60, 120]], dtype=np.float32))[0]
    hits = client.post("/api/v1/search", json={"like": [chosen["selection"]]}).json()["hits"]
    assert [(h["item"], h["similarity"], h["box"]) for h in hits] == listed(index.search(embedding))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"person": 1, "point": [1, 1]},
        {"person": 99},
        {"point": [-5, -5]},
        {"box": [60, 10, 10, 90]},
        {"box": [1000, 1000, 2000, 2000]},
        {"box": [float("1e300")] * 4},
    ],
)
def test_a_choice_that_makes_no_sense_is_a_problem(
    client: TestClient, photos_archive: Path, body: dict[str, object]
) -> None:
    query = bring(client, some_picture(photos_archive).read_bytes())
    answer = client.post(f"/api/v1/queries/{query['id']}/select", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


def test_the_picture_comes_back_without_metadata_until_it_is_forgotten(
    client: TestClient, photos_archive: Path
) -> None:
    stream = io.BytesIO()
    with Image.open(some_picture(photos_archive)) as image:
        exif = Image.Exif()
        exif[0x010E], exif[0x0112] = "secret words", 6
        image.convert("RGB").save(stream, "JPEG", exif=exif)
    query = bring(client, stream.getvalue() + b"PK\x03\x04 more secret words")
    assert (query["width"], query["height"]) == (120, 160)  # upright
    answer = client.get(query["picture"])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
    assert b"secret words" not in answer.content
    with Image.open(io.BytesIO(answer.content)) as shown:
        assert shown.size == (120, 160)
    assert client.delete(f"/api/v1/queries/{query['id']}").status_code == 204
    assert client.get(query["picture"]).status_code == 404
    body = {"like": [f"{query['id']}:1"]}
    assert client.post("/api/v1/search", json=body).status_code == 404


def test_people_their_crops_and_what_is_similar(client: TestClient, index: Index) -> None:
    person = client.get("/api/v1/people/2").json()
    assert person["box"] == index.person(2).box.tolist()
    assert person["scene"]["name"] == index.person(2).scene
    assert "/" not in person["scene"]["path_name"]
    crop = client.get(person["crop"] + "&height=64")
    with Image.open(io.BytesIO(crop.content)) as shown:
        assert shown.size == (32, 64)
    similar = client.post("/api/v1/people/2/similar").json()
    assert [hit["item"] for hit in similar["hits"]] == [
        h.item for h in index.search(index.person(2))
    ]
    (track,) = client.get("/api/v1/people/2/track").json()
    assert track == person


def test_scenes_are_listed_and_shown_with_their_neighbours(
    client: TestClient, index: Index
) -> None:
    page = client.get("/api/v1/scenes", params={"camera": "hall", "limit": 3}).json()
    assert page["total"] == 4
    middle = page["scenes"][1]
    shown = client.get(f"/api/v1/scenes/{middle['key']}").json()
    assert shown["scene"]["name"] == middle["name"]
    assert [one["item"] for one in shown["people"]] == [
        person.item for person in index.people_in(middle["name"])
    ]
    assert shown["before"][-1]["key"] == page["scenes"][0]["key"]
    assert shown["after"][0]["key"] == page["scenes"][2]["key"]


def test_scenes_to_begin_from_are_spread_over_all(client: TestClient) -> None:
    every = client.get("/api/v1/scenes", params={"limit": 500}).json()["scenes"]
    with_people = [one["key"] for one in every if one["n_people"]]
    page = client.get("/api/v1/scenes", params={"spread": True, "limit": 2}).json()
    assert page["total"] == len(with_people)
    assert [one["key"] for one in page["scenes"]] == [
        with_people[0],
        with_people[-(-len(with_people) // 2)],
    ]
    refused = client.get("/api/v1/scenes", params={"spread": True, "offset": 1})
    assert refused.status_code == 422
    assert "no offset" in refused.json()["detail"]


def test_a_scene_is_shown_with_people_blurred(client: TestClient) -> None:
    scene = client.get("/api/v1/people/1").json()
    boxes = client.get(f"/api/v1/scenes/{scene['scene']['key']}").json()["people"]

    def pixels(blur: str) -> np.ndarray:
        answer = client.get(scene["picture"] + f"&width=160&blur={blur}")
        assert answer.status_code == 200
        with Image.open(io.BytesIO(answer.content)) as image:
            return np.asarray(image.convert("RGB")).astype(int)

    def changed(one: np.ndarray, other: np.ndarray, box: list[float]) -> float:
        x1, y1, x2, y2 = (round(side) for side in box)
        return float(np.abs(one - other)[y1:y2, x1:x2].mean())

    plain, blurred, others = pixels(""), pixels("1"), pixels("others-of:1")
    own = next(one["box"] for one in boxes if one["item"] == 1)
    assert changed(plain, blurred, own) > 3 * changed(plain, others, own)
    assert np.abs(plain - others).mean() > 1
    assert client.get(scene["picture"] + "&blur=999").status_code == 422


def test_cameras_and_the_timeline(client: TestClient, index: Index) -> None:
    cameras = client.get("/api/v1/cameras").json()
    assert [(one["name"], one["n_scenes"]) for one in cameras] == [("gate", 4), ("hall", 4)]
    found = client.post("/api/v1/timeline", json={"like": ["item:1"], "top": 500}).json()
    assert sum(bar["n"] for row in found["cameras"] for bar in row["bars"]) == len(index) - 1
    assert found["n_without_time"] == 0
    given = client.get("/api/v1/timeline", params={"items": "1,2"}).json()
    assert sum(bar["n"] for row in given["cameras"] for bar in row["bars"]) == 2
    assert client.get("/api/v1/timeline", params={"items": "1,x"}).status_code == 422


def test_the_model_is_told_without_a_path(client: TestClient) -> None:
    told = client.get("/api/v1/model").json()
    assert told["name"] == "colour"
    assert told["model_hash"] == ColourEmbedder().model_hash
    assert "/" not in told["problem"]


def test_figures_for_monitors(client: TestClient) -> None:
    client.get("/api/v1/people/1")
    text = client.get("/metrics").text
    assert 'route="/api/v1/people/{item}"' in text
    assert "/api/v1/people/1" not in text


@pytest.mark.long
def test_a_service_that_asks_for_the_purpose_notes_it(tmp_path: Path) -> None:
    archive = write_archive(tmp_path)
    with served(archive, purpose_required=True) as client:
        client.headers.update(BEARER)
        body: dict[str, object] = {"like": ["item:1"]}
        for given, headers in ((body, {}), (body | {"purpose": "  "}, {})):
            answer = client.post("/api/v1/search", json=given, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (422, "purpose_required")
        client.post("/api/v1/search", json=body | {"purpose": "a lost child"})
        client.post("/api/v1/people/2/similar", headers={"X-Purpose": "the same child"})
    with SqliteStore(archive) as store, store.reading() as connection:
        noted = [entry for entry in entries(connection) if entry.action == "search"]
    assert [entry.purpose for entry in noted] == ["a lost child", "the same child"]
    assert all('"user": "local"' in entry.details for entry in noted)
    assert '"asked": ["item:1"]' in noted[0].details


@pytest.mark.long
def test_several_archives_are_told_apart(tmp_path: Path) -> None:
    one, two = (write_archive(tmp_path / name, n_scenes=2) for name in ("one", "two"))
    with served(one, two) as client:
        client.headers.update(BEARER)
        keys = [archive["id"] for archive in client.get("/api/v1/archives").json()]
        assert keys == ["event", "event-2"]
        assert client.get("/api/v1/people/1").status_code == 422
        assert client.get("/api/v1/people/1", params={"archive": "event-3"}).status_code == 404
        person = client.get("/api/v1/people/1", params={"archive": "event-2"}).json()
        assert person["crop"].endswith("archive=event-2")
        picture = {"picture": some_picture(one).read_bytes()}
        query = client.post("/api/v1/queries", files=picture, data={"archive": "event"}).json()
        body = {"like": [f"{query['id']}:1"], "archive": "event-2"}
        assert client.post("/api/v1/search", json=body).status_code == 422
        assert client.post("/api/v1/search", json=body | {"archive": "event"}).status_code == 200


@pytest.mark.long
def test_a_query_picture_is_its_owners_alone(photos_archive: Path, tmp_path: Path) -> None:
    users, password = tmp_path / "users.toml", "correct horse battery"
    for name in ("anna", "bert"):
        add_user(users, name, "viewer", password)
    own = {"Origin": ADDRESS}
    with served(photos_archive, users=users, token="") as client:

        def become(name: str) -> None:
            client.cookies.clear()
            form = {"username": name, "password": password}
            assert client.post("/login", data=form, headers=own).status_code == 303

        become("anna")
        picture = {"picture": some_picture(photos_archive).read_bytes()}
        query = client.post("/api/v1/queries", files=picture, headers=own).json()
        assert client.get(query["picture"]).status_code == 200
        become("bert")
        assert client.get(query["picture"]).status_code == 404
        url = f"/api/v1/queries/{query['id']}"
        assert client.post(f"{url}/select", json={"person": 1}, headers=own).status_code == 404
        assert client.delete(url, headers=own).status_code == 404
        body = {"like": [f"{query['id']}:1"]}
        assert client.post("/api/v1/search", json=body, headers=own).status_code == 404
