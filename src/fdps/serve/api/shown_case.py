"""Cases as REST shows them."""

import math
from dataclasses import asdict

from fdps.names import printable
from fdps.search.index import Index
from fdps.search.store import ArchivedPerson
from fdps.serve.api.schemas_of_work import (
    CaseLineOut,
    CaseOut,
    JudgedOut,
    MissingOut,
    QueryPersonOut,
)
from fdps.serve.api.shown import shown_person
from fdps.serve.archives import ServedArchive
from fdps.serve.cases.case import Case, CaseLine
from fdps.serve.cases.export import Finding, findings


def shown_line(line: CaseLine, archive: ServedArchive) -> CaseLineOut:
    """Write a case for a list."""
    return CaseLineOut(**{**asdict(line), "archive": archive.key})


def shown_case(archive: ServedArchive, case: Case, index: Index) -> CaseOut:
    """Write a case with its candidates, as the archive knows them at present."""
    found = findings(case, index.store)
    case_id = case.line.id
    return CaseOut(
        **shown_line(case.line, archive).model_dump(),
        query=[
            QueryPersonOut(
                n=number,
                name=printable(person.name),
                box=person.box,
                score=person.score,
                is_unlike=person.is_unlike,
                crop=f"/api/v1/cases/{case_id}/query/{number}/crop" if person.crop else None,
            )
            for number, person in enumerate(case.query, start=1)
        ],
        confirmed=[_judged(archive, one) for one in found.confirmed],
        rejected=[_judged(archive, one) for one in found.rejected],
        missing=[
            MissingOut(
                scene=judged.scene,
                box=judged.place.box,
                verdict=judged.opinion,
                note=judged.note,
                judged=judged.time,
                judged_by=judged.by,
            )
            for judged in found.missing
        ],
    )


def _judged(archive: ServedArchive, finding: Finding) -> JudgedOut:
    candidate, judged = finding.candidate, finding.judged
    hit, scene = candidate.hit, candidate.scene
    assert scene is not None  # findings are of scenes that are there
    # The embedding is not shown.
    person = ArchivedPerson(hit.item, hit.scene, hit.box, hit.score, hit.box)
    return JudgedOut(
        **shown_person(archive, person, scene).model_dump(),
        rank=candidate.rank,
        similarity=None if math.isnan(hit.similarity) else hit.similarity,
        level=candidate.level,
        verdict=judged.opinion,
        note=judged.note,
        judged=judged.time,
        judged_by=judged.by,
    )
