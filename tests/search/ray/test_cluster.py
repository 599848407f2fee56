"""A real Ray on this machine: many processes look, one writes, the archive is the same."""

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fake.embedder import ColourEmbedder
from fake.network import write_network
from fake.photos import unit_rows, write_photos
from fake.videos import people_frames, write_video
from fdps.cli.main import main
from fdps.errors import ArchiveError, ResourceError
from fdps.search import Index, IngestSummary, RayCluster
from fdps.search.ray.session import LOCAL, connected

pytestmark = [
    pytest.mark.skipif(not find_spec("ray"), reason="ray is not installed"),
    pytest.mark.slow,  # Ray takes 5 to 30 seconds to start
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*"),
]
TESTS = Path(__file__).resolve().parents[2]
CLUSTER = RayCluster(LOCAL, ColourEmbedder)


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[None]:
    """One Ray for all tests; its processes find the embedder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        with connected(LOCAL):
            yield


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, one of them torn and one twice, and two videos, one of them torn."""
    folder = tmp_path_factory.mktemp("sources") / "in"
    write_photos(folder, 20)
    (folder / "005.png").write_bytes((folder / "005.png").read_bytes()[:900])
    shutil.copy(folder / "003.png", folder / "copy.png")
    write_video(folder / "clip.mp4", people_frames(60))
    whole = write_video(
        folder / "torn.mp4", people_frames(40, seed=1), options={"movflags": "+faststart"}
    )
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (folder / "notes.txt").touch()
    return folder


def contents(index: Index) -> list[tuple[object, ...]]:
    (hits,) = index.store.search(unit_rows(np.random.default_rng(0), 1), top=10_000)
    return [
        (h.scene, h.box.tolist(), h.similarity, h.score, h.item, index.scene(h.scene)) for h in hits
    ]


def skipped_file(folder: Path) -> dict[str, str]:
    with (folder / "skipped.csv").open(newline="", encoding="utf-8") as file:
        return {Path(row["file"]).name: row["reason"] for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def clean(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The archive that one machine makes of them."""
    folder = tmp_path_factory.mktemp("clean") / "clean.fdps"
    with Index.create(folder, ColourEmbedder()) as index:
        index.add(sources)
    return folder


def add(archive: Path, sources: Path, **options: object) -> IngestSummary:
    is_new = not archive.exists()
    with (Index.create if is_new else Index.open)(archive, ColourEmbedder()) as index:
        return index.add(sources, cluster=CLUSTER, **options)  # type: ignore[arg-type]


def assert_same(archive: Path, clean: Path) -> None:
    with Index.open(archive) as index, Index.open(clean) as expected:
        assert index.n_scenes == expected.n_scenes
        assert contents(index) == contents(expected)
    assert skipped_file(archive) == skipped_file(clean)
    assert set(skipped_file(archive)) == {"005.png", "copy.png", "torn.mp4", "notes.txt"}


def test_the_archive_is_that_of_one_machine(sources: Path, clean: Path, tmp_path: Path) -> None:
    summary = add(tmp_path / "a.fdps", sources)
    assert (summary.n_files, len(summary.skipped)) == (24, 4)
    assert_same(tmp_path / "a.fdps", clean)
    again = add(tmp_path / "a.fdps", sources)
    assert (again.n_added, again.n_known) == (0, 21)  # of the torn video nothing is new
    assert_same(tmp_path / "a.fdps", clean)


def test_an_interruption_is_made_good(sources: Path, clean: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 24:  # in the middle of a video
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        add(tmp_path / "a.fdps", sources, progress=interrupt)
    with Index.open(tmp_path / "a.fdps") as index, Index.open(clean) as whole:
        assert 0 < index.n_scenes < whole.n_scenes
    add(tmp_path / "a.fdps", sources)
    assert_same(tmp_path / "a.fdps", clean)


def test_another_model_on_the_workers_is_refused(sources: Path, tmp_path: Path) -> None:
    other = RayCluster(LOCAL, partial(ColourEmbedder, "other"))
    with Index.create(tmp_path / "a.fdps", ColourEmbedder()) as index:
        with pytest.raises(ArchiveError, match="has another model there"):
            index.add(sources, cluster=other)
        assert index.n_scenes == 0


def broken_model() -> ColourEmbedder:
    raise RuntimeError("no such thing")


def test_a_cluster_that_fails_is_named(sources: Path, tmp_path: Path) -> None:
    failing = RayCluster(LOCAL, broken_model)
    with (
        Index.create(tmp_path / "a.fdps", ColourEmbedder()) as index,
        pytest.raises(ResourceError, match="the Ray cluster failed"),
    ):
        index.add(sources, cluster=failing)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = write_network(tmp_path / "weights.safetensors", n_people=2)
    write_photos(tmp_path / "photos", 3)
    for way in ([], ["--ray", "local"]):
        archive = tmp_path / f"{len(way)}.fdps"
        command = ["index", tmp_path / "photos", "-o", archive, "--model", network, "-q", *way]
        assert main([str(word) for word in command]) == 0
        assert "Added   3 pictures with 6 people" in capsys.readouterr().out


@pytest.mark.skipif(not shutil.which("ss"), reason="ss is not installed")
def test_nobody_else_can_reach_it() -> None:
    """Every port of Ray's processes is on the loopback."""
    lines = subprocess.run(["ss", "-ltnp"], capture_output=True, text=True, check=True).stdout
    ours = [
        line.split()[3] for line in lines.splitlines() if '"gcs_server"' in line or "ray" in line
    ]
    assert ours
    assert [address for address in ours if "127.0.0.1" not in address] == []
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


OPEN = """
import ray
from fdps.errors import UsageError
from fdps.search.ray.session import connected
try:
    with connected("local"):
        print(ray.util.get_node_ip_address())
except UsageError as error:
    print(error)
"""


def test_a_ray_that_others_could_reach_is_ended() -> None:
    """It was imported too early to be told."""
    done = subprocess.run([sys.executable, "-c", OPEN], capture_output=True, text=True, check=True)
    assert "Ray was imported before this" in done.stdout or done.stdout.startswith("127.")
