"""Kill the web service at random moments while people work with it, and look for what is lost.

    python benchmarks/soak_serving.py --kills 50

A server over an archive of drawn people gets cases, notes and verdicts from several clients at
once, and indexes a folder meanwhile. After a random time it gets SIGKILL. The next one must know
all that was acknowledged: every case, the last notes, every verdict. The archive must be whole
(``fdps archive verify``), hold no scene twice and every scene that it had before. Prints one JSON
object; ends with 1 if something was not so.
"""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from fdps.data.synthetic import SyntheticConfig, draw_dataset
from fdps.embedders import load
from fdps.search import Index
from fdps.search.care.verify import verify

MODEL, TOKEN = "drawn-people", "t" * 43
EDITORS, LONGEST_S = 3, 2.5
API = "/api/v1"
SERVER = """
import sys
from pathlib import Path
import uvicorn
from fdps.embedders import load
from fdps.serve.app import create_app
from fdps.serve.archives import Archives
from fdps.serve.settings import ServeSettings
archive, photos, port, token = sys.argv[1:]
settings = ServeSettings(port=int(port), token=token, roots={"photos": Path(photos)})
archives = Archives([archive], lambda info: load(info.model))
uvicorn.run(create_app(settings, archives), port=int(port), log_level="error")
"""


Key = tuple[str, str]
"""A case, and either ``notes`` or the number of a person."""


@dataclass
class Kept:
    """What one editor has heard from the server; nobody else works on these cases.

    Attributes:
        texts: What may be found under each key: the text that was acknowledged last, and those
            that were sent since, of which the server may have kept one before it was killed.
        n: Number of changes that were acknowledged.
    """

    texts: dict[Key, list[str | None]] = field(default_factory=dict)
    n: int = 0

    @property
    def cases(self) -> list[str]:
        """The cases of this editor."""
        return [case for case, what in self.texts if what == "notes"]


class Client:
    """Sends JSON to the server.

    Args:
        port: Port of the server.
    """

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=30)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Send a request; status and answer."""
        headers |= {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body)
        self._connection.request(method, path, content, headers)
        answer = self._connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None


def main() -> None:
    """Kill, look, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    args = parser.parse_args()
    moments, start = random.Random(args.seed), time.perf_counter()
    faults: list[str] = []
    kept, n_jobs = [Kept() for _ in range(EDITORS)], 0
    between: list[int] = []  # changes that were acknowledged between two kills
    with tempfile.TemporaryDirectory() as folder:
        archive, photos = begin(Path(folder))
        scenes: set[str] = set()
        for number in range(args.kills):
            server, port = serve(archive, photos)
            try:
                faults += [f"kill {number}: {fault}" for fault in lost(Client(port), kept)]
                n_before = sum(one.n for one in kept)
                n_jobs += disturb(port, kept, moments, args.seed * 1000 + number)
            finally:
                server.send_signal(signal.SIGKILL)
                server.wait()
            between.append(sum(one.n for one in kept) - n_before)
            if not between[-1]:
                faults.append(f"kill {number}: nothing was acknowledged before it")
            there, found = look(archive)
            faults += [f"kill {number}: {fault}" for fault in found]
            if missing := scenes - there:
                faults.append(f"kill {number}: lost scenes {sorted(missing)}")
            scenes = there
        server, port = serve(archive, photos)
        faults += [f"at the end: {fault}" for fault in lost(Client(port), kept)]
        faults += finish(Client(port), len(list(photos.rglob("*.jpg"))), archive)
        server.terminate()
        server.wait()
    figures = {
        "is_right": not faults,
        "kills": args.kills,
        "acknowledged": sum(one.n for one in kept),
        "least_between_kills": min(between, default=0),
        "cases": sum(len(one.cases) for one in kept),
        "jobs": n_jobs,
        "faults": faults,
        "seconds": round(time.perf_counter() - start, 1),
    }
    print(json.dumps(figures, indent=1))
    sys.exit(bool(faults))


def begin(folder: Path) -> tuple[Path, Path]:
    """Draw pictures, and index a few of them; the archive, and the folder of the others."""
    config = SyntheticConfig(n_train_scenes=40, n_test_scenes=4, width=256, height=192)
    draw_dataset(config, folder / "drawn")
    (folder / "first").mkdir()
    pictures = sorted((folder / "drawn").rglob("*.jpg"))
    for path in pictures[:4]:
        shutil.move(path, folder / "first" / f"first_{path.name}")
    embedder = load(MODEL)
    with Index.create(folder / "event.fdps", embedder, model=MODEL) as index:
        index.add(folder / "first")
    return folder / "event.fdps", folder / "drawn"


