"""Measure what confirming and rejecting hits is worth, and how much a rejection should count.

A user is played: for every labelled person of every scene, search the other frames, look at the
best five hits, confirm those of the same person and reject the others (detections of nobody too),
then search again with the query and the confirmed as pictures of the person and the rejected as
others. Scored are the hits that were not looked at, in the first order and in the second: mean
average precision over the queries that leave one to find. Run it from the checkout, on predictions
of any system:

    fdps predict CARD --data prw --root ../shared/data/prw_c6 -o p.safetensors
    python benchmarks/feedback.py --predictions p.safetensors --root ../shared/data/prw_c6

Frames within ``--min-frame-gap`` of the query are left out.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score

from fdps.data import load_scenes
from fdps.predictions import load_predictions
from fdps.search.query.wanted import Wanted
from fdps.search.results.comparisons import Sightings, find_sightings

LOOKED_AT = 5
WEIGHTS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)


def main() -> None:
    """Play the user, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--predictions", type=Path, required=True)
    parser.add_argument("--data", default="prw", help="kind of data set")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--min-frame-gap", type=int, default=250)
    options = parser.parse_args()
    scenes = load_scenes(options.data, options.root, options.split)
    seen = find_sightings(load_predictions(options.predictions), scenes)
    rows = [
        row
        for query in np.flatnonzero(seen.people >= 0)
        if (row := play(seen, int(query), options.min_frame_gap)) is not None
    ]
    means = np.array(rows).mean(axis=0)
    print(f"{len(rows)} queries, mAP of the hits that were not looked at")
    print(f"  first order                 {means[0]:.3f}")
    print(f"  confirmed alone             {means[1]:.3f}")
    for weight, mean in zip(WEIGHTS[1:], means[2:], strict=True):
        print(f"  and rejected, weight {weight:<6} {mean:.3f}")


def play(seen: Sightings, query: int, gap: int) -> list[float] | None:
    """Average precision in the first order, and with each weight; ``None`` if nothing is left."""
    scene = seen.scenes[query]
    away = seen.scenes != scene
    if seen.frames is not None:
        away &= np.abs(seen.frames[seen.scenes] - seen.frames[scene]) > gap
    gallery = np.flatnonzero(away)
    wanted = Wanted.of(seen.embeddings[[query]])
    similarity = wanted.similarity(seen.embeddings[gallery])
    order = np.argsort(-similarity, kind="stable")
    looked_at, rest = gallery[order[:LOOKED_AT]], np.sort(order[LOOKED_AT:])
    is_right = seen.people[gallery[rest]] == seen.people[query]
    if not is_right.any():
        return None
    same = seen.people[looked_at] == seen.people[query]
    like = seen.embeddings[[query, *looked_at[same]]]
    unlike = seen.embeddings[looked_at[~same]]
    left = seen.embeddings[gallery[rest]]
    again = [Wanted.of(like, unlike, weight=weight).similarity(left) for weight in WEIGHTS]
    return [float(average_precision_score(is_right, s)) for s in (similarity[rest], *again)]


if __name__ == "__main__":
    main()
