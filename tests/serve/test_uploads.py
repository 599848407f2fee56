"""Pictures that clients bring: too large, none at all, hostile, too many, too slow."""

import io
import threading
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from fake.embedder import ColourEmbedder
from fake.served import ADDRESS, BEARER, TOKEN, served
from fdps.serve.app import create_app
from fdps.serve.archives import Archives
from fdps.serve.looking.queries import Queries
from fdps.serve.problems import ProblemError
from fdps.serve.settings import Limits, ServeSettings
from fdps.structures import Detections, Picture

URL = "/api/v1/queries"
SMALL = Limits(upload_bytes=200_000, pixels=100_000, looks=2)


@pytest.fixture(scope="module")
def small(photos_archive: Path) -> Iterator[TestClient]:
    with served(photos_archive, limits=SMALL) as client:
        client.headers.update(BEARER)
        yield client


def png(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (90, 90, 90)).save(stream, "PNG")
    return stream.getvalue()


def png_that_lies(width: int, height: int) -> bytes:
    """A header of that size, and hardly any pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return len(data).to_bytes(4, "big") + checked + zlib.crc32(checked).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", b"\0" * 1_000_000)
    return stream.getvalue()


def animation() -> bytes:
    stream = io.BytesIO()
    frames = [Image.new("RGB", (40, 40), (n, n, n)) for n in range(9)]
    frames[0].save(stream, "WEBP", save_all=True, append_images=frames[1:])
    return stream.getvalue()


REFUSED = {
    "nothing": b"",
    "text": b"this is a text",
    "html": b"<html><script>alert(1)</script></html>",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
    "zip": zipped(),
    "pdf": b"%PDF-1.7\n%\xff\xff",
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(/etc/passwd) (r) file",
    "truncated": png(200, 200)[:90],
    "too many pixels": png(400, 300),
    "a million pixels a side": png_that_lies(1_000_000, 1_000_000),
    "more than two billion": png_that_lies(2**31 - 1, 2**31 - 1),
    "several pictures": animation(),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_is_refused_in_words(small: TestClient, name: str) -> None:
    answer = small.post(URL, files={"picture": (f"{name}.png", REFUSED[name])})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert "/proc/" not in answer.text
    assert "the picture" in answer.json()["detail"]
    assert small.post(URL, files={"picture": png(40, 40)}).status_code == 201


def test_a_picture_with_a_zip_behind_it_is_a_picture_and_nothing_more(small: TestClient) -> None:
    query = small.post(URL, files={"picture": png(60, 40) + zipped()}).json()
    shown = small.get(query["picture"]).content
    assert b"PK\x03\x04" not in shown
    assert b"bomb" not in shown


def test_more_bytes_than_allowed_are_not_read(small: TestClient) -> None:
    answer = small.post(URL, files={"picture": b"\0" * (SMALL.upload_bytes + 70_000)})
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "multipart/form-data"),
        (b"", "multipart/form-data; boundary=x"),
        (b"--x\r\n\r\n", "multipart/form-data; boundary=x"),
        (
            b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--",
            "multipart/form-data; boundary=x",
        ),
        (b"{}", "application/json"),
        (b"picture=a", "application/x-www-form-urlencoded"),
        (b"\xff" * 500, "multipart/form-data; boundary=" + "y" * 300),
    ],
)
def test_forms_that_are_none_are_refused(small: TestClient, content: bytes, kind: str) -> None:
    answer = small.post(URL, content=content, headers={"Content-Type": kind})
    assert answer.status_code in (415, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_thousand_parts_are_refused(small: TestClient) -> None:
    files = [("picture", (f"{n}.png", b"x")) for n in range(1000)]
    assert small.post(URL, files=files).status_code == 422
    fields = {f"field{n}": "x" for n in range(1000)}
    assert small.post(URL, data=fields, files={"picture": b"x"}).status_code == 422
    assert small.post(URL, data={"archive": "x" * 5000}, files={"picture": b"x"}).status_code == 422


class SlowEmbedder(ColourEmbedder):
    """Looks as long as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.may_end, self.has_begun = threading.Event(), threading.Event()

    def detect(self, image: Picture) -> Detections:
        self.has_begun.set()
        assert self.may_end.wait(30)
        return super().detect(image)


def test_pictures_that_cannot_be_taken_are_refused_and_others_are_answered(
    photos_archive: Path,
) -> None:
    slow = SlowEmbedder()
    app = create_app(
        ServeSettings(token=TOKEN, limits=SMALL), Archives([photos_archive], lambda _: slow)
    )
    codes: list[int] = []
    with TestClient(app, base_url=ADDRESS, headers=BEARER) as client:

        def bring() -> None:
            codes.append(client.post(URL, files={"picture": png(40, 40)}).status_code)

        threads = [threading.Thread(target=bring) for _ in range(SMALL.looks)]
        for thread in threads:
            thread.start()
        assert slow.has_begun.wait(30)
        while app.state.uploads.pool.n_tasks < SMALL.looks:
            pass
        answer = client.post(URL, files={"picture": png(40, 40)})
        assert (answer.status_code, answer.json()["code"]) == (429, "busy")
        assert client.get("/healthz").status_code == 200
        assert client.get("/api/v1/people/1").status_code == 200
        slow.may_end.set()
        for thread in threads:
            thread.join()
        assert codes == [201] * SMALL.looks
        assert client.post(URL, files={"picture": png(40, 40)}).status_code == 201


def test_query_pictures_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    limits = Limits(queries=3, query_bytes=1000, query_s=60.0)
    queries = Queries(limits, lambda: clock[0])

    def keep(n_bytes: int) -> str:
        return queries.keep(
            owner="anna",
            archive="a",
            content=b"\0" * n_bytes,
            preview=b"",
            size=(1, 1),
            people=[],
        ).key

    first, *others = (keep(100) for _ in range(4))
    with pytest.raises(ProblemError):  # there were too many
        queries.get(first, "anna")
    assert [queries.get(key, "anna").key for key in others] == others
    with pytest.raises(ProblemError):  # it is somebody else's
        queries.get(others[0], "bert")
    keep(950)
    assert len(queries) == 1  # they were too large
    clock[0] = 61
    queries.forget_old()
    assert len(queries) == 0
    assert queries.n_bytes == 0


@pytest.mark.long
def test_a_crop_shows_the_person_and_an_original_that_changed_is_not_shown(tmp_path: Path) -> None:
    from fake.served import write_archive

    archive = write_archive(tmp_path)
    with served(archive) as client:
        client.headers.update(BEARER)
        person = client.get("/api/v1/people/1").json()
        with Image.open(io.BytesIO(client.get(person["crop"]).content)) as shown:
            middle = np.asarray(shown.convert("RGB"))[100:156, 54:74].reshape(-1, 3).mean(axis=0)
        assert np.ptp(middle) > 60  # clothes are saturated, the background is grey
        for path in (archive.parent / "gate").iterdir():
            path.write_bytes(png(160, 120))
        answer = client.get(person["picture"])
        assert (answer.status_code, answer.json()["code"]) == (404, "no_picture")
        for path in (archive.parent / "hall").iterdir():
            path.unlink()
        scene = client.get("/api/v1/scenes", params={"camera": "hall"}).json()["scenes"][0]
        answer = client.get(f"/api/v1/scenes/{scene['key']}/picture")
        assert answer.json()["code"] == "no_picture"
        assert str(tmp_path) not in answer.text
