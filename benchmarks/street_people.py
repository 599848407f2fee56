"""Make the pictures that ``street-people`` learns from, as it was made.

    python benchmarks/street_people.py --people PEOPLE --teacher CARD --out data
    fdps train configs/street_people/street_people.toml

``PEOPLE`` has ``fashion`` (portraits), ``fashion_masks`` (masks of some of them), ``scenes``
(pictures with people) and ``empty`` (without). The result, in ``--out``:

* ``photographs``: portraits and scenes, with boxes and embeddings by the teacher, no identities;
* ``collages``: people of the masks pasted into scenes, in the splits train, val and test, with
  boxes, identities and the teacher's mean embedding of each identity.

Nobody who is searched in val or test has a portrait among the photographs. What was finished is not
made again.
"""

import argparse
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from fdps.cli.main import main as fdps
from fdps.data import load_scenes
from fdps.data.readers.folder import write_folder

ONE_PERSON = (("0366", "0649"), ("0312", "0398"))
"""Portraits that show one person in one outfit, found by eye; they are one cut-out person."""
EMPTY_MASK = "0536"


def main() -> None:
    """Parse the command line and make what is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=Path, required=True, metavar="DIR")
    parser.add_argument("--teacher", type=Path, required=True, metavar="CARD")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--scenes", type=int, default=3000, help="training collages")
    parser.add_argument("--held-out-scenes", type=int, default=300, help="of each other split")
    options = parser.parse_args()
    people, out, teacher = options.people, options.out, str(options.teacher)
    labelled, plain = out / "labelled", out / "plain_collages"
    cut_out(people, out)
    run(
        labelled,
        *("label", str(people / "fashion"), str(people / "scenes"), "--teacher", teacher),
        *("--sure", "0.35", "--doubtful", "0.15"),
    )
    run(
        plain,
        *("collage", "--cutouts", str(out / "cutouts"), "--masks", str(out / "masks")),
        *("--backgrounds", str(people / "empty"), "--backgrounds-with-people", str(labelled)),
        *("--scenes", str(options.scenes), "--shares", "0.82,0.09,0.09", "--workers", "2"),
        *("--val-scenes", str(options.held_out_scenes)),
        *("--test-scenes", str(options.held_out_scenes)),
    )
    leave_out_held(labelled, plain, out / "photographs")
    run(
        out / "collages",
        *("label", "--root", str(plain), "--teacher", teacher, "--per-identity"),
    )


def run(made: Path, verb: str, *arguments: str) -> None:
    """Run ``fdps data VERB`` to write a folder, unless that is there."""
    if (made / "fdps.toml").exists():
        return
    to = [str(made)] if verb == "collage" else ["-o", str(made)]
    status = fdps(["data", verb, *to, *arguments])
    if status:
        sys.exit(status)


def cut_out(people: Path, out: Path) -> None:
    """Copy the portraits that have a mask, with portraits of one person in one folder."""
    folders = {name: "_".join(pair) for pair in ONE_PERSON for name in pair}
    for mask in sorted((people / "fashion_masks").iterdir()):
        if mask.stem == EMPTY_MASK:
            continue
        for folder, file in (
            ("cutouts", people / "fashion" / f"{mask.stem}.jpg"),
            ("masks", mask),
        ):
            to = out / folder / folders.get(mask.stem, "") / file.name
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, to)


def leave_out_held(labelled: Path, collages: Path, out: Path) -> None:
    """Write the labelled pictures without portraits of anybody in val or test collages."""
    document = json.loads((collages / "annotations.json").read_text(encoding="utf-8"))
    splits = {image["id"]: image["split"] for image in document["images"]}
    held = {
        Path(each["cutout"]).name
        for each in document["annotations"]
        if "cutout" in each and splits[each["image_id"]] != "train"
    }
    scenes = load_scenes("folder", labelled, "train")
    kept = tuple(
        scene
        for scene in scenes.scenes
        if not (Path(scene.name).parts[0] == "fashion" and Path(scene.name).name in held)
    )
    print(f"Leave out {len(scenes) - len(kept)} of {len(scenes)} pictures, of people held out")
    write_folder(out, {"train": replace(scenes, scenes=kept)}, name="photographs")


if __name__ == "__main__":
    main()
