"""Find people who come back: with and without tracklets, on a video of which everybody is known.

    python benchmarks/pets_tracks.py --model CARD --pets DIR
    python benchmarks/pets_tracks.py --model RUN --pets DIR --every 2

``DIR`` holds ``vtest.mp4`` (10 frames a second) and ``people.csv``: frame, x1, y1, x2, y2, person,
track; frames count from 1. A person who leaves and returns keeps the letter and gets another track.

The first table is about linking, on every fifth, every second and every frame (``--linking``; with
5 alone only these frames are looked at, in a fifth of the time). Detections are told who they are
by the annotated boxes of their frame: each box names the detection that overlaps it most, if that
is by 0.5 (IoU) at least and has no other name; further detections that overlap a box so far are
left out of both tables; all others are nobody. Linked is everybody who was found, as indexing does
it.

* tracklets: with at least one detection of a known person.
* purity: share of these detections that are of the person who is most frequent in their tracklet.
* mixed: tracklets with detections of more than one person.
* pieces: tracklets per annotated track, in the mean over annotated tracks.
* link_ms and network_ms: per frame, linking and embedder (detection with embedding; measured when
  they are computed, which is once for each ``--out``).

The second is about searching, on every ``--every``-th frame. Queries are the annotated tracks of
people who have two tracks or more. The gallery of a query is all detections of the frames in which
its track is not annotated. Right are those of the same person, all others are wrong, nobody too.
The average precision of a query is divided by the annotated boxes of the person in these frames,
so people who were not found count as missed; top-1 says whether the first is right.

A query is described by

* picture: the embedding of one detection. Every detection of the track is asked with, and the mean
  over them is the figure of the track;
* tracklet: the mean embedding, at unit length, of the members of that detection's tracklet in the
  frames of the track; again the mean over all detections;
* track: the mean embedding of all detections of the annotated track.

The gallery is ranked by the similarity of each detection (``single``), or by that of the mean
embedding of its tracklet, formed from its members in the gallery alone, then by its own
(``pooled``). Figures are means over tracks. The 95 % intervals come from 2000 bootstraps that draw
people, since tracks of one person are not independent; with seven people they are wide.
"""

import argparse
import csv
import json
import math
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from calibration_check import pets

import fdps
from fdps.boxes import iou
from fdps.engine.predict import predict
from fdps.errors import FdpsError
from fdps.predictions import Predictions, load_predictions, save_predictions
from fdps.search.query.tracklets import PeopleOfFrame, link_people

FRAMES_PER_S = 10
NOBODY, LEFT_OUT = -1, -2
MIN_IOU = 0.5
N_BOOTSTRAPS = 2000


class Found:
    """Everybody who was found in the frames of a sampling, and who they are.

    Args:
        predictions: Predictions of every frame.
        annotated: Frame → rows of the table.
        every: Frames from one to the next.
    """

    def __init__(self, predictions: Predictions, annotated: dict[int, list], every: int) -> None:
        frames = np.array([int(name) for name in predictions.scenes])[predictions.scene]
        kept = np.flatnonzero((frames - 1) % every == 0)
        kept = kept[np.argsort(frames[kept], kind="stable")]
        self.frames, self.boxes = frames[kept], predictions.boxes[kept]
        self.embeddings = predictions.embeddings[kept]
        self.people = np.full(len(kept), NOBODY)
        self.tracks = np.full(len(kept), NOBODY)
        for rows in self.frame_rows():
            self._name(rows, annotated[int(self.frames[rows[0]])])
        self.tracklets, self.link_s = self._linked()

    def frame_rows(self) -> Iterator[np.ndarray]:
        """Rows of each frame."""
        yield from np.split(np.arange(len(self.frames)), np.flatnonzero(np.diff(self.frames)) + 1)

    def _name(self, rows: np.ndarray, boxes: list[dict[str, str]]) -> None:
        if not boxes:
            return
        overlaps = iou(self.boxes[rows], corners(boxes))
        is_near = overlaps >= MIN_IOU
        self.people[rows[is_near.any(axis=1)]] = LEFT_OUT
        pairs = zip(*np.nonzero(is_near), strict=True)
        seen: set[int] = set()
        for place, box in sorted(pairs, key=lambda pair: -overlaps[pair]):
            if self.people[rows[place]] == LEFT_OUT and box not in seen:
                seen.add(box)
                self.people[rows[place]] = ord(boxes[box]["person"])
                self.tracks[rows[place]] = int(boxes[box]["track"])

    def _linked(self) -> tuple[np.ndarray, float]:
        frames = [
            PeopleOfFrame(
                float(self.frames[rows[0]] - 1) / FRAMES_PER_S,
                self.boxes[rows],
                self.embeddings[rows],
            )
            for rows in self.frame_rows()
        ]
        list(link_people(lambda: frames[:2]))  # SciPy is loaded now
        start = time.perf_counter()
        numbers = np.concatenate(list(link_people(lambda: frames)))
        return numbers, (time.perf_counter() - start) / len(frames)


