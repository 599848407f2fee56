"""CUHK-SYSU: street pictures and film stills, with galleries of fixed sizes.

.. code-block:: text

    root/
      Image/SSM/s1.jpg ...
      annotation/Images.mat                 Img: boxes of all images
      annotation/pool.mat                   pool: names of the test images
      annotation/Person.mat                 Person: everybody; read by `fdps data check` alone
      annotation/test/train_test/Train.mat  Train: training identities
      annotation/test/train_test/TestG50.mat ... TestG4000.mat      queries and their galleries
      annotation/test/subset/Occlusion.mat, Resolution.mat          Occlusion1, Test_Size

Source: Xiao et al., Joint Detection and Identification Feature Learning for Person Search, CVPR
2017. Every image outside ``pool`` is for training. Identity ``p123`` is 123.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from fdps.data.findings import Findings
from fdps.data.identities import contiguous
from fdps.data.parsing.mat import read_variable
from fdps.data.readers.psdb import (
    PERSON,
    SIGHTING,
    People,
    Search,
    build_queries,
    image_name,
    read_boxes,
    records,
    xywh,
)
from fdps.data.readers.reader import reader
from fdps.data.readers.search_lists import (
    identify_queried,
    identify_training,
    number_in_name,
    read_searches,
)
from fdps.errors import AnnotationError, MissingDataError, UsageError
from fdps.structures import Query, SceneSet

SPLITS = ("train", "test")
GALLERY_SIZES = (100, 50, 500, 1000, 2000, 4000)
"""Sizes of the galleries that the data set lists; the first list that exists gives the queries."""

SUBSETS = {"occlusion": ("Occlusion", "Occlusion1"), "resolution": ("Resolution", "Test_Size")}
"""The query lists of people half hidden or small: file and variable of each."""

LISTS = Path("annotation/test/train_test")
_LAYOUT = (
    "expected root/: Image/SSM/*.jpg, annotation/Images.mat, annotation/pool.mat, "
    "annotation/test/train_test/Train.mat and TestG100.mat (see docs/guides/data.md)"
)


@reader
def read(root: Path, split: str, findings: Findings) -> SceneSet:
    """Read a split of CUHK-SYSU, or of anything in its layout.

    Args:
        root: Folder with ``Image`` and ``annotation``.
        split: ``train`` (identities renumbered 0..L-1) or ``test`` (identities as in the file).
            The queries of ``test`` have the galleries of ``TestG100.mat``; ``query_lists`` has
            those of all sizes by number, ``occlusion`` and ``resolution``.
        findings: Collects faults and odd rows; by default the first fault is raised.

    Returns:
        The scenes in the order of ``Images.mat`` (training) or ``pool.mat`` (test).

    Raises:
        UsageError: The split is another one.
        MissingDataError: A file is not there.
        AnnotationError: A ``.mat`` file cannot be read, or a row of it makes no sense.
        PictureError: A file is not a picture.
    """
    if split not in SPLITS:
        raise UsageError(f"CUHK-SYSU has no split {split!r}", hint=f"choose {' or '.join(SPLITS)}")
    findings.boxes.with_sizes = True
    people = People(read_boxes(root / "annotation/Images.mat", findings, _LAYOUT), findings)
    pool = read_pool(root / "annotation/pool.mat", findings, _LAYOUT)
    pictures = root / "Image" / "SSM"
    if split == "train":
        identify_training(root / LISTS / "Train.mat", people, number_in_name, findings, _LAYOUT)
        tested = set(pool)
        names = [name for name in people.boxes if name not in tested]
        result = contiguous(SceneSet("cuhk_sysu/train", people.scenes(names, pictures)))
    else:
        result = _test(root, people, pool, findings)
    if findings.collect and (root / "annotation/Person.mat").is_file():
        _check_persons(root / "annotation/Person.mat", people, findings)
    return result


def read_pool(path: Path, findings: Findings, hint: str) -> list[str]:
    """Read ``pool.mat``: the names of the test images.

    Raises:
        MissingDataError: There is no such file.
        AnnotationError: The file is not such a file, or a name is malformed or occurs twice.
    """
    names: dict[str, None] = {}
    for number, cell in enumerate(read_variable(path, ("pool",), hint=hint).ravel(), start=1):
        with findings.tolerated():
            name = image_name(np.asarray(cell), f"{path}, row {number}")
            if name in names:
                raise AnnotationError(f"{path}, row {number}: {name!r} occurs twice")
            names[name] = None
    return list(names)


def _test(root: Path, people: People, pool: list[str], findings: Findings) -> SceneSet:
    size = next((s for s in GALLERY_SIZES if _list_file(root, s).is_file()), None)
    if size is None:
        raise MissingDataError(f"no file {_list_file(root, GALLERY_SIZES[0])}", hint=_LAYOUT)
    searches = _searches(root, size, findings)
    identify_queried(searches, people)
    scenes = people.scenes(pool, root / "Image" / "SSM")
    queries = build_queries(searches, people.sizes, findings)
    lists: dict[str, Callable[[], tuple[Query, ...]]] = {}
    for other in sorted(GALLERY_SIZES):
        if other != size and _list_file(root, other).is_file():
            lists[str(other)] = partial(_other_size, root, other, people, queries)
    lists[str(size)] = lambda: queries
    for name, (file, variable) in SUBSETS.items():
        path = root / "annotation/test/subset" / f"{file}.mat"
        if path.is_file():
            lists[name] = partial(_subset, path, variable, people)
    return SceneSet("cuhk_sysu/test", scenes, queries, lists)


def _list_file(root: Path, size: int) -> Path:
    return root / LISTS / f"TestG{size}.mat"


def _searches(root: Path, size: int, findings: Findings) -> list[Search]:
    path = _list_file(root, size)
    searches = read_searches(path, f"TestG{size}", number_in_name, findings, _LAYOUT)
    for search in searches:
        if len(search.gallery) != size:
            findings.note(
                f"gallery of another size than the {size} of its file",
                f"{search.where}: {len(search.gallery)}",
            )
    return searches


def _other_size(
    root: Path, size: int, people: People, queries: tuple[Query, ...]
) -> tuple[Query, ...]:
    """Return galleries of another size; the queries must be the same, in the same order."""
    findings = people.findings
    found = build_queries(_searches(root, size, findings), people.sizes, findings)
    asked = [(query.scene, query.person_id, query.box.tolist()) for query in queries]
    if asked != [(query.scene, query.person_id, query.box.tolist()) for query in found]:
        findings.fault(
            AnnotationError(
                f"{_list_file(root, size)} asks for others, or in another order, than the list "
                "that the identities come from",
                hint="take all TestG*.mat from one copy of the data set",
            )
        )
    return found


def _subset(path: Path, variable: str, people: People) -> tuple[Query, ...]:
    searches = read_searches(path, variable, number_in_name, people.findings, _LAYOUT)
    return build_queries(searches, people.sizes, people.findings)


def _check_persons(path: Path, people: People, findings: Findings) -> None:
    """Compare the list of everybody with the boxes of the images."""
    for number, (name, _, sightings) in enumerate(
        records(read_variable(path, ("Person",)), PERSON, str(path)), start=1
    ):
        with findings.tolerated():
            where = f"{path}, person {number}"
            number_in_name(number - 1, name, where)
            if sightings is None:
                raise AnnotationError(f"{where} has no scenes")
            for image, located, _ in records(sightings, SIGHTING, where):
                box = xywh(located, where)
                if box is not None and not people.shows(image_name(image, where), box):
                    findings.note("sighting of Person.mat equals no box of its image", where)
