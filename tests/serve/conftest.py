"""One small archive behind the web service."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from fake.served import BEARER, served, write_archive


@pytest.fixture(scope="session")
def photos_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive that no test changes."""
    return write_archive(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def stranger(photos_archive: Path) -> Iterator[TestClient]:
    """Somebody without a token."""
    with served(photos_archive) as client:
        yield client


@pytest.fixture
def client(stranger: TestClient) -> Iterator[TestClient]:
    """A program with the token."""
    stranger.headers.update(BEARER)
    yield stranger
    for name in BEARER:
        del stranger.headers[name]
    stranger.cookies.clear()


@pytest.fixture
def archive(photos_archive: Path, tmp_path: Path) -> Path:
    """A copy that a test may change; the pictures stay where they are."""
    shutil.copytree(photos_archive, tmp_path / "event.fdps")
    return tmp_path / "event.fdps"


@pytest.fixture
def owner(archive: Path) -> Iterator[TestClient]:
    """Whoever started the service, by its token, before an archive that a test may change."""
    with served(archive) as client:
        client.headers.update(BEARER)
        yield client
