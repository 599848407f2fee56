"""Tell from the files of a folder which kind of data set it is, and which splits it has."""

import json
from pathlib import Path

from fdps.data.parsing.csv_rows import read_rows
from fdps.data.readers import annotations_csv, folder, mot
from fdps.errors import DataError, MissingDataError
from fdps.pictures import StrPath

_MARKS = {
    "prw": ("frame_train.mat", "frame_test.mat", "query_info.txt"),
    "cuhk_sysu": ("annotation/pool.mat", "Image/SSM"),
    "movienet": ("annotation/pool_2000.mat", "annotation/pool_4000.mat", "annotation/Images.mat"),
    "wildtrack": ("annotations_positions",),
    "folder": (folder.INFO, annotations_csv.NAME),
}
_SPLIT_JSON = ("annotations_*.json", "train.json", "test.json", "val.json")


def kind_of(root: StrPath) -> str:
    """Guess the kind of a data set.

    Args:
        root: A folder, or a JSON or XML file.

    Raises:
        MissingDataError: There is nothing, or nothing of a known kind.
    """
    root = Path(root)
    if not root.exists():
        raise MissingDataError(f"no data at {root}", hint="check the path")
    if root.is_file():
        kind = {".json": "coco", ".xml": "cvat"}.get(root.suffix)
        if kind is None:
            raise MissingDataError(f"{root} is a file, but neither .json nor .xml")
        return kind
    for kind, marks in _MARKS.items():
        if any((root / mark).exists() for mark in marks):
            return kind
    if (
        any(root.glob(mot.INFO))
        or any(root.glob(f"*/{mot.INFO}"))
        or any(root.glob(f"*/*/{mot.INFO}"))
    ):
        return "mot"
    for kind, pattern in (("coco", "*.json"), ("cvat", "*.xml")):
        if any(root.glob(pattern)):
            return kind
    raise MissingDataError(
        f"nothing in {root} tells what kind of data it is",
        hint="name it with --data; docs/guides/data.md shows what each kind looks like",
    )


def splits_of(kind: str, root: StrPath) -> tuple[str, ...]:
    """Return the splits of a data set; ``test`` alone where it has none, and holds everything.

    Annotations that cannot be read have no splits; reading them tells what is wrong.
    """
    try:
        found = _stated(kind, Path(root))
    except (DataError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError):
        found = set()
    order = ("train", "val", "test")
    ranked = sorted(found, key=lambda name: (order.index(name) if name in order else 3, name))
    return tuple(ranked) or ("test",)


def _stated(kind: str, root: Path) -> set[str]:
    if kind in ("prw", "cuhk_sysu", "movienet", "wildtrack"):
        return {"train", "test"}
    if kind == "mot":
        return {path.parent.parent.name for path in root.glob(f"*/*/{mot.INFO}")}
    if kind == "cvat":
        return {path.stem for path in root.glob("*.xml")} - {"annotations"}
    table = root / annotations_csv.NAME
    if kind == "folder" and table.is_file() and not (root / folder.ANNOTATIONS).is_file():
        rows = read_rows(table, annotations_csv.REQUIRED, annotations_csv.OPTIONAL)
        return {row.get("split", "").strip() for _, row in rows} - {""}
    if kind == "coco" and root.is_dir():
        files = [path for pattern in _SPLIT_JSON for path in root.glob(pattern)]
        if files:
            return {path.stem.removeprefix("annotations_") for path in files}
    file = root if root.is_file() else root / folder.ANNOTATIONS
    images = json.loads(file.read_bytes())["images"]
    return {str(image["split"]) for image in images if "split" in image}
