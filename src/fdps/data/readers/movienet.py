"""MovieNet-PS: film stills in the structures of CUHK-SYSU.

.. code-block:: text

    root/
      Image/...                                     stills, in any tree
      annotation/Images.mat                         Img: boxes of all stills
      annotation/pool_2000.mat, _4000, _10000       pool: stills of a test split
      annotation/test/train_test/Train_app10.mat, 30, 50, 70, 100   Train: at most so many sightings
      annotation/test/train_test/TestG2000.mat, TestG4000.mat, TestG10000.mat

Source: Qin et al., MovieNet-PS, 2021, and the public loader of GLCNet. Identities are numbered as
they are listed. A still may belong to training and test.
"""

from pathlib import Path

from fdps.data.findings import Findings
from fdps.data.identities import contiguous
from fdps.data.readers.cuhk_sysu import LISTS, read_pool
from fdps.data.readers.psdb import People, build_queries, read_boxes
from fdps.data.readers.reader import reader
from fdps.data.readers.search_lists import (
    identify_queried,
    identify_training,
    position_in_list,
    read_searches,
)
from fdps.errors import UsageError
from fdps.structures import SceneSet

TRAINING = {"train": 10, **{f"train_{n}": n for n in (10, 30, 50, 70, 100)}}
"""Most sightings of an identity, by split."""

TEST = {"test": 2000, **{f"test_{n}": n for n in (2000, 4000, 10000)}}
"""Gallery size by split."""

_LAYOUT = (
    "expected root/: Image/, annotation/Images.mat, annotation/pool_2000.mat, "
    "annotation/test/train_test/Train_app10.mat and TestG2000.mat (see docs/guides/data.md)"
)


@reader
def read(root: Path, split: str, findings: Findings) -> SceneSet:
    """Read a split of MovieNet-PS.

    Args:
        root: Folder with ``Image`` and ``annotation``.
        split: A key of :data:`TRAINING` (identities renumbered 0..L-1) or of :data:`TEST`.
        findings: Collects faults and odd rows; by default the first fault is raised.

    Returns:
        The stills that show a training identity, or those of the pool.

    Raises:
        UsageError: The split is another one.
        MissingDataError: A file is not there.
        AnnotationError: A ``.mat`` file cannot be read, or a row of it makes no sense.
        PictureError: A file is not a picture.
    """
    if split not in TRAINING | TEST:
        known = ", ".join(TRAINING | TEST)
        raise UsageError(f"MovieNet-PS has no split {split!r}", hint=f"choose one of {known}")
    findings.boxes.with_sizes = True
    people = People(read_boxes(root / "annotation/Images.mat", findings, _LAYOUT), findings)
    if split in TRAINING:
        path = root / LISTS / f"Train_app{TRAINING[split]}.mat"
        seen = identify_training(path, people, position_in_list, findings, _LAYOUT)
        shown = {name for names in seen.values() for name in names}
        names = [name for name in people.boxes if name in shown]
        scenes = people.scenes(names, root / "Image")
        return contiguous(SceneSet(f"movienet/{split}", scenes))
    size = TEST[split]
    pool = read_pool(root / f"annotation/pool_{size}.mat", findings, _LAYOUT)
    path = root / LISTS / f"TestG{size}.mat"
    searches = read_searches(path, f"TestG{size}", position_in_list, findings, _LAYOUT)
    identify_queried(searches, people)
    scenes = people.scenes(pool, root / "Image")
    queries = build_queries(searches, people.sizes, findings)
    return SceneSet(f"movienet/{split}", scenes, queries)
