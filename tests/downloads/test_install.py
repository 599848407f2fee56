"""Bringing a public model from a server that is slow, broken or hostile, and from a folder."""

import errno
import fcntl
import os
import shutil
import tempfile
import threading
import time
from collections import namedtuple
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from fake.file_server import (
    Answer,
    Asked,
    Files,
    broken_off,
    once,
    serve,
    status,
    trickle,
    until,
    well,
    without_ranges,
)
from fake.public_models import CONTENT, list_text
from fdps.downloads import transfer
from fdps.downloads.catalogue import PublicModel, read_catalogue
from fdps.downloads.install import address_of, install, is_installed
from fdps.embedders import find_model
from fdps.embedders.info import list_models
from fdps.errors import DownloadError, MissingDataError, ModelError, ResourceError, UsageError
from fdps.runtime.card import card_hash, read_card

DETECTOR = "/detector.onnx"
WHOLE = {"detector.onnx": CONTENT[DETECTOR], "reid.onnx": CONTENT["/reid.onnx"]}


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path in it."""
    paths = sorted(folder.rglob("*")) if folder.is_dir() else []
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if path.is_file()}


def assert_whole(folder: Path) -> None:
    """The model is here with its card, and nothing else is in the folder of models."""
    found = files_in(folder)
    card = found.pop("small-people/card.toml")
    assert found == {f"small-people/{name}": body for name, body in WHOLE.items()}
    assert b"sha256" in card


def parts(folder: Path) -> dict[str, int]:
    """The pieces that are kept for the next try, and their sizes."""
    return {Path(name).name: len(body) for name, body in files_in(folder).items()}


def part_of(model: PublicModel) -> str:
    return transfer.part_name(model.files[0])


# From a server that behaves.


def test_a_model_comes_whole_and_works_by_its_name(
    model: PublicModel, server: Files, folder: Path
) -> None:
    heard: list[tuple[int, int]] = []
    installed = install(model, progress=lambda *n: heard.append(n))
    assert installed.brought == ("detector.onnx", "reid.onnx")
    assert_whole(folder)
    assert find_model("small-people") == installed.place == folder / "small-people/card.toml"
    assert is_installed(model)
    assert server.asked == [(DETECTOR, None), ("/reid.onnx", None)]
    assert heard[0] == (0, 250_000)
    assert heard[-1] == (250_000, 250_000)
    assert heard == sorted(heard)


def test_the_card_pins_what_was_brought(model: PublicModel, folder: Path) -> None:
    install(model)
    card = read_card(folder / "small-people/card.toml")
    assert card == model.card
    assert (card.licence, card.name) == ("Apache-2.0 AND MIT", "small-people")
    assert card.data == "detector: pictures of detector; re-ID: pictures of reid"
    assert card.data_licence == "detector: unknown; re-ID: CC-BY-4.0"
    row = {info.name: info for info in list_models()}["small-people"]
    assert (row.problem, row.licence, row.data_licence) == ("", card.licence, card.data_licence)
    (folder / "small-people/reid.onnx").write_bytes(bytes(50_000))
    with pytest.raises(ModelError, match=r"reid\.onnx has the SHA-256"):
        card_hash(card, folder / "small-people")


def test_what_is_here_is_not_brought_again(model: PublicModel, server: Files) -> None:
    install(model)
    server.asked.clear()
    assert install(model).brought == ()
    assert server.asked == []


@pytest.mark.parametrize("damage", ["flipped", "shortened", "gone"])
def test_what_is_damaged_is_brought_again_and_nothing_else(
    damage: str, model: PublicModel, server: Files, folder: Path
) -> None:
    install(model)
    (folder / "small-people/calibration.json").write_text("made here")
    network = folder / "small-people/reid.onnx"
    if damage == "gone":
        network.unlink()
    else:
        body = bytearray(network.read_bytes())
        body[100] ^= 1
        network.write_bytes(body[: None if damage == "flipped" else -1])
    server.asked.clear()
    assert install(model).brought == ("reid.onnx",)
    assert server.asked == [("/reid.onnx", None)]
    assert (folder / "small-people/calibration.json").read_text() == "made here"
    (folder / "small-people/calibration.json").unlink()
    assert_whole(folder)


def test_a_mirror_is_asked_instead(
    model: PublicModel, server: Files, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in CONTENT:
        server.content["/kept" + path] = server.content.pop(path)
    monkeypatch.setenv("FDPS_MIRROR", f"{server.address}/kept/")
    install(model)
    assert_whole(folder)
    assert [path for path, _ in server.asked] == ["/kept/detector.onnx", "/kept/reid.onnx"]


@pytest.mark.parametrize("mirror", ["http://localhost", "localhost", "https://", "https://a@b/c"])
def test_a_mirror_that_is_no_address(
    mirror: str, model: PublicModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FDPS_MIRROR", mirror)
    with pytest.raises(UsageError, match="FDPS_MIRROR must be https://HOST/…, got"):
        address_of(model.files[0])


# From one that breaks off.


def test_a_slow_server_is_seen_to_work(model: PublicModel, server: Files, folder: Path) -> None:
    server.answers[DETECTOR] = lambda asked: trickle(asked, pieces=6, pause_s=0.1)
    moments: list[float] = [time.monotonic()]
    install(model, progress=lambda done, total: moments.append(time.monotonic()))
    assert_whole(folder)
    assert max(b - a for a, b in pairwise(moments)) < 0.5


def test_what_was_cut_off_goes_on_where_it_ended(
    model: PublicModel, server: Files, folder: Path
) -> None:
    server.answers[DETECTOR] = once(broken_off(70_000))
    with pytest.raises(DownloadError, match=r"broke off after 70000 of 200000 bytes") as caught:
        install(model)
    assert caught.value.hint == "the same command goes on where it ended"
    assert f"{server.address}{DETECTOR}" in str(caught.value)
    assert parts(folder) == {part_of(model): 70_000}
    assert list_models()[-1].name == "drawn-people"  # it is not seen yet
    server.asked.clear()
    install(model)
    assert server.asked == [(DETECTOR, "bytes=70000-"), ("/reid.onnx", None)]
    assert_whole(folder)


def test_of_two_files_the_first_is_kept(model: PublicModel, server: Files, folder: Path) -> None:
    server.answers["/reid.onnx"] = once(status(503))
    with pytest.raises(DownloadError, match="it answered 503"):
        install(model)
    assert not (folder / "small-people").exists()
    server.asked.clear()
    install(model)
    assert server.asked == [("/reid.onnx", None)]
    assert_whole(folder)


def test_a_server_that_says_nothing_is_left(
    model: PublicModel, server: Files, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "TIMEOUT_S", 0.2)
    gate = threading.Event()
    server.answers[DETECTOR] = once(until(gate, 30_000))
    try:
        with pytest.raises(DownloadError, match="timed out"):
            install(model)
    finally:
        gate.set()
    assert parts(folder) == {part_of(model): 30_000}
    monkeypatch.undo()


def interrupting(n: int) -> Callable[[int, int], None]:
    """Presses Ctrl-C when so many bytes are there."""

    def progress(done: int, total: int) -> None:
        if done >= n:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("n", [0, 1, 100_000, 200_000, 210_000, 250_000])
def test_an_interrupted_download_goes_on_or_never_was(
    n: int, model: PublicModel, server: Files, folder: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        install(model, progress=interrupting(n))
    assert not (folder / "small-people").exists()
    assert all(
        WHOLE[name.split(".onnx")[0] + ".onnx"].startswith(body)
        for name, body in ((Path(path).name, body) for path, body in files_in(folder).items())
    )
    if n == 0:
        assert files_in(folder) == {}
        assert list(folder.iterdir()) == []
    install(model)
    assert_whole(folder)


# From one that goes on in the wrong place.


def begun(model: PublicModel, folder: Path, content: bytes = CONTENT[DETECTOR][:70_000]) -> Path:
    """A download that was cut off."""
    aside = folder / ".small-people.part"
    aside.mkdir(parents=True)
    part = aside / part_of(model)
    part.write_bytes(content)
    return part


def with_range(text: str | None, code: int = 206) -> Answer:
    """Answers a request for a range so, and any other well."""

    def answer(asked: Asked) -> None:
        if not asked.start:
            return well(asked)
        rest = asked.content[asked.start :]
        ranges = {} if text is None else {"Content_Range": text}
        asked.head(code, Content_Length=len(rest), **ranges)
        asked.wfile.write(rest)
        return None

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        with_range("bytes 0-199999/200000"),  # from another byte
        with_range("bytes 70000-199999/200001"),  # of a longer file
        with_range("bytes 70000-199998/200000"),  # not to the end
        with_range("bytes 70000-199999/*"),  # of nobody knows what
        with_range("nonsense"),
        with_range(None),
        status(416),
        status(204),
    ],
)
def test_a_range_that_was_not_asked_for_is_not_taken(
    answer: Answer, model: PublicModel, server: Files, folder: Path
) -> None:
    begun(model, folder)
    server.answers[DETECTOR] = lambda asked: (answer if asked.start else well)(asked)
    install(model)
    assert server.asked[:2] == [(DETECTOR, "bytes=70000-"), (DETECTOR, None)]
    assert_whole(folder)


def test_a_server_without_ranges_sends_everything(
    model: PublicModel, server: Files, folder: Path
) -> None:
    begun(model, folder)
    server.answers[DETECTOR] = without_ranges
    install(model)
    assert server.asked == [(DETECTOR, "bytes=70000-"), ("/reid.onnx", None)]
    assert_whole(folder)


@pytest.mark.parametrize(
    "content",
    [
        bytes(70_000),  # the disk has lost the beginning
        CONTENT[DETECTOR][:-1] + b"?",  # as long as the file, and not it
        CONTENT[DETECTOR] + b"?",  # longer
    ],
)
def test_a_damaged_beginning_is_given_up(
    content: bytes, model: PublicModel, server: Files, folder: Path
) -> None:
    begun(model, folder, content)
    install(model)
    assert server.asked[-2:] == [(DETECTOR, None), ("/reid.onnx", None)]
    assert_whole(folder)


def test_a_part_with_all_bytes_asks_nobody(model: PublicModel, server: Files, folder: Path) -> None:
    begun(model, folder, CONTENT[DETECTOR])
    install(model)
    assert server.asked == [("/reid.onnx", None)]
    assert_whole(folder)


def test_a_list_with_another_hash_begins_again(
    model: PublicModel, server: Files, folder: Path, list_file: Path
) -> None:
    begun(model, folder)
    server.content[DETECTOR] = bytes(120_000)
    list_file.write_text(list_text(server.address, server.content))
    changed = read_catalogue(list_file)["small-people"]
    install(changed)
    assert server.asked[0] == (DETECTOR, None)
    assert sorted(files_in(folder)) == [
        f"small-people/{name}" for name in ("card.toml", "detector.onnx", "reid.onnx")
    ]
    # The model of the older list is another one now.
    with pytest.raises(UsageError, match="is there already, and is not small-people as the list"):
        install(model)


# From one that sends something else.


def longer(asked: Asked) -> None:
    """Does not say how much it sends, and sends too much."""
    asked.head(200, Connection="close")
    asked.wfile.write(asked.content + b"!")


def endless(asked: Asked) -> None:
    asked.head(200, Connection="close")
    while True:
        asked.wfile.write(bytes(1 << 16))


def zipped(asked: Asked) -> None:
    asked.head(200, Content_Length=len(asked.content), Content_Encoding="gzip")
    asked.wfile.write(b"\x1f\x8b" + asked.content[2:])


def other(asked: Asked) -> None:
    asked.whole(bytes(len(asked.content)))


def one_bit(asked: Asked) -> None:
    asked.whole(asked.content[:-1] + bytes([asked.content[-1] ^ 1]))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (other, "has the SHA-256 .*, not "),
        (one_bit, "has the SHA-256 .*, not "),
        (zipped, "has the SHA-256 .*, not "),
        (longer, "is longer than 200000 bytes"),
        (endless, "is longer than 200000 bytes"),
        (lambda asked: asked.whole(asked.content[:-1]), "has 199999 bytes on the server"),
        (lambda asked: asked.whole(b"<html>Log in</html>"), "has 19 bytes on the server"),
        (lambda asked: asked.whole(b""), "has 0 bytes on the server"),
        (lambda asked: asked.head(200, Content_Length="many"), "has many bytes on the server"),
    ],
)
def test_another_file_is_refused_and_nothing_of_it_is_kept(
    answer: Answer, message: str, model: PublicModel, server: Files, folder: Path
) -> None:
    server.answers[DETECTOR] = answer
    with pytest.raises(ModelError, match=message) as caught:
        install(model)
    assert "nothing of it was kept" in caught.value.hint
    assert list(folder.iterdir()) == []
    del server.answers[DETECTOR]
    install(model)
    assert_whole(folder)


def raw(content: bytes) -> Answer:
    """Sends something that need not be HTTP."""
    return lambda asked: asked.wfile.write(content)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (status(404), "it answered 404: Not Found"),
        (status(403), "it answered 403"),
        (status(500), "it answered 500"),
        (status(204), "it answered 204 to a request for the whole file"),
        (status(206), "it answered 206 to a request for the whole file"),
        (status(416), "it answered 416 to a request for the whole file"),
        (raw(b"SSH-2.0-OpenSSH_9.6\r\n"), "SSH-2.0"),
        (raw(b""), "closed connection"),
        (raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000), "header line"),
        (raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"\r\n"), "headers"),
        (
            raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
            "IncompleteRead|invalid literal",
        ),
    ],
)
def test_a_server_that_does_not_answer_well_is_told(
    answer: Answer, message: str, model: PublicModel, server: Files, folder: Path
) -> None:
    server.answers[DETECTOR] = answer
    with pytest.raises(DownloadError, match=message) as caught:
        install(model)
    assert str(caught.value).startswith(f"{server.address}{DETECTOR}: ")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "place",
    [
        "https://other.invalid/detector.onnx",
        "https://127.0.0.1:{port}/detector.onnx",  # another name is another host
        "http://localhost:{port}/detector.onnx",  # not encrypted
        "//other.invalid/detector.onnx",
        "https://localhost:1/detector.onnx",
        "ftp://localhost/detector.onnx",
        "file:///etc/passwd",
    ],
)
def test_a_server_that_sends_elsewhere_is_not_followed(
    place: str, model: PublicModel, server: Files, folder: Path
) -> None:
    port = server.address.rpartition(":")[2]
    server.answers[DETECTOR] = status(302, Location=place.format(port=port))
    with pytest.raises(DownloadError, match=r"it sends to another host: |no web address") as caught:
        install(model)
    assert caught.value.hint
    assert server.asked == [(DETECTOR, None)]
    assert list(folder.iterdir()) == []


def test_another_host_is_not_asked_even_if_it_has_the_file(
    model: PublicModel, server: Files, certificate: tuple[Path, Path]
) -> None:
    with serve(dict(CONTENT), certificate) as stranger:
        server.answers[DETECTOR] = status(307, Location=f"{stranger.address}{DETECTOR}")
        with pytest.raises(DownloadError, match="it sends to another host"):
            install(model)
        assert stranger.asked == []


def test_a_server_may_send_to_another_place_of_its_own(
    model: PublicModel, server: Files, folder: Path
) -> None:
    server.content["/moved"] = server.content.pop(DETECTOR)
    server.answers[DETECTOR] = status(301, Location="/moved")
    server.answers["/moved"] = once(broken_off(9))
    with pytest.raises(DownloadError, match="broke off"):
        install(model)
    install(model)
    assert server.asked[-2:] == [("/moved", "bytes=9-"), ("/reid.onnx", None)]
    assert_whole(folder)


def test_a_circle_of_addresses_ends(model: PublicModel, server: Files, folder: Path) -> None:
    server.answers[DETECTOR] = status(302, Location="/there")
    server.answers["/there"] = status(302, Location=DETECTOR)
    with pytest.raises(DownloadError, match="on and on in a circle"):
        install(model)
    assert len(server.asked) < 30
    assert list(folder.iterdir()) == []


def test_a_server_that_nobody_vouches_for_is_not_asked(
    model: PublicModel, server: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(DownloadError, match="certificate verify failed"):
        install(model)
    assert server.asked == []


def test_a_certificate_of_another_name_is_refused(
    model: PublicModel, server: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = server.address.rpartition(":")[2]
    monkeypatch.setenv("FDPS_MIRROR", f"https://127.0.0.1:{port}")
    with pytest.raises(DownloadError, match="certificate verify failed"):
        install(model)
    assert server.asked == []


def test_nobody_at_the_address(model: PublicModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FDPS_MIRROR", "https://localhost:1/none")
    with pytest.raises(DownloadError, match=r"localhost:1/none/detector\.onnx: .*refused"):
        install(model)


# Licences.


@pytest.mark.parametrize(
    ("allowed", "terms", "is_allowed"),
    [
        ("Apache-2.0,MIT", ("unknown", "unknown"), True),
        ("mit, apache-2.0", ("unknown", "CC-BY-4.0"), True),
        ("Apache-2.0", ("unknown", "unknown"), False),  # the other part is under MIT
        ("Apache-2.0,MIT", ("unknown", "research-only"), False),
        ("research-only", ("unknown", "research-only"), True),
        ("", ("unknown", "unknown"), False),
    ],
)
def test_licences_that_are_not_allowed_are_not_brought(
    allowed: str,
    terms: tuple[str, str],
    is_allowed: bool,
    server: Files,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "l.toml").write_text(list_text(server.address, terms=terms))
    model = read_catalogue(tmp_path / "l.toml")["small-people"]
    monkeypatch.setenv("FDPS_ALLOWED_LICENSES", allowed)
    if is_allowed:
        install(model)
        assert_whole(folder)
        return
    with pytest.raises(ModelError, match=r"small-people: licence .* is not allowed here"):
        install(model)
    assert server.asked == []
    assert not folder.exists()


# From files that were carried here.


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    """The files on a stick."""
    stick = tmp_path / "stick"
    stick.mkdir()
    for name, body in WHOLE.items():
        (stick / name).write_bytes(body)
    return stick


def test_a_folder_of_files_is_taken(
    stick: Path, model: PublicModel, server: Files, folder: Path
) -> None:
    (stick / "other.txt").touch()
    assert install(model, carried=[stick]).brought == ("detector.onnx", "reid.onnx")
    assert_whole(folder)
    assert server.asked == []


def test_single_files_are_known_by_their_hash(
    stick: Path, model: PublicModel, server: Files, folder: Path
) -> None:
    renamed = [stick / "download (1)", stick / "b.bin"]
    for path, name in zip(renamed, WHOLE, strict=True):
        (stick / name).rename(path)
    install(model, carried=renamed[::-1])
    assert_whole(folder)
    assert server.asked == []


def test_only_what_is_missing_has_to_be_carried(
    stick: Path, model: PublicModel, folder: Path
) -> None:
    install(model, carried=[stick])
    (folder / "small-people/reid.onnx").unlink()
    assert install(model, carried=[stick / "reid.onnx"]).brought == ("reid.onnx",)
    assert_whole(folder)


@pytest.mark.parametrize("content", [bytes(50_000), b"", WHOLE["reid.onnx"] + b"!", b"<html>"])
def test_a_carried_folder_with_another_file_is_refused(
    content: bytes, stick: Path, model: PublicModel, server: Files, folder: Path
) -> None:
    (stick / "reid.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"reid\.onnx (has|is longer)"):
        install(model, carried=[stick])
    assert not (folder / "small-people").exists()
    assert server.asked == []
    # The detector was whole, and need not come again.
    assert list(parts(folder)) == ["detector.onnx"]
    (stick / "reid.onnx").write_bytes(WHOLE["reid.onnx"])
    (stick / "detector.onnx").unlink()
    install(model, carried=[stick])
    assert_whole(folder)


def test_a_carried_file_of_something_else_is_refused(
    stick: Path, model: PublicModel, folder: Path
) -> None:
    (stick / "x.onnx").write_bytes(bytes(50_000))
    with pytest.raises(ModelError, match=r"x\.onnx is no file of small-people") as caught:
        install(model, carried=[stick / "x.onnx"])
    assert "detector.onnx, reid.onnx" in caught.value.hint
    assert list(folder.iterdir()) == []


def test_a_file_that_was_not_carried_is_named_with_its_address(
    stick: Path, model: PublicModel, server: Files, folder: Path
) -> None:
    (stick / "reid.onnx").unlink()
    with pytest.raises(
        MissingDataError, match=r"reid\.onnx \(50000 bytes\) is not among"
    ) as caught:
        install(model, carried=[stick])
    assert f"{server.address}/reid.onnx" in caught.value.hint
    with pytest.raises(MissingDataError, match="no file or folder at"):
        install(model, carried=[stick / "none"])
    with pytest.raises(MissingDataError, match="detector"):
        install(model, carried=[folder.parent])
    assert list(folder.iterdir()) == []
    assert server.asked == []


# A disk that is full, a folder that is closed, a name that is taken.


def test_a_full_disk_keeps_nothing(
    model: PublicModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, n_writes = os.write, 0

    def full(handle: int, content: bytes) -> int:
        nonlocal n_writes
        n_writes += 1
        if n_writes > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, content[:1000])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left") as caught:
        install(model)
    assert str(folder) in str(caught.value.filename)
    assert list(folder.iterdir()) == []


def test_a_disk_with_too_little_room_is_not_begun(
    model: PublicModel, server: Files, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 1 << 20))
    with pytest.raises(ResourceError, match="has 1 MiB left, and 2 MiB are needed"):
        install(model)
    assert server.asked == []
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_written(
    model: PublicModel, server: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as parent:  # others may look into it
        Path(parent).chmod(0o755)
        monkeypatch.setenv("FDPS_MODELS", f"{parent}/models")
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(65534)
        else:
            Path(parent).chmod(0o555)
        try:
            with pytest.raises(PermissionError) as caught:
                install(model)
        finally:
            if is_root:
                os.seteuid(0)
            Path(parent).chmod(0o755)
        assert str(caught.value.filename).startswith(parent)
        assert list(Path(parent).iterdir()) == []
    assert server.asked == []


def test_a_file_where_the_folder_should_be(model: PublicModel, server: Files, folder: Path) -> None:
    folder.write_text("a file")
    with pytest.raises(OSError, match=r"\.small-people\.part"):
        install(model)
    assert folder.read_text() == "a file"
    assert server.asked == []


@pytest.mark.parametrize("taken", ["small-people/card.toml", "small-people.safetensors"])
def test_a_model_of_the_same_name_is_not_replaced_unasked(
    taken: str, model: PublicModel, server: Files, folder: Path
) -> None:
    (folder / "small-people").mkdir(parents=True)
    (folder / taken).write_text("mine")
    with pytest.raises(UsageError, match="is there already") as caught:
        install(model)
    assert "--force" in caught.value.hint
    assert files_in(folder) == {taken: b"mine"}
    assert server.asked == []
    install(model, force=True)
    assert find_model("small-people") == folder / "small-people/card.toml"
    assert read_card(folder / "small-people/card.toml") == model.card


def test_two_downloads_at_once(model: PublicModel, server: Files, folder: Path) -> None:
    gate, is_begun = threading.Event(), threading.Event()
    server.answers[DETECTOR] = once(until(gate, 10_000))
    raised: list[BaseException] = []

    def first() -> None:
        try:
            install(model, progress=lambda done, total: is_begun.set() if done else None)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=first)
    thread.start()
    try:
        assert is_begun.wait(10)
        with pytest.raises(ResourceError, match="another process is bringing small-people"):
            install(model)
    finally:
        gate.set()
        thread.join()
    assert raised == []
    assert_whole(folder)
    assert install(model).brought == ()


def test_many_downloads_at_once_leave_one_whole_model(model: PublicModel, folder: Path) -> None:
    def one() -> None:
        while not is_installed(model):
            try:
                install(model)
            except ResourceError:
                time.sleep(0.005)

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_whole(folder)


def test_a_folder_that_another_process_gave_its_name_is_let_go(
    model: PublicModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening the folder aside and locking it, the other process has ended."""
    lock, is_first = fcntl.flock, True

    def late(handle: int, kind: int) -> None:
        nonlocal is_first
        if is_first:
            (folder / ".small-people.part").rename(folder / "gone")
            is_first = False
        lock(handle, kind)

    monkeypatch.setattr(fcntl, "flock", late)
    install(model)
    assert list((folder / "gone").iterdir()) == []
    (folder / "gone").rmdir()
    assert_whole(folder)


