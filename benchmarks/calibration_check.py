"""Check a calibration on people it has not seen: predicted wrong candidates against counted ones.

The people of a labelled set are halved. One half calibrates; the other is searched: everybody in
it is looked for in archives of several sizes, drawn from what was found of the others. Printed is
the mean over several halvings. Run it from the checkout:

    python benchmarks/calibration_check.py --model CARD --prw DIR --min-frame-gap 250
    python benchmarks/calibration_check.py --model CARD --pets DIR

``--prw`` takes both splits of a set in the layout of PRW, as one set, and ``--same 77,157`` says
that two identities are one person; ``--pets`` takes a folder with
``vtest.mp4`` and ``people.csv`` (frame, x1, y1, x2, y2, person, track; frames count from 1).
"""

import argparse
import csv
import json
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import fdps
from fdps.data import load_scenes
from fdps.data.parsing.mat import read_variable
from fdps.engine.predict import predict
from fdps.errors import FdpsError
from fdps.predictions import load_predictions, save_predictions
from fdps.search.results.calibration import Calibration, calibrate
from fdps.search.results.comparisons import NOBODY, Sightings, compare, find_sightings
from fdps.structures import UNLABELLED, Scene, SceneSet

RATES = (1e-2, 1e-3, 1e-4, 1e-5)
Row = dict[str, float | str]


def main() -> None:
    """Parse the command line, measure, print."""
    options = parse()
    scenes = whole_prw(options.prw) if options.prw else pets(options.pets, options.every)
    seen = sightings(options.model, scenes, options.out)
    for pair in options.same:
        one, other = map(int, pair.split(","))
        seen = renamed(seen, other, one)
    rows = [
        row for seed in range(options.halvings) for row in check(seen, options.min_frame_gap, seed)
    ]
    table = [mean_row([row for row in rows if key(row) == kind]) for kind in kinds(rows)]
    if options.json:
        print(json.dumps({"data": scenes.name, "people": len(scenes.person_ids), "rows": table}))
        return
    print(f"{scenes.name}: {len(scenes.person_ids)} people, {len(seen.people)} detections")
    print(
        f"{'at':<14} {'archive':>8} {'predicted':>10} {'low':>9} {'high':>9} {'counted':>9} ratio"
    )
    for row in table:
        ratio = row["predicted"] / row["counted"] if row["counted"] else float("inf")
        print(
            f"{row['at']:<14} {row['archive']:>8.0f} {row['predicted']:>10.4f} {row['low']:>9.4f} "
            f"{row['high']:>9.4f} {row['counted']:>9.4f} {ratio:>5.2f} {row['within x2']:>10.0%}"
        )


def parse() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="card, run folder or weights")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--prw", type=Path, help="folder in the layout of PRW")
    where.add_argument("--pets", type=Path, help="folder with vtest.mp4 and people.csv")
    parser.add_argument(
        "--every", type=int, default=10, help="frames of the video from one to next"
    )
    parser.add_argument("--min-frame-gap", type=int, default=0)
    parser.add_argument(
        "--same", nargs="*", default=[], metavar="A,B", help="identities that are one person"
    )
    parser.add_argument("--halvings", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("runs/calibration_check"), help="folder")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    return parser.parse_args()


def check(seen: Sightings, gap: int, seed: int) -> list[Row]:
    """Calibrate on half of the people, look for the others."""
    ids = np.random.default_rng(seed).permutation(np.unique(seen.people[seen.people >= 0]))
    nobody = np.random.default_rng(seed).random(len(seen.people)) < 0.5
    first, second = (
        half(seen, ids[k::2], (seen.people == NOBODY) & (nobody if k else ~nobody)) for k in (0, 1)
    )
    comparisons = compare(first, min_frame_gap=gap, seed=seed)
    calibration = calibrate(comparisons, model_hash="")
    marks = {"strong": calibration.strong, "worth a look": calibration.worth_a_look}
    marks |= {f"rate {rate:g}": similarity_at(calibration, rate) for rate in RATES}
    rows = []
    for size in (100, 1000, 10_000):
        found = counted(second, [*marks.values()], size, gap, seed)
        for (name, similarity), count in zip(marks.items(), found, strict=True):
            expected = calibration.expected_wrong(similarity, size)
            rows.append(
                {
                    "at": name,
                    "archive": size,
                    "predicted": expected.mean,
                    "low": expected.low,
                    "high": expected.high,
                    "counted": float(count),
                    "within x2": float(expected.mean / 2 <= count <= expected.mean * 2),
                }
            )
    return rows


def renamed(seen: Sightings, old: int, new: int) -> Sightings:
    """Return the sightings with one identity for each person."""
    return replace(
        seen,
        people=np.where(seen.people == old, new, seen.people),
        shown=frozenset((scene, new if i == old else i) for scene, i in seen.shown),
    )


