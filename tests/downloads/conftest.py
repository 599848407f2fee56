"""A list of one public model, and a server that has its files."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fake.file_server import Files, serve, write_certificate
from fake.public_models import CONTENT, list_text
from fdps.downloads.catalogue import PublicModel, read_catalogue


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of models, which is not there yet."""
    for name in ("FDPS_ALLOWED_LICENSES", "FDPS_MIRROR", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FDPS_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate of the server, and is not installed")
    return write_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def server(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    """A server of the files, whose certificate this process trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))
    with serve(dict(CONTENT), certificate) as files:
        yield files


@pytest.fixture
def list_file(server: Files, tmp_path: Path) -> Path:
    path = tmp_path / "list.toml"
    path.write_text(list_text(server.address))
    return path


@pytest.fixture
def model(list_file: Path) -> PublicModel:
    return read_catalogue(list_file)["small-people"]
