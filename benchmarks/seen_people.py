"""Measure the people whom ``fdps demo MY_PICTURES`` picks, where everybody is known.

    python benchmarks/seen_people.py --model CARD --pets DIR --prw DIR

``--pets`` is the folder of ``vtest.mp4`` and ``people.csv``: a video, one frame every 0.5 s, whose
sightings are linked before they are joined. ``--prw`` has the layout of PRW: the test frames as
single pictures, where looks are all there is. Sightings are told who they are by the annotated box
that overlaps them most, by half (IoU) at least; all others are nobody, of whom nobody knows who
they are, and do not count.

For each picked person: the pictures, the identity that most of the known sightings have, and

* purity: share of the known sightings that have it;
* completeness: share of all sightings of that identity, wherever they went, that are here.

Below are the means over the picked people whom the annotations know. ``--free`` joins without the
knowledge that people side by side in one picture are two people.
"""

import argparse
import csv
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

import fdps
from fdps.data import load_scenes
from fdps.errors import FdpsError
from fdps.evaluation.matching import mutual_matches
from fdps.search import Index
from fdps.search.results import seen_people
from fdps.search.results.seen_people import SeenPerson, find_seen_people
from fdps.structures import SceneRecord

Truth = dict[str | int, tuple[np.ndarray, list[str]]]
"""Name or frame of a scene → its boxes, and who they are; an empty name for somebody unknown."""


def main() -> None:
    """Index what is missing, pick people, and print a table for each set."""
    options = parse()
    if options.free:
        seen_people.SIDE_BY_SIDE = -1.0
    searcher = fdps.load(options.model)
    if options.pets:
        where = options.out / f"pets_{searcher.model_hash[:12]}.fdps"
        report(where, searcher, [options.pets / "vtest.mp4"], pets(options.pets), options.people)
    if options.prw:
        where = options.out / f"prw_{searcher.model_hash[:12]}.fdps"
        scenes = load_scenes("prw", options.prw, "test").scenes
        truth: Truth = {
            scene.path.name: (scene.boxes, [str(i) if i >= 0 else "" for i in scene.person_ids])
            for scene in scenes
        }
        report(where, searcher, [scene.path for scene in scenes], truth, options.people)


def parse() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="card, run folder or weights")
    parser.add_argument("--pets", type=Path, help="folder of vtest.mp4 and people.csv")
    parser.add_argument("--prw", type=Path, help="folder in the layout of PRW")
    parser.add_argument("--people", type=int, default=6, help="people to pick")
    parser.add_argument("--free", action="store_true", help="join people of one picture, too")
    parser.add_argument("--out", type=Path, default=Path("runs/seen_people"), help="folder")
    return parser.parse_args()


def pets(folder: Path) -> Truth:
    """Frame, from 0 → the people in it."""
    rows: dict[int, list[dict[str, str]]] = defaultdict(list)
    with (folder / "people.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            rows[int(row["frame"]) - 1].append(row)
    sides = ("x1", "y1", "x2", "y2")
    return {
        frame: (
            np.array([[float(row[side]) for side in sides] for row in people], dtype=np.float32),
            [row["person"] for row in people],
        )
        for frame, people in rows.items()
    }


def report(
    where: Path, searcher: fdps.PersonSearcher, sources: list[Path], truth: Truth, n_people: int
) -> None:
    """Print the table of one set."""
    where.parent.mkdir(parents=True, exist_ok=True)
    is_new = not where.exists()
    with Index.create(where, searcher) if is_new else Index.open(where, searcher) as index:
        index.add(sources)
        seen = find_seen_people(index.store, n_people)
        names = {
            person.item: name
            for scene in seen.scenes
            for person, name in named(index, scene.name, truth.get(key(scene), (None, [])))
        }
    counts = Counter(filter(None, names.values()))
    alike = seen.strangers_as_alike(seen.min_similarity)
    print(
        f"{where.stem}: {seen.n_sightings} sightings, {seen.n_appearances} appearances, "
        f"{seen.n_people} people; joined from {seen.min_similarity:.3f} on, which {alike} of "
        f"{len(seen.strangers)} strangers reach"
    )
    print(f"{'person':>6} {'pictures':>8} {'appearances':>11} {'who':>5} {'purity':>6} complete")
    rows = [row for person in seen.people if (row := figures(person, names, counts))]
    for number, person in enumerate(seen.people, start=1):
        found = figures(person, names, counts)
        shown = (
            f"{found[0]:>5} {found[1]:>6.2f} {found[2]:>8.2f}" if found else "    –      –        –"
        )
        stays = "  stays at one place" if person.stays else ""
        print(f"{number:>6} {person.n_scenes:>8} {len(person.appearances):>11} {shown}{stays}")
    if rows:
        purity, complete = np.mean([row[1:] for row in rows], axis=0)
        print(f"{'mean of ' + str(len(rows)):>32} {purity:>6.3f} {complete:>8.3f}")


def key(scene: SceneRecord) -> str | int:
    """What the truth calls a scene."""
    return Path(scene.path).name if scene.offset_s is None else scene.frame


def named(index: Index, scene: str, truth: tuple[np.ndarray | None, list[str]]) -> list:
    """Everybody found in a scene, with their name."""
    people, (boxes, names) = index.people_in(scene), truth
    if boxes is None or not people:
        return []
    found = np.array([person.box for person in people], dtype=np.float32)
    matches = mutual_matches(found, boxes).tolist()
    return [(p, names[row] if row >= 0 else "") for p, row in zip(people, matches, strict=True)]


def figures(
    person: SeenPerson, names: dict[int, str], counts: Counter[str]
) -> tuple[str, float, float] | None:
    """Who a picked person is, purity and completeness; ``None`` if nobody knows."""
    items = [hit.item for appearance in person.appearances for hit in appearance.hits]
    known = Counter(name for item in items if (name := names.get(item)))
    if not known:
        return None
    ((name, n_right),) = known.most_common(1)
    return name, n_right / known.total(), n_right / counts[name]


if __name__ == "__main__":
    try:
        main()
    except FdpsError as error:
        sys.exit(f"error: {error}\n  {error.hint}".rstrip())
