"""``fdps demo MY_PICTURES``: find everybody in somebody's own pictures, and show who is seen most.

The pictures are only read. Everything that is made lies in one folder, and nothing leaves the
machine.
"""

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdps.cli.archive_model import ModelChoice, remembered_as, warn_of_limits
from fdps.cli.demo.mark import MARK, Known, earlier, put_mark
from fdps.cli.demo.options import Own
from fdps.cli.demo.said import print_table, stage
from fdps.cli.folders import make_folder
from fdps.cli.index.report import print_skipped, refuse_unreadable
from fdps.cli.progress import progress_bar
from fdps.cli.reading import remember_calibration
from fdps.cli.search.hits_table import appearance_rows
from fdps.errors import DataError, UsageError
from fdps.names import counted, printable, shortened, stored, typed

if TYPE_CHECKING:
    from fdps.search import Index, IngestOptions, IngestSummary
    from fdps.search.ingest.frames import Found
    from fdps.search.results.calibration import Calibration
    from fdps.search.results.seen_people import SeenPeople, SeenPerson

ARCHIVE, REPORT = "people.fdps", "report.html"


def default_out(sources: Sequence[str]) -> Path:
    """Name the folder for everything after the first source: ``demo-holiday`` for holiday.mp4."""
    first = Path(sources[0].removeprefix("@")).absolute()
    name = first.name if first.is_dir() else first.stem
    return Path(f"demo-{name or 'pictures'}")


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """What is shown at the end.

    Args:
        out: Folder of everything.
        archive: The archive, open.
        summary: What became of the files.
        seen: The people who are seen most often.
        calibration: That of the model, if it has one.
        uncalibrated: Why there is none, where there might be one.
        seconds: Time that each stage took.
    """

    out: Path
    archive: "Index"
    summary: "IngestSummary"
    seen: "SeenPeople"
    calibration: "Calibration | None"
    uncalibrated: str
    seconds: dict[str, float]


def demo_of_own(
    sources: Sequence[str],
    out: Path,
    options: Own,
    model: ModelChoice,
    *,
    json_output: bool,
    quiet: bool,
) -> None:
    """Find everybody, pick those who are seen most often, and write the report.

    Args:
        sources: Pictures, videos, folders, patterns and lists, as ``fdps index`` takes them.
        out: Folder for archive and report.
        options: How videos are sampled, and what the report shows.
        model: The model; by default the weights that come with fdps.
        json_output: Whether to print one object instead of a table.
        quiet: Show no progress.

    Raises:
        UsageError: The folder lies within the pictures, or it holds an archive of another origin.
        DataError: There is nothing to read, nobody is found, or one person once.
    """
    seconds = dict[str, float]()
    with stage("Find", seconds, quiet):
        from fdps.search import IngestOptions, find_pictures

        rules = IngestOptions.parse(every=options.every)
        found = find_pictures(sources, videos=True)
        _refuse_within(out, sources)
    with _opened(out, model, quiet=quiet) as archive:
        with stage("Index", seconds, quiet):
            _let_go(archive, found)
            summary = _index(archive, found, rules, quiet=quiet)
            remember_calibration(archive, model.model)
        _refuse_too_few(archive)
        from fdps.embedders.info import calibration_of

        calibration, why = calibration_of(archive, archive.info.model)
        with stage("Compare", seconds, quiet):
            from fdps.search.results.seen_people import find_seen_people

            seen = find_seen_people(archive.store, options.people, calibration=calibration)
        shown = _Shown(out, archive, summary, seen, calibration, why, seconds)
        with stage("Report", seconds, quiet):
            _report(shown, sources, options, quiet=quiet)
        _show_json(shown) if json_output else _show(shown)


def _refuse_within(out: Path, sources: Sequence[str]) -> None:
    """Keep the folders of the user as they are: nothing is written into them.

    Raises:
        UsageError: The results would lie in a folder that is looked at.
    """
    place = out.resolve()
    for source in map(Path, sources):
        if source.is_dir() and place.is_relative_to(source.resolve()):
            elsewhere = source.resolve().parent / default_out([str(source)])
            raise UsageError(
                f"the results would be written to {printable(out)}, which is within "
                f"{printable(source)}; your pictures are only read",
                hint=f"choose a folder elsewhere: --out {typed(elsewhere)}",
            )


