"""A server and ``fdps index`` on one archive at the same time, each a process as users start it."""

import json
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fake.browsing import CAMERAS, running, write_drawn_archive
from fdps.search.sqlite.store import SqliteStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
N_ADDED, N_CLIENTS = 28, 3


class Client:
    """Asks a server over REST.

    Args:
        address: The address that the server printed.
    """

    def __init__(self, address: str) -> None:
        self._home, _, self._token = address.partition("/?token=")

    def ask(self, path: str, body: Any = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/json",
        }
        request = urllib.request.Request(f"{self._home}/api/v1{path}", content, headers)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.loads(answer.read())


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive, and beside it the folder ``more`` of pictures that it does not hold."""
    folder = tmp_path_factory.mktemp("grows")
    archive = write_drawn_archive(folder)
    drawn = sorted((folder / "scenes" / "images" / "test").glob("*.jpg"))
    for number in range(N_ADDED):
        to = folder / "more" / CAMERAS[number % 2] / f"20260503_10{number:02}00.jpg"
        to.parent.mkdir(parents=True, exist_ok=True)
        # A byte behind the picture makes it another content, which the archive does not know.
        to.write_bytes(drawn[number % len(drawn)].read_bytes() + bytes([number]))
    return archive


def sizes(archive: Path) -> list[int]:
    """The numbers of people that the archive has had: whole scenes, in the order of addition."""
    with SqliteStore(archive) as store, store.reading() as connection:
        rows = connection.execute(
            "SELECT count(people.id) FROM scenes LEFT JOIN people ON scene_id = scenes.id "
            "GROUP BY scenes.id ORDER BY scenes.id"
        ).fetchall()
    total, found = 0, [0]
    for (n,) in rows:
        total += n
        found.append(total)
    return found


def searching(client: Client, is_over: threading.Event) -> Iterator[dict[str, Any]]:
    while not is_over.is_set():
        yield client.ask("/search", {"like": ["item:3"], "top": 500})


def test_new_people_are_found_without_a_restart_and_no_answer_is_torn(archive: Path) -> None:
    before, is_over = sizes(archive)[-1], threading.Event()
    answers: list[list[dict[str, Any]]] = [[] for _ in range(N_CLIENTS)]
    with running(archive) as address:
        client = Client(address)
        clients = [
            threading.Thread(target=lambda to=to: to.extend(searching(Client(address), is_over)))
            for to in answers
        ]
        for thread in clients:
            thread.start()
        while not all(answers):
            time.sleep(0.1)
        words = ["index", "more", "-o", archive.name, "-q", "--time-from", "name:%Y%m%d_%H%M%S"]
        words += ["--camera-from", f"(?P<camera>{'|'.join(CAMERAS)})"]
        subprocess.run([sys.executable, "-m", "fdps", *words], cwd=archive.parent, check=True)
        time.sleep(0.5)
        is_over.set()
        for thread in clients:
            thread.join()
        last = client.ask("/search", {"like": ["item:3"], "top": 500})
        newest = max(hit["item"] for hit in last["hits"])
        scene = client.ask(f"/people/{newest}")["scene"]
        with urllib.request.urlopen(
            urllib.request.Request(
                f"{client._home}/api/v1/people/{newest}/crop",
                headers={"Authorization": f"Bearer {client._token}"},
            )
        ) as crop:
            assert crop.headers["content-type"] == "image/webp"
    possible = sizes(archive)
    assert scene["time"].startswith("2026-05-03")
    assert possible[-1] == last["n_people"] > before
    seen = [answer["n_people"] for of_client in answers for answer in of_client]
    assert len(set(seen)) > 3  # searches were answered while it grew
    for of_client in answers:
        sizes_seen = [answer["n_people"] for answer in of_client]
        assert all(first <= second for first, second in pairwise(sizes_seen))
    for answer in (*(one for of_client in answers for one in of_client), last):
        # A scene and its people are added whole, and the answer is of one state of the archive.
        assert answer["n_people"] in possible
        assert answer["n_looked_at"] == sum(answer["histogram"]["counts"]) == answer["n_people"]
        items = [hit["item"] for hit in answer["hits"]]
        assert len(items) == len({*items}) == answer["n_people"] - 1
        similar = [hit["similarity"] for hit in answer["hits"]]
        assert similar == sorted(similar, reverse=True)


def test_nothing_is_torn_while_everybody_gets_another_number(archive: Path, tmp_path: Path) -> None:
    copy = tmp_path / archive.name
    shutil.copytree(archive, copy)
    n_people, is_over = sizes(copy)[-1], threading.Event()
    answers: list[dict[str, Any]] = []
    with running(copy) as address:
        client = Client(address)
        query = client.ask("/search", {"like": ["item:3"], "top": 1})["hits"][0]["item"]
        case = client.ask("/cases", {"name": "kept", "like": [f"item:{query}"]})["id"]

        def search() -> None:
            while not is_over.is_set():
                answers.append(client.ask("/search", {"like": [f"case:{case}:1"], "top": 500}))

        thread = threading.Thread(target=search)
        thread.start()
        words = ["index", str(archive.parent / "photos"), "-o", copy.name, "--all", "-q"]
        subprocess.run([sys.executable, "-m", "fdps", *words], cwd=tmp_path, check=True)
        is_over.set()
        thread.join()
    assert len(answers) > 3
    for answer in answers:  # a scene is replaced by itself in one step, so nobody is ever missing
        assert answer["n_people"] == answer["n_looked_at"] == len(answer["hits"]) == n_people
    first, last = ({hit["item"] for hit in answers[end]["hits"]} for end in (0, -1))
    assert first != last
