"""Indexing for clients: a real process, one at a time, that can be cancelled and is remembered."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from fake.network import write_network
from fake.photos import write_photos
from fake.served import BEARER, served
from fdps.embedders import load
from fdps.errors import UsageError
from fdps.search import Index
from fdps.search.care.verify import verify
from fdps.search.sqlite.schema import writer_lock
from fdps.serve.jobs import job as limits
from fdps.serve.jobs.job import Job, JobHistory, JobOptions
from fdps.serve.jobs.roots import Roots
from fdps.serve.jobs.runner import JobRunningError, Jobs, Target, UnknownJobError

API = "/api/v1"
PEOPLE = 2


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network, and an archive of one picture that it made."""
    folder = tmp_path_factory.mktemp("jobs")
    network = write_network(folder / "run" / "weights.safetensors", n_people=PEOPLE)
    write_photos(folder / "first", 1, seed=9)
    with Index.create(folder / "event.fdps", load(network), model=str(network)) as index:
        index.add(folder / "first")
    return folder


@pytest.fixture
def archive(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "event.fdps", tmp_path / "event.fdps")
    write_photos(tmp_path / "photos" / "gate", 3)
    (tmp_path / "photos" / "gate" / "broken.png").write_bytes(b"not a picture")
    return tmp_path / "event.fdps"


@pytest.fixture
def editor(archive: Path) -> Iterator[TestClient]:
    with served(archive, roots={"event": archive.parent / "photos"}) as client:
        client.headers.update(BEARER)
        yield client


def folder_of(client: TestClient, name: str = "gate") -> dict[str, str]:
    (root,) = client.get(f"{API}/roots").json()
    (folder,) = (folder["id"] for folder in root["folders"] if folder["name"] == name)
    return {"root": root["id"], "folder": folder}


def events(client: TestClient, job_id: str) -> list[tuple[str, dict[str, Any]]]:
    """All events of a job, until its end."""
    found = []
    with client.stream("GET", f"{API}/jobs/{job_id}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        name = ""
        for line in stream.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                found.append((name, json.loads(line.removeprefix("data: "))))
    return found


@pytest.mark.long
def test_a_folder_is_indexed_while_the_service_runs(editor: TestClient, archive: Path) -> None:
    begun = editor.post(f"{API}/jobs", json={**folder_of(editor), "camera": "gate"})
    assert begun.status_code == 202
    job = begun.json()
    assert (job["state"], job["folder"], job["by"]) == ("running", "event/gate", "local")
    second = editor.post(f"{API}/jobs", json=folder_of(editor))
    assert second.status_code == 409
    assert "one runs at a time" in second.json()["detail"]

    told = events(editor, job["id"])
    assert [name for name, _ in told][-1] == "end"
    assert {name for name, _ in told[:-1]} <= {"progress"}
    done = told[-1][1]
    assert (done["state"], done["added"], done["skipped"]) == ("done", 3, 1)
    assert done["people"] == 4 * PEOPLE
    assert editor.get(f"{API}/jobs/{job['id']}").json() == done
    assert editor.get(f"{API}/jobs").json() == [done]
    assert str(archive.parent) not in json.dumps(told)
    (skipped,) = editor.get(f"{API}/skipped").json()
    assert (skipped["file"], skipped["may_retry"]) == ("event/gate/broken.png", True)
    # Who is new can be judged at once: nothing was restarted.
    case = editor.post(f"{API}/cases", json={"name": "a"}).json()
    newest = {"item": 4 * PEOPLE, "verdict": "confirmed"}
    answer = editor.put(f"{API}/cases/{case['id']}/verdicts", json=newest)
    assert answer.json()["confirmed"][0]["scene"]["camera"] == "gate"


@pytest.mark.slow
def test_what_was_skipped_can_be_tried_again(editor: TestClient, archive: Path) -> None:
    first = editor.post(f"{API}/jobs", json=folder_of(editor)).json()
    assert events(editor, first["id"])[-1][1]["skipped"] == 1
    write_photos(archive.parent / "mended", 1, seed=5)
    broken = archive.parent / "photos" / "gate" / "broken.png"
    (archive.parent / "mended" / "000.png").replace(broken)
    again = editor.post(f"{API}/skipped/retry")
    assert again.status_code == 202
    done = events(editor, again.json()["id"])[-1][1]
    assert (done["state"], done["added"], done["skipped"]) == ("done", 1, 0)
    assert editor.get(f"{API}/skipped").json() == []
    assert editor.post(f"{API}/skipped/retry").status_code == 422


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"root": "unknown"}, 404),
        ({"root": "/etc"}, 404),
        ({"root": "../photos"}, 404),
        ({"root": "x", "path": "/etc"}, 422),
        ({"root": "x", "folder": "y" * 200}, 422),
        ({}, 422),
    ],
)
def test_what_is_no_folder_of_a_root_is_refused(
    editor: TestClient, body: dict[str, Any], status: int
) -> None:
    assert editor.post(f"{API}/jobs", json=body).status_code == status
    assert editor.get(f"{API}/jobs").json() == []