def _opened(out: Path, choice: ModelChoice, *, quiet: bool) -> "Index":
    """Open the archive of an earlier run of the same model, or begin a new one.

    As with drawn scenes, a run with another model or least score starts over.
    """
    from fdps.search import Index

    make_folder(out)
    place = out / ARCHIVE
    known = earlier(place)
    model = choice.model or _remembered(known)
    searcher = choice.load(model, quiet=quiet)
    warn_of_limits(searcher.model_hash)
    mark = f"{MARK}, detections from {getattr(searcher, 'min_score', 0):g}"
    if known is not None:
        if (known.model_hash, known.mark) == (searcher.model_hash, mark):
            return Index.open(place, searcher)
        print(f"Again   {place} was made with another model or score", file=sys.stderr)
        shutil.rmtree(place)
    archive = Index.create(place, searcher, model=remembered_as(model))
    put_mark(archive, mark)
    return archive


def _remembered(known: Known | None) -> Path:
    """Return the model of an earlier run, if it is still there, else the default."""
    from fdps.bundled import DEFAULT
    from fdps.embedders import find_model, is_bundled

    if known is not None and (is_bundled(known.model) or find_model(known.model).exists()):
        return Path(known.model)
    return Path(DEFAULT)


def _let_go(archive: "Index", found: "Found") -> None:
    """Erase pictures of an earlier run that are not among those of this one."""
    paths = {stored(frame.path) for frame in found.frames}
    gone = [scene.name for scene in archive.store.find_all() if scene.path not in paths]
    if gone:
        archive.remove(scenes=gone)


def _index(
    archive: "Index", found: "Found", rules: "IngestOptions", *, quiet: bool
) -> "IngestSummary":
    try:
        with progress_bar("Index", hidden=quiet) as progress:
            summary = archive.add(found, options=rules, progress=progress)
    except KeyboardInterrupt:
        print("Interrupted; the same command continues where it was", file=sys.stderr)
        raise
    refuse_unreadable(summary)
    return summary


def _refuse_too_few(archive: "Index") -> None:
    """Refuse to compare nobody, or one sighting with nothing.

    Raises:
        DataError: There are fewer than two sightings.
    """
    pictures = counted(archive.n_scenes, "picture")
    if not len(archive):
        raise DataError(
            f"nobody was found in {pictures}",
            hint="people who are small, dark or cut off are missed: try --min-score 0.1, other "
            "pictures, or another --model",
        )
    if len(archive) == 1:
        raise DataError(
            f"one person was found, once, in {pictures}; there is nobody to compare them with",
            hint="give more pictures, a video, or try --min-score 0.1",
        )


def _report(shown: _Shown, sources: Sequence[str], options: Own, *, quiet: bool) -> None:
    from fdps.analysis.people_page import write_people_page

    with progress_bar("Draw", hidden=quiet) as progress:
        write_people_page(
            shown.out / REPORT,
            f"The people of {shortened([Path(source).name for source in sources], most=2)}",
            shown.seen,
            summary=_summary(shown.seen, options),
            sure=_what_is_sure(shown),
            calibration=shown.calibration,
            notes=_notes(shown),
            bystanders=options.bystanders,
            progress=progress,
        )


def _summary(seen: "SeenPeople", options: Own) -> str:
    """Say in a few sentences what was looked at and what was found."""
    is_video = any(scene.offset_s is not None for scene in seen.scenes)
    frames = f" (of a video, one every {options.every})" if is_video else ""
    people = counted(seen.n_people, "person") if seen.n_people == 1 else f"{seen.n_people:,} people"
    return (
        f"{counted(len(seen.scenes), 'picture')}{frames} were looked at. "
        f"{counted(seen.n_sightings, 'sighting')} make {counted(seen.n_appearances, 'appearance')} "
        f"that look like {people}; here are those who are seen most often."
    )


