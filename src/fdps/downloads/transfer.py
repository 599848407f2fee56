"""Bring one public file here, from a server or from where somebody has carried it.

What comes is hashed while it is written, into a ``.part`` beside its place. It gets its name when
all of its bytes are there and have the hash of the list; nobody sees it before. What has another
hash or length is removed. What was cut off stays, and the next try goes on behind it.

This is the one module of fdps that asks a server for a file (``tests/test_no_network.py``). It
speaks ``https`` with certificates checked, to the host of the address and to no other, and sends
nothing but the request.
"""

import hashlib
import http.client
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from fdps.downloads.catalogue import PublicFile
from fdps.durable import named, sync_folder
from fdps.errors import DownloadError, ModelError

PART = ".part"
TIMEOUT_S = 30.0
"""How long a server may say nothing."""
_CHUNK = 1 << 16
_PARTIAL = 206  # the answer to a request that names a range of bytes
_BAD_RANGE = 416
_BY_HAND = "fdps does not follow; fetch the file by hand, and give it with --from"

Told = Callable[[int], None]
"""Is called with the number of bytes that are there."""


def fetch(file: PublicFile, address: str, place: Path, *, told: Told) -> None:
    """Fetch a file from a server, or the rest of it if an earlier try was cut off.

    Args:
        file: What the file has to be.
        address: Where it is asked for.
        place: Where it will be; its folder is there.
        told: Hears of every few bytes, at first of those that are there already.

    Raises:
        DownloadError: The server cannot be reached, has no such file, breaks off or sends
            elsewhere. What came is kept for the next try.
        ModelError: The file has another size or hash; nothing of it is kept.
        OSError: The disk is full or read-only; nothing is kept.
    """
    with _part_of(file, place, keeps=True) as part:
        told(part.n)
        is_begun = part.n > 0
        try:
            _fetch_rest(part, address, told)
            if is_begun and not part.is_whole:  # the beginning was damaged: try without it
                part.clear()
                _fetch_rest(part, address, told)
        except DownloadError as error:
            raise DownloadError(f"{address}: {error}", hint=error.hint) from error
        part.finish()


def copy(source: Path, file: PublicFile, place: Path, *, told: Told) -> None:
    """Copy a file that was carried here by hand, with the checks of one that is fetched.

    Raises:
        ModelError: The file has another size or hash; nothing of it is kept.
        OSError: It cannot be read, or the disk is full or read-only; nothing is kept.
    """
    with _part_of(file, place, keeps=False) as part, source.open("rb") as content:
        part.clear()
        while chunk := _read_from(content, source):
            part.write(chunk)
            told(part.n)
        part.finish()


def part_name(file: PublicFile) -> str:
    """Return the name of the beginning of a file; that of another version has another."""
    return f"{file.name}.{file.sha256[:8]}{PART}"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


class _Part:
    """The beginning of a file, beside its place, and the hash of what is there.

    Attributes:
        n: Number of its bytes.
    """

    def __init__(self, file: PublicFile, place: Path) -> None:
        self.file, self._place = file, place
        self.path = place.with_name(part_name(file))
        with named(self.path):
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        self._digest, self.n = hashlib.sha256(), 0
        while chunk := os.read(self._handle, _CHUNK):
            self._digest.update(chunk)
            self.n += len(chunk)
        if self.n > file.size:
            self.clear()

    @property
    def is_whole(self) -> bool:
        """Whether it is the file of the list."""
        return self.n == self.file.size and self._digest.hexdigest() == self.file.sha256

    def clear(self) -> None:
        """Begin again with nothing."""
        os.ftruncate(self._handle, 0)
        os.lseek(self._handle, 0, os.SEEK_SET)
        self._digest, self.n = hashlib.sha256(), 0

    def write(self, chunk: bytes) -> None:
        """Add what follows.

        Raises:
            ModelError: It would be longer than the file is.
        """
        if self.n + len(chunk) > self.file.size:
            raise _refusal(self.file, f"is longer than {self.file.size} bytes")
        self._digest.update(chunk)
        self.n += len(chunk)
        rest = memoryview(chunk)
        with named(self.path):
            while rest:
                rest = rest[os.write(self._handle, rest) :]  # a disk may take less than it is given

    def finish(self) -> None:
        """Give the file its name.

        Raises:
            ModelError: It is not the file of the list.
        """
        if self.n < self.file.size:
            raise _refusal(self.file, f"has {self.n} bytes, not {self.file.size}")
        if not self.is_whole:
            found = self._digest.hexdigest()
            raise _refusal(self.file, f"has the SHA-256 {found}, not {self.file.sha256}")
        with named(self._place):
            os.fsync(self._handle)
            self.path.replace(self._place)
            sync_folder(self._place.parent)

    def close(self) -> None:
        """Leave it as it is."""
        os.close(self._handle)