def serve(archive: Path, photos: Path) -> tuple["subprocess.Popen[bytes]", int]:
    """Start a server, and wait until it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", SERVER, str(archive), str(photos), str(port), TOKEN]
    server = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
    end = time.monotonic() + 120
    while time.monotonic() < end and server.poll() is None:
        try:
            Client(port).send("GET", "/healthz")
        except OSError:
            time.sleep(0.05)
        else:
            return server, port
    raise ChildProcessError("the server did not start")


def disturb(port: int, kept: list[Kept], moments: random.Random, seed: int) -> int:
    """Let people work for a random time after the first of them was heard; whether a job began."""
    client = Client(port)
    (root,) = client.send("GET", f"{API}/roots")[1]
    status, _ = client.send("POST", f"{API}/jobs", {"root": root["id"]})
    n_before, end = sum(one.n for one in kept), time.monotonic() + 120
    for number, one in enumerate(kept):
        rng = random.Random(seed + number)
        threading.Thread(target=edit, args=(port, one, rng), daemon=True).start()
    while sum(one.n for one in kept) == n_before and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(moments.uniform(0, LONGEST_S))
    return status == 202


def edit(port: int, kept: Kept, rng: random.Random) -> None:
    """Make cases and change them, until the server is gone."""
    client = Client(port)
    try:
        while True:
            if not kept.cases or rng.random() < 0.1:
                status, case = client.send("POST", f"{API}/cases", {"name": f"case {rng.random()}"})
                if status == 201:
                    kept.texts[case["id"], "notes"] = [""]
                    kept.n += 1
            else:
                change(client, kept, rng)
    except (OSError, HTTPException, ValueError):
        return


def change(client: Client, kept: Kept, rng: random.Random) -> None:
    """Change the notes of a case, or give a verdict."""
    case_id, word = rng.choice(kept.cases), f"{rng.random()}"
    path, item = f"{API}/cases/{case_id}", rng.randint(0, 4)
    texts = kept.texts.setdefault((case_id, str(item) if item else "notes"), [None])
    texts.append(word)
    if item:
        body = {"item": item, "verdict": rng.choice(["confirmed", "rejected"]), "note": word}
        status, _ = client.send("PUT", f"{path}/verdicts", body)
    else:
        status, _ = client.send("PATCH", path, {"notes": word}, **{"If-Match": "*"})
    if status == 200:
        del texts[:-1]
        kept.n += 1


def lost(client: Client, editors: list[Kept]) -> list[str]:
    """Say what was acknowledged and is not there; what is there counts from here on."""
    faults = []
    for kept in editors:
        for case_id in kept.cases:
            status, case = client.send("GET", f"{API}/cases/{case_id}")
            if status != 200:
                faults.append(f"case {case_id}: {status}")
                continue
            found = {str(hit["item"]): hit["note"] for hit in case["confirmed"] + case["rejected"]}
            found["notes"] = case["notes"]
            for key in [key for key in kept.texts if key[0] == case_id]:
                there, texts = found.get(key[1]), kept.texts[key]
                if there not in texts:
                    faults.append(f"{key}: {there!r}, expected one of {texts}")
                kept.texts[key] = [there]
    return faults


def look(archive: Path) -> tuple[set[str], list[str]]:
    """The scenes in an archive, and what is wrong with it."""
    faults = list(verify(archive).faults)
    with Index.open(archive) as index:
        records = index.store.find_all()
    if len({(record.sha256, record.frame) for record in records}) != len(records):
        faults.append("a scene is there twice")
    return {record.name for record in records}, faults


def finish(client: Client, n_pictures: int, archive: Path) -> list[str]:
    """Index to the end; whether every picture is there, once."""
    (root,) = client.send("GET", f"{API}/roots")[1]
    status, job = client.send("POST", f"{API}/jobs", {"root": root["id"]})
    end = time.monotonic() + 300
    while status == 409 and time.monotonic() < end:  # the last one has not noticed yet
        time.sleep(1)
        status, job = client.send("POST", f"{API}/jobs", {"root": root["id"]})
    while job["state"] == "running" and time.monotonic() < end:
        time.sleep(0.5)
        _, job = client.send("GET", f"{API}/jobs/{job['id']}")
    there, faults = look(archive)
    if job["state"] != "done" or len(there) != n_pictures + 4:
        faults.append(f"{len(there)} scenes of {n_pictures + 4}, the job: {job}")
    return faults


if __name__ == "__main__":
    main()