def half(seen: Sightings, ids: np.ndarray, nobody: np.ndarray) -> Sightings:
    """Some people, and some detections of nobody."""
    kept = np.isin(seen.people, ids) | nobody
    return replace(
        seen,
        embeddings=seen.embeddings[kept],
        people=seen.people[kept],
        scenes=seen.scenes[kept],
    )


def similarity_at(calibration: Calibration, rate: float) -> float:
    """Return the similarity at which a rate of wrong candidates is predicted."""
    return float(np.interp(-np.log(rate), -np.log(calibration.rate), calibration.similarity))


def counted(seen: Sightings, marks: list[float], size: int, gap: int, seed: int) -> np.ndarray:
    """Mean number of wrong candidates above each mark in archives of a size.

    Counted by a loop of its own, so that it shares nothing with what it checks. Archives larger
    than the data hold detections several times.
    """
    rng = np.random.default_rng(seed)
    totals, n = np.zeros(len(marks)), 0
    scenes = range(len(seen.cameras))
    far: dict[int, np.ndarray] = {}
    absent: dict[int, np.ndarray] = {}
    for row in np.flatnonzero(seen.people >= 0):
        person, scene = seen.people[row], seen.scenes[row]
        if scene not in far:
            far[scene] = np.array([is_far(seen, scene, other, gap) for other in scenes])
        if person not in absent:
            absent[person] = np.array([(other, person) not in seen.shown for other in scenes])
        is_other = (seen.people != person) & (seen.people != UNLABELLED) & far[scene][seen.scenes]
        is_other &= (seen.people != NOBODY) | absent[person][seen.scenes]
        others = np.flatnonzero(is_other)
        if len(others) == 0:
            continue
        drawn = rng.choice(others, size=size, replace=size > len(others))
        similarity = seen.embeddings[drawn] @ seen.embeddings[row]
        totals += (similarity[:, None] >= marks).sum(axis=0)
        n += 1
    return totals / max(n, 1)


def is_far(seen: Sightings, one: int, other: int, gap: int) -> bool:
    """Return whether two scenes are far enough apart not to show nearly the same."""
    if one == other:
        return False
    if not gap or seen.cameras[one] != seen.cameras[other]:
        return True
    return bool(abs(int(seen.frames[one]) - int(seen.frames[other])) > gap)


def sightings(model: str, scenes: SceneSet, out: Path) -> Sightings:
    """Find everybody, once."""
    file = out / f"{scenes.name.replace('/', '_')}.safetensors"
    if not file.exists():
        save_predictions(predict(fdps.load(model), scenes), file)
    return find_sightings(load_predictions(file), scenes)


def whole_prw(root: Path) -> SceneSet:
    """Both splits as one set, by the identities of the files: some people are in both."""
    numbers = np.sort(read_variable(root / "ID_train.mat", ("ID_train",)).ravel()).astype(np.int64)
    train, test = (load_scenes("prw", root, split) for split in ("train", "test"))
    named = tuple(
        replace(s, person_ids=np.where(s.person_ids < 0, UNLABELLED, numbers[s.person_ids]))
        for s in train.scenes
    )
    return SceneSet("prw/all", named + test.scenes)


def pets(root: Path, every: int) -> SceneSet:
    """Frames of the video, written beside the predictions, with the people of the table."""
    import av

    rows: dict[int, list[dict[str, str]]] = defaultdict(list)
    with (root / "people.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            rows[int(row["frame"])].append(row)
    folder = Path("runs/calibration_check/pets")
    folder.mkdir(parents=True, exist_ok=True)
    scenes = []
    with av.open(str(root / "vtest.mp4")) as video:
        for number, frame in enumerate(video.decode(video=0), start=1):
            if (number - 1) % every:
                continue
            path = folder / f"{number:04}.png"
            Image.fromarray(frame.to_ndarray(format="rgb24")).save(path)
            people = rows[number]
            boxes = [[float(row[side]) for side in ("x1", "y1", "x2", "y2")] for row in people]
            ids = [ord(row["person"]) - ord("A") for row in people]
            scenes.append(
                Scene(
                    path.stem,
                    path,
                    np.array(boxes, dtype=np.float32).reshape(-1, 4),
                    np.array(ids, dtype=np.int64),
                    "view1",
                    number,
                )
            )
    return SceneSet("pets/all", tuple(scenes))


def key(row: Row) -> tuple[float | str, float | str]:
    """Return the rate and the size of the archive that a row is about."""
    return row["at"], row["archive"]


def kinds(rows: list[Row]) -> list[tuple[float | str, float | str]]:
    """The different keys, in order."""
    return list(dict.fromkeys(map(key, rows)))


def mean_row(rows: list[Row]) -> Row:
    """The mean over the halvings."""
    numbers = {name: float(np.mean([row[name] for row in rows])) for name in list(rows[0])[1:]}
    return {"at": rows[0]["at"], **numbers}


if __name__ == "__main__":
    try:
        main()
    except FdpsError as error:
        sys.exit(f"error: {error}\n  {error.hint}".rstrip())
