"""What a flow goes on with when a machine is lost."""

from pathlib import Path

import numpy as np
import pytest

from fake.photos import random_people
from fdps.decoding.messages import Ending
from fdps.search import Frame
from fdps.search.ingest.looking import SeenFrame
from fdps.search.ingest.plan import FilePlan
from fdps.search.ray.missing import MissingContents, MissingFiles
from fdps.search.ray.session import is_loss
from fdps.search.ray.worker import to_row


def row(number: int, event: SeenFrame | Ending) -> dict[str, object]:
    return {name: column[0] for name, column in to_row(number, event).items()}


def frame(number: int) -> SeenFrame:
    return SeenFrame(9, 9, random_people(np.random.default_rng(0), 2), frame=number)


@pytest.fixture
def files() -> MissingFiles:
    """A picture, a file that is known, a video and a picture."""
    requests = [{"do": "picture"}, None, {"do": "video", "skip": [5]}, {"do": "picture"}]
    return MissingFiles(
        [FilePlan(Frame("a", Path("/a"), is_video=False), request=asked) for asked in requests]
    )


def numbers(files: MissingFiles) -> list[int]:
    return [number for number, _ in files.plans()]


def test_files_are_missing_until_their_ending_has_come(files: MissingFiles) -> None:
    assert numbers(files) == [0, 2, 3]
    assert files.is_new(row(0, frame(0)))
    assert numbers(files) == [0, 2, 3]
    assert not files.is_new(row(0, frame(0)))  # the flow was begun anew
    assert files.is_new(row(0, Ending()))
    assert numbers(files) == [2, 3]
    assert files.is_new(row(2, frame(0)))
    assert files.is_new(row(2, frame(10)))
    assert files.request_of(2)["skip"] == [0, 5, 10]
    assert files.request_of(3) == {"do": "picture"}
    assert files.is_new(row(2, Ending("torn")))
    assert files.is_new(row(3, frame(0)))  # not that of the video
    assert files.request_of(3) == {"do": "picture"}
    assert files.is_new(row(3, Ending()))
    assert numbers(files) == []


def test_content_is_missing_until_its_row_has_come() -> None:
    missing = MissingContents([b"a", b"b", b"c"])
    assert missing.is_new({"sha256": ""})
    assert missing.is_new({"sha256": "0"})
    assert missing.paths() == [b"c"]


def test_a_lost_worker_is_told_from_one_that_fails() -> None:
    exceptions = pytest.importorskip("ray.exceptions", reason="ray is not installed")
    lost, failed = exceptions.ActorDiedError(), KeyError("sha256")
    assert is_loss(lost)
    assert is_loss(exceptions.NodeDiedError("gone"))
    assert is_loss(exceptions.RayTaskError("more", "...", lost))  # through a Ray client
    assert not is_loss(exceptions.RayTaskError("more", "...", failed))
    assert not is_loss(exceptions.RaySystemError("no"))