def test_what_lies_about_in_the_folder_aside_is_removed(model: PublicModel, folder: Path) -> None:
    part = begun(model, folder)
    part.with_name("card.toml").write_text("kind = 'two_step'")
    part.with_name("old.onnx.12345678.part").write_bytes(b"x")
    install(model)
    assert_whole(folder)


class Killed(BaseException):
    """The process is gone: nothing that it would clean up happens."""


class Machine:
    """Kills the process at a call to the operating system, and at every later one.

    Args:
        patch: Puts the real calls back.
        at: The call that is never made, from 0.
    """

    def __init__(self, patch: pytest.MonkeyPatch, at: int) -> None:
        self.n, self.at = 0, at
        for name in ("write", "fsync", "replace", "rename", "mkdir", "unlink", "rmdir"):
            patch.setattr(os, name, self.counted(getattr(os, name)))

    def counted(self, call: Callable[..., object]) -> Callable[..., object]:
        def counting(*arguments: object, **options: object) -> object:
            self.n += 1
            if self.n > self.at:
                raise Killed
            return call(*arguments, **options)

        return counting


@pytest.mark.parametrize("is_damaged", [False, True])
def test_killed_at_any_moment_nothing_is_half_there(
    is_damaged: bool, stick: Path, model: PublicModel, folder: Path
) -> None:
    for at in range(1000):
        shutil.rmtree(folder, ignore_errors=True)
        if is_damaged:
            install(model, carried=[stick])
            (folder / "small-people/reid.onnx").write_bytes(b"damaged")
        with pytest.MonkeyPatch.context() as patch:
            Machine(patch, at)
            try:
                install(model, carried=[stick])
            except Killed:
                is_done = False
            else:
                is_done = True
        for path in (folder / "small-people").glob("*.onnx"):
            assert path.read_bytes() in (WHOLE[path.name], b"damaged")
        if not is_damaged and (folder / "small-people").exists():
            assert_whole(folder)
        install(model, carried=[stick])
        assert_whole(folder)
        if is_done:
            break
    assert is_done
    assert at > 8
