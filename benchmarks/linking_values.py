"""Measure how linking in videos depends on its values: each halved and doubled, on PRW.

    python benchmarks/linking_values.py --model CARD --prw DIR

``DIR`` has the layout of PRW; both splits are read as one recording of 25 frames a second, of which
every 25th has labels, so frames are a second apart, or more where some are missing. Detections are
told who they are as for a calibration (an overlap by half). A *visit* is one person without a gap
of more than 3 s. Printed are, of detections of known people alone:

* tracklets, against visits;
* purity: share of the detections that are of the person who is most frequent in their tracklet;
* mixed: tracklets with more than one person. The labels call one person of this camera by two
  identities, so one or two of these are not mixed;
* precision and recall of pairs: of two detections in one tracklet, how many are one person; of two
  detections in one visit, how many are in one tracklet.
"""

import argparse
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from calibration_check import whole_prw

import fdps
from fdps.engine.predict import predict
from fdps.errors import FdpsError
from fdps.predictions import load_predictions, save_predictions
from fdps.search.query.tracklets import Linking, PeopleOfFrame, link_people
from fdps.search.results.comparisons import find_sightings

FRAMES_PER_S = 25
MAX_GAP_S = 3.0


def main() -> None:
    """Link with one set of values after the other."""
    options = parse()
    scenes = whole_prw(options.prw)
    file = options.out / "prw_all.safetensors"
    if not file.exists():
        save_predictions(predict(fdps.load(options.model), scenes), file)
    predictions = load_predictions(file)
    seen = find_sightings(predictions, scenes)
    seconds = seen.frames[seen.scenes] / FRAMES_PER_S
    order = np.argsort(predictions.scene, kind="stable")  # as sightings are
    in_time = np.argsort(seconds, kind="stable")
    boxes, embeddings = predictions.boxes[order][in_time], seen.embeddings[in_time]
    people, seconds = seen.people[in_time], seconds[in_time]
    firsts = np.flatnonzero(np.diff(seconds, prepend=-1.0))
    parts = np.split(np.arange(len(seconds)), firsts[1:])
    frames = [PeopleOfFrame(float(seconds[p[0]]), boxes[p], embeddings[p]) for p in parts]
    usual = Linking()
    variants = {"as they are": usual}
    for name, value in asdict(usual).items():
        for factor in (0.5, 2.0):
            changed = 1 + (value - 1) * factor if name == "max_ratio" else value * factor
            variants[f"{name} {changed:g}"] = replace(usual, **{name: changed})
    print(f"{'values':<22} tracklets visits purity mixed precision recall")
    for name, how in variants.items():
        numbers = np.concatenate(list(link_people(lambda: frames, how)))
        known = people >= 0
        print(f"{name:<22} {figures(numbers[known], people[known], seconds[known])}")


def parse() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="card, run folder or weights")
    parser.add_argument("--prw", type=Path, required=True, help="folder in the layout of PRW")
    parser.add_argument("--out", type=Path, default=Path("runs/linking_values"), help="folder")
    return parser.parse_args()


def figures(tracklets: np.ndarray, people: np.ndarray, seconds: np.ndarray) -> str:
    """The rest of a row."""
    visits = visits_of(people, seconds)
    by_person = table(tracklets, people)
    together = pairs(table(tracklets, visits))
    return (
        f"{len(by_person):>9} {len(np.unique(visits)):>6} "
        f"{by_person.max(axis=1).sum() / by_person.sum():>6.3f} "
        f"{((by_person > 0).sum(axis=1) > 1).sum():>5} "
        f"{pairs(by_person) / pairs(by_person.sum(axis=1)):>9.3f} "
        f"{together / pairs(np.bincount(visits)):>6.3f}"
    )


def visits_of(people: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """A number for every visit of a person."""
    order = np.lexsort((seconds, people))
    is_new = np.diff(people[order], prepend=-1) != 0
    is_new |= np.diff(seconds[order], prepend=0.0) > MAX_GAP_S
    visits = np.empty(len(people), dtype=np.int64)
    visits[order] = np.cumsum(is_new) - 1
    return visits


def table(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Count how often two labels are met together."""
    rows, columns = (np.unique(labels, return_inverse=True)[1] for labels in (one, other))
    counts = np.zeros((rows.max() + 1, columns.max() + 1), dtype=np.int64)
    np.add.at(counts, (rows, columns), 1)
    return counts


def pairs(counts: np.ndarray) -> float:
    """Two of the same, in all."""
    return float((counts * (counts - 1) / 2).sum())


if __name__ == "__main__":
    try:
        main()
    except FdpsError as error:
        sys.exit(f"error: {error}\n  {error.hint}".rstrip())