def main() -> None:
    """Parse the command line, measure, print."""
    options = parse()
    annotated = read_annotations(options.pets / "people.csv")
    predictions, network_s, model_hash = detections(options)
    linking = []
    for every in options.linking:
        linking.append(linking_figures(Found(predictions, annotated, every), every))
        linking[-1]["network_ms"] = None if network_s is None else 1000 * network_s
    found = Found(predictions, annotated, options.every)
    results = {
        "model_hash": model_hash,
        "linking": linking,
        "every": options.every,
        "search": search_figures(found, annotated),
    }
    if options.json:
        print(json.dumps(results))
        return
    for name in ("linking", "search"):
        table = results[name]
        print("  ".join(f"{head:>10}" for head in table[0]))
        for row in table:
            print("  ".join(f"{shown(value):>10}" for value in row.values()))


def parse() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="card, run folder or weights")
    parser.add_argument("--pets", type=Path, required=True, help="folder of vtest.mp4")
    parser.add_argument("--every", type=int, default=5, help="frames from one to the next")
    parser.add_argument("--linking", type=int, nargs="+", default=[5, 2, 1], metavar="FRAMES")
    parser.add_argument("--min-score", type=float, help="of detections [default: of the model]")
    parser.add_argument("--out", type=Path, default=Path("runs/pets_tracks"), help="folder")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    return parser.parse_args()


def read_annotations(table: Path) -> dict[int, list[dict[str, str]]]:
    """Frame → its rows."""
    annotated: dict[int, list[dict[str, str]]] = defaultdict(list)
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            annotated[int(row["frame"])].append(row)
    return annotated


def corners(rows: list[dict[str, str]]) -> np.ndarray:
    """Boxes of a frame."""
    sides = ("x1", "y1", "x2", "y2")
    return np.array([[float(row[side]) for side in sides] for row in rows], dtype=np.float32)


def detections(options: argparse.Namespace) -> tuple[Predictions, float | None, str]:
    """Everybody in every frame needed, once for each model; and the seconds of a frame."""
    model = fdps.load(options.model, min_score=options.min_score)
    step = math.gcd(options.every, *options.linking)
    name = f"{model.model_hash[:12]}_{step}" + (
        f"_{options.min_score}" if options.min_score else ""
    )
    file, seconds = options.out / f"{name}.safetensors", options.out / f"{name}.json"
    if not file.exists():
        scenes = pets(options.pets, step)
        start = time.perf_counter()
        predictions = predict(model, scenes)
        per_frame = (time.perf_counter() - start) / len(scenes)
        save_predictions(predictions, file)
        seconds.write_text(json.dumps(per_frame))
    return load_predictions(file), json.loads(seconds.read_text()), model.model_hash


def linking_figures(found: Found, every: int) -> dict[str, object]:
    """A row of the first table."""
    is_known = found.people >= 0
    tracklets = np.unique(found.tracklets[is_known], return_inverse=True)[1]
    people = np.unique(found.people[is_known], return_inverse=True)[1]
    counts = np.zeros((tracklets.max() + 1, people.max() + 1), dtype=np.int64)
    np.add.at(counts, (tracklets, people), 1)
    tracks = found.tracks[is_known]
    pieces = [len(np.unique(tracklets[tracks == track])) for track in np.unique(tracks)]
    return {
        "every": every,
        "detections": len(found.frames),
        "known": int(is_known.sum()),
        "tracks": len(pieces),
        "tracklets": len(counts),
        "alone": int((counts.sum(axis=1) == 1).sum()),
        "purity": float(counts.max(axis=1).sum() / counts.sum()),
        "mixed": int(((counts > 0).sum(axis=1) > 1).sum()),
        "pieces": float(np.mean(pieces)),
        "link_ms": 1000 * found.link_s,
    }


