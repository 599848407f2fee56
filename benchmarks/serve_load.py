"""Measure the web service under load: how long searches take, and what an attack costs others.

It draws an archive of unit vectors, serves it in a process of its own as ``fdps serve`` does, lets
clients search it one after the other as fast as they are answered, and prints percentiles of the
time that searches took, of ``/healthz`` meanwhile, and how the memory of the service grew. With
``--attack`` slow clients and oversized uploads come in crowds at the same time.

    python benchmarks/serve_load.py --people 100000 --clients 50 --seconds 600
    python benchmarks/serve_load.py --people 100000 --clients 50 --seconds 60 --attack

Targets: 95 of 100 searches within 500 ms on two cores, no answer of 500 or more, ``/healthz``
within 200 ms for 99 of 100 during an attack, memory flat to 5 %.
"""

import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np

from fdps.search import SceneRecord
from fdps.search.sqlite.store import SqliteStore
from fdps.structures import Detections

DIM, PER_SCENE = 256, 20
TOKEN = "b" * 40
SLOW_CLIENTS = 200


def main() -> None:
    """Draw, serve, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--attack", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "load.fdps"
        draw(place, options.people)
        command = [sys.executable, "-m", "fdps", "serve", str(place), "--port", "0", "--json"]
        environment = os.environ | {"FDPS_SERVE_TOKEN": TOKEN}
        service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        try:
            assert service.stdout
            port = json.loads(service.stdout.readline())["port"]
            while ask(port, "GET", "/readyz")[0] != 200:
                time.sleep(0.1)
            report(port, service.pid, options)
        finally:
            service.terminate()
            service.wait()


def draw(place: Path, n_people: int) -> None:
    """Write an archive of random people."""
    rng = np.random.default_rng(0)
    with SqliteStore.create(place, model_hash="f" * 64, dim=DIM) as store, store.writing():
        for number in range(n_people // PER_SCENE):
            rows = rng.normal(size=(PER_SCENE, DIM))
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            corner = rng.uniform(0, 500, size=(PER_SCENE, 2))
            boxes = np.concatenate([corner, corner + np.array([40, 120])], axis=1).astype(
                np.float32
            )
            scores = np.full(PER_SCENE, 0.9, dtype=np.float32)
            name = f"{number:06}.jpg"
            time_text = f"2026-05-02T{number % 24:02}:{number % 60:02}:00+00:00"
            scene = SceneRecord(
                name, f"/x/{name}", f"{number:064x}", 800, 700, f"c{number % 5}", time_text
            )
            store.add(scene, Detections(boxes, scores, rows.astype(np.float32)))


def ask(port: int, method: str, path: str, body: object = None) -> tuple[int, float]:
    """Send a request on a connection of its own; the status, and the seconds it took."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    start = time.perf_counter()
    try:
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, time.perf_counter() - start
    except OSError:
        return 0, time.perf_counter() - start
    finally:
        connection.close()


def report(port: int, pid: int, options: argparse.Namespace) -> None:
    """Let everybody loose, and print what was measured."""
    end = time.monotonic() + options.seconds
    searches: list[tuple[int, float]] = []
    probes: list[tuple[int, float]] = []

    def search(seed: int) -> None:
        rng = np.random.default_rng(seed)
        while time.monotonic() < end:
            item = int(rng.integers(1, options.people + 1))
            searches.append(ask(port, "POST", "/api/v1/search", {"like": [f"item:{item}"]}))

    def probe() -> None:
        while time.monotonic() < end:
            probes.append(ask(port, "GET", "/healthz"))
            time.sleep(0.05)

    threads = [threading.Thread(target=search, args=(n,)) for n in range(options.clients)]
    threads.append(threading.Thread(target=probe))
    if options.attack:
        threads += [threading.Thread(target=crawl, args=(port, end)) for _ in range(SLOW_CLIENTS)]
        threads += [threading.Thread(target=flood, args=(port, end)) for _ in range(10)]
    before = memory_bytes(pid)
    for thread in threads:
        thread.start()
    time.sleep(min(5.0, options.seconds / 2))
    early = memory_bytes(pid)
    for thread in threads:
        thread.join()
    for name, taken in (("search", searches), ("/healthz", probes)):
        ms = np.array([1000 * seconds for code, seconds in taken if code == 200])
        codes = dict(sorted(Counter(code for code, _ in taken).items()))
        figures = ", ".join(f"p{p} {np.percentile(ms, p):.0f} ms" for p in (50, 95, 99))
        print(f"{name:9} {len(taken) / options.seconds:.1f} a second, {figures}, answers {codes}")
    began, soon, ended = (f"{n / 1e6:.0f} MB" for n in (before, early, memory_bytes(pid)))
    print(f"memory    {began} before, {soon} soon, {ended} at the end")


def crawl(port: int, end: float) -> None:
    """Send the headers of a request letter by letter."""
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as slow:
                slow.sendall(b"GET / HTTP/1.1\r\nX-slow: ")
                while time.monotonic() < end:
                    slow.sendall(b"a")
                    time.sleep(1)
        except OSError:
            time.sleep(0.1)


def flood(port: int, end: float) -> None:
    """Upload a gigabyte, without saying before how long it will be."""
    head = (
        f"POST /api/v1/queries HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    part = b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'
    chunk = b"%x\r\n" % 100_000 + b"\0" * 100_000 + b"\r\n"
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as upload:
                upload.sendall(head.encode() + b"%x\r\n" % len(part) + part + b"\r\n")
                for _ in range(10_000):
                    upload.sendall(chunk)
        except OSError:
            time.sleep(0.1)


def memory_bytes(pid: int) -> int:
    """Return the resident memory of a process, where Linux tells it; otherwise 0."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