def test_malformed_options_are_refused_before_anything_starts(editor: TestClient) -> None:
    folder = folder_of(editor)
    for more in ({"every": "often"}, {"camera": "a\nb"}, {"camera": "x" * 101}):
        assert editor.post(f"{API}/jobs", json={**folder, **more}).status_code == 422
    for unknown in ("get", "delete"):
        assert getattr(editor, unknown)(f"{API}/jobs/x").status_code == 404
    assert editor.get(f"{API}/jobs/x/events").status_code == 404
    assert editor.get(f"{API}/jobs").json() == []


def test_an_archive_that_somebody_else_writes_is_said_at_once(
    editor: TestClient, archive: Path
) -> None:
    with writer_lock(archive):
        answer = editor.post(f"{API}/jobs", json=folder_of(editor))
    assert answer.status_code == 409
    assert "event.fdps is being written by process" in answer.json()["detail"]
    assert str(archive.parent) not in answer.text


def jobs_for(archive: Path) -> tuple[Jobs, Target]:
    roots = Roots({"event": archive.parent / "photos"})
    return Jobs(roots, {"event": archive}), Target("event", archive)


def wait(condition: Callable[[], object], *, most_s: float = 120.0) -> None:
    end = time.monotonic() + most_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
def test_a_job_that_is_cancelled_leaves_the_archive_whole(archive: Path) -> None:
    write_photos(archive.parent / "photos" / "many", 60, seed=3)
    jobs, target = jobs_for(archive)
    (root,) = jobs.roots.listed()
    job = jobs.start(target, jobs.roots.folder(root.id), by="ann")
    with pytest.raises(JobRunningError):
        jobs.start(target, jobs.roots.folder(root.id), by="bob")
    wait(lambda: jobs.job(job.id).done >= 2)
    jobs.cancel(job.id)
    wait(lambda: jobs.job(job.id).is_over)
    ended = jobs.job(job.id)
    assert (ended.state, ended.message) == ("cancelled", "")
    assert 2 <= ended.done < 64
    assert verify(archive).faults == ()
    assert jobs.cancel(job.id) == ended  # once more changes nothing
    more = jobs.start(target, jobs.roots.folder(root.id), by="ann")
    wait(lambda: jobs.job(more.id).done >= ended.done + 1)
    jobs.close()  # the service ends
    jobs, _ = jobs_for(archive)
    assert [job.state for job in jobs.jobs()] == ["interrupted", "cancelled"]
    jobs.close()
    assert verify(archive).faults == ()


@pytest.mark.slow
def test_a_job_without_pictures_fails_with_the_reason(archive: Path) -> None:
    (archive.parent / "photos" / "empty").mkdir()
    jobs, target = jobs_for(archive)
    (root,) = jobs.roots.listed()
    empty = next(folder.id for folder in root.folders if folder.name == "empty")
    job = jobs.start(target, jobs.roots.folder(root.id, empty), by="ann")
    wait(lambda: jobs.job(job.id).is_over)
    ended = jobs.job(job.id)
    assert ended.state == "failed"
    assert "event/empty" in ended.message
    assert str(archive.parent) not in ended.message
    jobs.close()


def test_a_job_that_runs_when_the_server_is_killed_is_remembered(tmp_path: Path) -> None:
    options = JobOptions("2s", "gate", again=True)
    job = Job("a", "event", "event/gate", options, "running", "ann", "2026", done=3, total=9)
    history = JobHistory(tmp_path / "jobs.sqlite")
    history.keep(job)
    assert history.jobs() == [job]
    history.close()
    again = JobHistory(tmp_path / "jobs.sqlite")
    assert again.jobs() == [replace(job, state="interrupted", message="the server ended")]
    again.close()


def test_the_oldest_jobs_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_KEPT", 3)
    history = JobHistory(tmp_path / "jobs.sqlite")
    for number in range(5):
        job = Job(str(number), "event", "x", JobOptions(), "done", "ann", str(number))
        history.keep(job)
        history.keep(job)
    assert [job.id for job in history.jobs()] == ["4", "3", "2"]
    history.close()


def test_options_of_a_client_cannot_become_other_options() -> None:
    words = JobOptions("10f", "--out=/tmp/x", again=True).words()
    assert words == ["--every=10f", "--camera=--out=/tmp/x", "--all"]
    with pytest.raises(UsageError, match="every"):
        JobOptions("1f --out /tmp/x")


def test_an_unknown_job(archive: Path) -> None:
    jobs, _ = jobs_for(archive)
    for act in (jobs.job, jobs.cancel):
        with pytest.raises(UnknownJobError, match="no such job"):
            act("x")
    jobs.close()