def _what_is_sure(shown: _Shown) -> list[str]:
    """Say what else is certain and what is not."""
    if shown.calibration is not None:
        from fdps.search.results.claims import expectation

        data = shown.calibration.data or "a labelled set"
        how = expectation(shown.calibration, shown.seen.n_sightings)
        level = f"Levels compare two sightings, as calibrated on {data}. {how}"
    else:
        reason = f"{shown.uncalibrated}. " if shown.uncalibrated else ""
        level = (
            f"{reason}This model is not calibrated: how often it is wrong is not known, but for "
            "what these pictures tell. fdps models calibrate learns it from people who are known."
        )
    return [
        level,
        "Within a video, sightings in a row are linked by place and looks. That seldom fails, most "
        "often where people cross.",
        "Looks are mostly clothes: two people in one uniform become one, and somebody who changes "
        "clothes, or shows their back, becomes two.",
        "People who were not found are nowhere here, and some things were taken for people.",
    ]


def _notes(shown: _Shown) -> dict[str, str]:
    from fdps.analysis.report import versions
    from fdps.embedders.info import describe

    info = describe(shown.archive.info.model)
    return {
        "Command": " ".join(["fdps demo", *sys.argv[2:]]),
        "Model": f"{info.name} ({info.model_hash[:12]}), licence {info.licence}",
        "Trained on": info.data or "unknown",
        "About it": info.notes or "–",
        "Calibration": shown.calibration.data if shown.calibration else "none",
        "Archive": f"{shown.out / ARCHIVE}: what everybody looks like, to search; erase the folder "
        "when you are done",
        "Seconds": ", ".join(f"{name} {value:.0f}" for name, value in shown.seconds.items()),
        "Versions": versions(),
    }


def _show(shown: _Shown) -> None:
    from fdps.analysis.people_page import about_joining, people_table

    print_table(people_table(shown.seen, shown.calibration, with_places=False))
    archive = shown.out / ARCHIVE
    print_skipped(str(archive), shown.archive, shown.summary)
    sure = [*about_joining(shown.seen, is_calibrated=shown.calibration is not None)]
    for line in (*sure, _what_is_sure(shown)[0]):
        print(f"Reading {printable(line)}")
    print(f"Report  {printable(shown.out / REPORT)}   ({sum(shown.seconds.values()):.0f} s in all)")
    print(f"Archive {printable(archive)}: erase {printable(shown.out)} when you are done")
    item = shown.seen.people[0].key.item
    print(f"Next    fdps search {typed(archive)} --item {item} --appearances")


def _show_json(shown: _Shown) -> None:
    seen = shown.seen
    print(
        json.dumps(
            {
                "report": str(shown.out / REPORT),
                "archive": str(shown.out / ARCHIVE),
                "n_scenes": len(seen.scenes),
                "n_sightings": seen.n_sightings,
                "n_appearances": seen.n_appearances,
                "n_people": seen.n_people,
                "min_similarity": seen.min_similarity,
                "n_strangers": len(seen.strangers),
                "n_strangers_so_alike": seen.strangers_as_alike(seen.min_similarity),
                "calibration": shown.calibration.data if shown.calibration else None,
                "people": [_figures(person, shown.calibration) for person in seen.people],
                "skipped": [
                    {"file": stored(file.path), "reason": file.reason}
                    for file in shown.summary.skipped
                ],
                "seconds": shown.seconds,
            }
        )
    )


def _figures(person: "SeenPerson", calibration: "Calibration | None") -> dict[str, Any]:
    appearances, perhaps = (
        [one.as_found for one in some] for some in (person.appearances, person.perhaps)
    )
    levels = {
        one.best.item: calibration.level(one.best.similarity)
        for one in (*appearances, *perhaps)
        if calibration is not None
    }
    return {
        "item": person.key.item,
        "n_scenes": person.n_scenes,
        "stays": person.stays,
        "least_similarity": person.least_similarity,
        "appearances": appearance_rows(appearances, levels),
        "perhaps": appearance_rows(perhaps, levels),
    }
