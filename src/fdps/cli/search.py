"""``fdps search``: who in an archive looks like this person?"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fdps.cli.archive_model import DEVICE_HELP, MIN_SCORE_HELP, MODEL_HELP, load_model_of
from fdps.cli.hits_table import show_hits
from fdps.cli.query_person import described, query_person
from fdps.cli.reading import calibration_of, reading, reading_figures

if TYPE_CHECKING:
    from fdps.query import QueryPerson
    from fdps.search import Index
    from fdps.search.calibration import Calibration
    from fdps.structures import Hit

NOTHING_FOUND = 10
NOTE = (
    "Similarity is of appearance, mostly clothing; it is no proof of identity. "
    "These are candidates: check each one yourself."
)


def search(
    archive: Annotated[str, typer.Argument(metavar="NAME.fdps", help="Archive to search.")],
    query: Annotated[Path, typer.Option(metavar="PICTURE", help="Picture of the person.")],
    box: Annotated[
        str | None, typer.Option(metavar="X1,Y1,X2,Y2", help="The person, in pixels.")
    ] = None,
    point: Annotated[str | None, typer.Option(metavar="X,Y", help="A pixel on the person.")] = None,
    person: Annotated[
        int | None, typer.Option(metavar="N", help="Person N of those found, best first.")
    ] = None,
    top: Annotated[int, typer.Option(metavar="N", help="Results wanted.")] = 10,
    min_similarity: Annotated[
        float, typer.Option(help="Leave out results below, in [-1, 1].")
    ] = -1.0,
    cameras: Annotated[
        list[str] | None,
        typer.Option("--camera", metavar="NAME", help="Only this camera; repeatable."),
    ] = None,
    scenes: Annotated[
        str | None,
        typer.Option(metavar="PATTERN", help="Only scenes named so, as 'photos/hall/*'."),
    ] = None,
    min_height: Annotated[
        float, typer.Option(metavar="PIXELS", help="Only people at least so high.")
    ] = 0.0,
    after: Annotated[str, typer.Option(metavar="TIME", help="Only at this time, or later.")] = "",
    before: Annotated[str, typer.Option(metavar="TIME", help="Only before this time.")] = "",
    time_of_day: Annotated[
        str, typer.Option(metavar="HH:MM-HH:MM", help="Only at these hours of any day.")
    ] = "",
    source: Annotated[
        str, typer.Option(metavar="PATTERN", help="Only files whose path fits, as '*/gate.mp4'.")
    ] = "",
    fail_if_none: Annotated[
        bool, typer.Option("--fail-if-none", help="Exit with 10 if there is no result.")
    ] = False,
    model: Annotated[Path | None, typer.Option(metavar="RUN|WEIGHTS|CARD", help=MODEL_HELP)] = None,
    min_score: Annotated[float | None, typer.Option(help=MIN_SCORE_HELP)] = None,
    device: Annotated[str, typer.Option(help=DEVICE_HELP)] = "cpu",
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, nothing else.")
    ] = False,
) -> None:
    """Search an archive for a person seen in a picture."""
    from fdps.search import Index

    with Index.open(archive) as index:
        searcher = load_model_of(archive, index.info, model, min_score=min_score, device=device)
        wanted = query_person(searcher, query, box=box, point=point, person=person)
        hits = index.search(
            wanted,
            top,
            min_similarity=min_similarity,
            cameras=cameras or (),
            scenes=scenes or "",
            min_height=min_height,
            after=after,
            before=before,
            time_of_day=time_of_day,
            source=source,
        )
        place = str(model or index.info.model)
        calibration, why = calibration_of(index, place)
        if json_output:
            figures = _figures(archive, index, query, wanted, hits, calibration)
            print(json.dumps(figures | reading_figures(calibration, hits, len(index))))
        else:
            print(f"Query   {query}: {described(wanted.box.tolist())}, score {wanted.score:.2f}")
            print(f"Archive {archive}: {len(index)} people in {index.n_scenes} pictures")
            show_hits(index, hits, calibration)
            print("\n".join(reading(calibration, hits, len(index), place, why)))
            print(f"Note    {NOTE}")
    if fail_if_none and not hits:
        raise typer.Exit(NOTHING_FOUND)


def _figures(
    archive: str,
    index: "Index",
    picture: Path,
    wanted: "QueryPerson",
    hits: "list[Hit]",
    calibration: "Calibration | None",
) -> dict[str, Any]:
    rows = []
    for rank, hit in enumerate(hits, start=1):
        scene = index.scene(hit.scene)
        rows.append(
            {
                "rank": rank,
                "similarity": hit.similarity,
                "level": calibration.level(hit.similarity) if calibration else None,
                "scene": hit.scene,
                "box": hit.box.tolist(),
                "score": hit.score,
                "item": hit.item,
                "path": scene.path if scene else None,  # None: removed since the search
                "camera": scene.camera if scene else None,
                "time": scene.time if scene else None,
                "offset_s": scene.offset_s if scene else None,
            }
        )
    return {
        "archive": archive,
        "n_people": len(index),
        "n_scenes": index.n_scenes,
        "query": {"picture": str(picture), "box": wanted.box.tolist(), "score": wanted.score},
        "hits": rows,
        "note": NOTE,
    }
