"""An embedder that notes where it worked, and indexing with it over machines of a cluster."""

import os
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

from fake.embedder import ColourEmbedder
from fake.ray_nodes import NODE
from fdps.search import Index, RayCluster
from fdps.structures import Detections, Picture

NOTES, SECONDS = "FDPS_TEST_NOTES", "FDPS_TEST_SECONDS"
"""Environment variables: a file for notes, and the seconds that a picture takes."""


class NotingEmbedder(ColourEmbedder):
    """Notes the machine and the process for every picture, and takes its time."""

    def detect(self, image: Picture) -> Detections:
        time.sleep(float(os.environ.get(SECONDS, "0")))
        if NOTES in os.environ:
            with Path(os.environ[NOTES]).open("a") as file:  # whole lines, whoever writes beside
                file.write(f"{os.environ.get(NODE, '')} {os.getpid()}\n")
        return super().detect(image)


def index_over(
    address: str, environment: Mapping[str, str], where: str, sources: Path, telling: Connection
) -> None:
    """Index over a cluster; tell how many are done, then what was skipped."""
    os.environ.update(environment)
    with Index.open(where, NotingEmbedder()) as index:
        summary = index.add(
            sources,
            cluster=RayCluster(address, NotingEmbedder),
            progress=lambda done, total: telling.send(done),
        )
    telling.send({str(one.path.relative_to(sources)): one.reason for one in summary.skipped})
