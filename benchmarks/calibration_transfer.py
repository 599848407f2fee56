"""Hold a calibration against a set that it was not made of: does it promise too much there?

    fdps models calibrate street-people --data folder --root collages --split test
    python benchmarks/calibration_transfer.py street-people --data prw --root DIR

The wrong candidates that the calibration of a model expects in an archive of ``--archive`` people
stand beside those that a calibration made of the given set expects, at several similarities.
"""

import argparse
import sys
from pathlib import Path

import fdps
from fdps.data import load_scenes
from fdps.embedders import find_model
from fdps.embedders.info import read_calibration
from fdps.engine.predict import predict
from fdps.errors import FdpsError
from fdps.predictions import load_predictions
from fdps.search.results.calibration import calibrate
from fdps.search.results.comparisons import compare, find_sightings


def main() -> None:
    """Parse the command line, compare, print Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a calibrated model")
    parser.add_argument("--data", required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--predictions", type=Path, help="of this model [default: predict now]")
    parser.add_argument("--archive", type=int, default=10_000, metavar="PEOPLE")
    options = parser.parse_args()
    searcher = fdps.load(options.model)
    given = read_calibration(find_model(options.model), searcher.model_hash)
    if given is None:
        sys.exit(f"error: {options.model} has no calibration\n  make one: fdps models calibrate")
    scenes = load_scenes(options.data, options.root, options.split)
    file = options.predictions
    found = predict(searcher, scenes) if file is None else load_predictions(file)
    here = calibrate(compare(find_sightings(found, scenes)), model_hash=searcher.model_hash)
    print(
        "| similarity | expected by the calibration | by this set | too few by |\n|---|---|---|---|"
    )
    for similarity in (given.worth_a_look, 0.7, given.strong):
        promised, counted = (
            each.expected_wrong(similarity, options.archive).mean for each in (given, here)
        )
        ratio = counted / promised
        print(f"| {similarity:.3f} | {promised:.2f} | {counted:.2f} | {ratio:.1f} times |")


if __name__ == "__main__":
    try:
        main()
    except FdpsError as error:
        sys.exit(f"error: {error}\n  {error.hint}".rstrip())