@contextmanager
def _part_of(file: PublicFile, place: Path, *, keeps: bool) -> Iterator[_Part]:
    """Open the beginning of a file; at the end it is whole, or gone, or kept to go on.

    Args:
        file: What the file has to be.
        place: Where it will be.
        keeps: Whether the beginning is kept where the other side broke off, or the user.
    """
    part = _Part(file, place)
    try:
        yield part
    except BaseException as error:
        # Bytes of another file are worth nothing, and a full disk wants its room back.
        is_kept = keeps and part.n and not isinstance(error, (ModelError, OSError))
        if not is_kept:
            part.path.unlink(missing_ok=True)
        raise
    finally:
        part.close()


def _fetch_rest(part: _Part, address: str, told: Told) -> None:
    """Ask for what is missing; if the server does not go on where it should, for everything."""
    if part.n == part.file.size:
        return
    if part.n:
        with _answer(address, start=part.n) as answer:
            if answer is not None and _goes_on(answer, part):
                _pour(answer, part, told)
                return
    part.clear()
    with _answer(address, start=0) as answer:
        if answer is None or answer.status != http.client.OK:
            status = _BAD_RANGE if answer is None else answer.status
            raise DownloadError(f"it answered {status} to a request for the whole file")
        _check_length(answer, part.file)
        _pour(answer, part, told)


def _goes_on(answer: http.client.HTTPResponse, part: _Part) -> bool:
    """Tell whether what the server sends follows on what is there; it may also send everything."""
    if answer.status == http.client.OK:  # the server knows no ranges
        _check_length(answer, part.file)
        part.clear()
        return True
    expected = f"bytes {part.n}-{part.file.size - 1}/{part.file.size}"
    return answer.status == _PARTIAL and answer.headers.get("Content-Range") == expected


def _check_length(answer: http.client.HTTPResponse, file: PublicFile) -> None:
    told = answer.headers.get("Content-Length", str(file.size))
    if told != str(file.size):
        raise _refusal(file, f"has {told} bytes on the server, not {file.size}")


def _pour(answer: http.client.HTTPResponse, part: _Part, told: Told) -> None:
    while chunk := _read(answer):
        part.write(chunk)
        told(part.n)
    if part.n < part.file.size:
        raise DownloadError(
            f"the server broke off after {part.n} of {part.file.size} bytes of {part.file.name}",
            hint="the same command goes on where it ended",
        )


def _read_from(content: BufferedReader, source: Path) -> bytes:
    with named(source):
        return content.read(_CHUNK)


def _read(answer: http.client.HTTPResponse) -> bytes:
    """Read what has come; only this way a slow server is seen to work."""
    try:
        return answer.read1(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _broken(error) from error


@contextmanager
def _answer(address: str, *, start: int) -> Iterator[http.client.HTTPResponse | None]:
    """Ask for a file from a byte on; ``None`` if the server says that it has none from there."""
    request = Request(address, headers={"User-Agent": "fdps", "Accept-Encoding": "identity"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    opener = build_opener(_SameHost(), HTTPSHandler(context=ssl.create_default_context()))
    try:
        answer = opener.open(request, timeout=TIMEOUT_S)
    except HTTPError as error:
        with error:
            if 300 <= error.code < 400:
                told = "it sends on and on in a circle, or to no web address"
                raise DownloadError(told, hint=_BY_HAND) from error
            if error.code != _BAD_RANGE:
                raise DownloadError(f"it answered {error.code}: {error.reason}") from error
        yield None
        return
    except (OSError, http.client.HTTPException) as error:
        raise _broken(error) from error
    with answer:
        yield answer


class _SameHost(HTTPRedirectHandler):
    """Goes where a server sends, but never to another host, port or protocol."""

    def redirect_request(
        self,
        req: Request,
        fp: Any,
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> Request | None:
        """Return the request for the new address."""
        if _host(newurl) != _host(req.full_url):
            fp.close()
            raise DownloadError(f"it sends to another host: {newurl}", hint=_BY_HAND)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _host(address: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(address)
    return parts.scheme, parts.hostname, parts.port


def _broken(error: Exception) -> DownloadError:
    reason = error.reason if isinstance(error, URLError) else error
    return DownloadError(
        f"{reason or type(error).__name__}",
        hint="look at the connection, and run the command again: it goes on where it ended",
    )


def _refusal(file: PublicFile, fault: str) -> ModelError:
    return ModelError(
        f"{file.name} {fault}", hint="this is not the file of the list; nothing of it was kept"
    )