def search_figures(found: Found, annotated: dict[int, list[dict[str, str]]]) -> list[dict]:
    """Rows of the second table."""
    frames_of: dict[tuple[int, int], set[int]] = defaultdict(set)
    for frame in np.unique(found.frames).tolist():
        for row in annotated[frame]:
            frames_of[ord(row["person"]), int(row["track"])].add(frame)
    tracks_of: dict[int, list[int]] = defaultdict(list)
    for person, track in sorted(frames_of):
        if (found.tracks == track).any():
            tracks_of[person].append(track)
    queries = [(p, t) for p, tracks in tracks_of.items() if len(tracks) > 1 for t in tracks]
    figures: dict[tuple[str, str], list[tuple[int, float, float]]] = defaultdict(list)
    for person, track in queries:
        own_frames = frames_of[person, track]
        n_relevant = sum(
            len(frames - own_frames) for (p, _), frames in frames_of.items() if p == person
        )
        gallery = ~np.isin(found.frames, list(own_frames)) & (found.people != LEFT_OUT)
        for query, asked in embeddings_of_query(found, track, ~gallery).items():
            for ranking in ("single", "pooled"):
                pairs = [
                    precision(found, gallery, embedding, person, n_relevant, ranking)
                    for embedding in asked
                ]
                mean = np.mean(pairs, axis=0)
                figures[query, ranking].append((person, float(mean[0]), float(mean[1])))
    return [
        {"query": query, "gallery": ranking, "tracks": len(rows)} | with_intervals(rows)
        for (query, ranking), rows in figures.items()
    ]


def embeddings_of_query(found: Found, track: int, is_near: np.ndarray) -> dict[str, np.ndarray]:
    """The three descriptions of a query: picture, tracklet, track."""
    rows = np.flatnonzero(found.tracks == track)
    tracklets = [
        unit(found.embeddings[(found.tracklets == found.tracklets[row]) & is_near].sum(axis=0))
        for row in rows
    ]
    return {
        "picture": found.embeddings[rows],
        "tracklet": np.array(tracklets),
        "track": unit(found.embeddings[rows].sum(axis=0))[None],
    }


def precision(
    found: Found,
    gallery: np.ndarray,
    query: np.ndarray,
    person: int,
    n_relevant: int,
    ranking: str,
) -> tuple[float, float]:
    """Average precision and top-1 of one embedding."""
    similarity = found.embeddings[gallery] @ query
    keys = similarity
    if ranking == "pooled":
        labels = np.unique(found.tracklets[gallery], return_inverse=True)[1]
        sums = np.zeros((labels.max() + 1, len(query)))
        np.add.at(sums, labels, found.embeddings[gallery])
        keys = (sums @ query / np.linalg.norm(sums, axis=1))[labels]
    is_right = (found.people[gallery] == person)[np.lexsort((-similarity, -keys))]
    ranks = np.flatnonzero(is_right)
    return float(((np.arange(len(ranks)) + 1) / (ranks + 1)).sum() / n_relevant), float(is_right[0])


def with_intervals(rows: list[tuple[int, float, float]]) -> dict[str, float]:
    """Means over tracks, with bounds by drawing people."""
    people, mean_ap, top1 = (np.array(column) for column in zip(*rows, strict=True))
    figures = {}
    rng = np.random.default_rng(0)
    ids = np.unique(people)
    drawn = rng.choice(len(ids), size=(N_BOOTSTRAPS, len(ids)))
    weights = np.array([(people[:, None] == ids[draw]).sum(axis=1) for draw in drawn])
    for name, values in (("mAP", mean_ap), ("top1", top1)):
        means = weights @ values / weights.sum(axis=1)
        low, high = np.percentile(means, [2.5, 97.5])
        figures |= {
            name: float(values.mean()),
            f"{name}_low": float(low),
            f"{name}_high": float(high),
        }
    return {"people": len(ids)} | figures


def unit(vector: np.ndarray) -> np.ndarray:
    """Return a vector at unit length."""
    return vector / np.linalg.norm(vector)


def shown(value: object) -> str:
    """Return the text of a cell."""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    try:
        main()
    except FdpsError as error:
        sys.exit(f"error: {error}\n  {error.hint}".rstrip())
