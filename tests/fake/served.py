"""Archives of drawn people behind the web service, and clients of it."""

from dataclasses import replace
from pathlib import Path

from starlette.testclient import TestClient

from fake.embedder import ColourEmbedder
from fake.photos import write_photos
from fdps.search import Index
from fdps.serve.app import create_app
from fdps.serve.archives import Archives
from fdps.serve.settings import ServeSettings

TOKEN = "t" * 43
ADDRESS = "http://127.0.0.1:8899"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
CAMERA_FROM = r"(?P<camera>gate|hall)"


def write_archive(folder: Path, name: str = "event.fdps", *, n_scenes: int = 8) -> Path:
    """An archive of pictures of two cameras, with times, and the pictures beside it."""
    for number, camera in enumerate(("gate", "hall")):
        write_photos(folder / camera, n_scenes // 2, seed=number)
        for place in sorted((folder / camera).glob("0*.png")):
            place.rename(place.with_name(f"20260502_{9 + number:02}{place.stem[1:]}00.png"))
    with Index.create(folder / name, ColourEmbedder(), model="colour") as index:
        for camera in ("gate", "hall"):
            index.add(folder / camera, camera=camera, time_from="name:%Y%m%d_%H%M%S")
    return folder / name


def served(*places: Path, **settings: object) -> TestClient:
    """A client without a token; enter it to start the service, leave it to end it."""
    chosen = replace(ServeSettings(token=TOKEN), **settings)  # type: ignore[arg-type]
    archives = Archives(places, lambda _: ColourEmbedder())
    return TestClient(create_app(chosen, archives), base_url=ADDRESS, follow_redirects=False)
