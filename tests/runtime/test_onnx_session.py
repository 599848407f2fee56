from collections.abc import Callable
from pathlib import Path

import pytest

from fake.onnx_file import field, write_with_constant, write_with_initializer
from fdps.errors import MissingDataError, ModelError
from fdps.runtime.onnx_session import external_files, open_session

WRITERS = [write_with_initializer, write_with_constant]


@pytest.mark.parametrize("write", WRITERS)
def test_weights_beside_the_network_are_named(
    write: Callable[[Path, str], Path], tmp_path: Path
) -> None:
    (tmp_path / "w.bin").write_bytes(b"1")
    assert external_files(write(tmp_path / "net.onnx", "w.bin")) == [tmp_path / "w.bin"]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../w.bin", "a/../../w.bin", "w.bin\0x", "link/w.bin"]
)
def test_weights_outside_the_folder_are_refused(
    write: Callable[[Path, str], Path], location: str, tmp_path: Path
) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(b"1")
    (folder / "link").symlink_to(tmp_path)
    network = write(folder / "net.onnx", location)
    with pytest.raises(ModelError, match="outside its own folder"):
        external_files(network)
    pytest.importorskip("onnxruntime")
    with pytest.raises(ModelError, match="outside its own folder"):
        open_session(network, threads=1)


def test_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    network = write_with_initializer(tmp_path / "net.onnx", "w.bin")
    with pytest.raises(MissingDataError, match=r"keeps weights in .*w\.bin, which is not there"):
        external_files(network)


@pytest.mark.parametrize(
    "content",
    [
        field(7, b"abc")[:-1],  # cut off
        b"\xff" * 20,  # a number without end
        b"\x0f",  # a wire type that does not exist
        field(7, b"\x80"),  # a number that is cut off
    ],
)
def test_what_is_no_protocol_buffer_is_no_network(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(ModelError, match="is not an ONNX network"):
        external_files(tmp_path / "net.onnx")


def test_messages_without_end_are_refused(tmp_path: Path) -> None:
    deep = b""
    for _ in range(40):  # a graph in an attribute of a node of a graph ...
        deep = field(1, field(5, field(6, deep)))
    (tmp_path / "net.onnx").write_bytes(field(7, deep))
    with pytest.raises(ModelError, match="more than 64 levels"):
        external_files(tmp_path / "net.onnx")


def test_a_network_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no network at"):
        external_files(tmp_path / "none.onnx")
