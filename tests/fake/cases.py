"""Cases to try things on, and a process that edits them until it is killed."""

from pathlib import Path

import numpy as np

from fake.photos import unit_rows
from fdps.serve.cases.case import Place, QueryPerson
from fdps.serve.cases.store import CaseStore

ARCHIVE = "archive one"


def place(number: int = 0, *, left: float = 10.0, frame: int = 0) -> Place:
    """A person of 20 by 40 pixels in a file of this number."""
    return Place(f"{number:064x}", frame, (float(left), 5.0, left + 20.0, 45.0))


def person(number: int = 0, *, dim: int = 6, **more: object) -> QueryPerson:
    """Somebody to look for; each number looks otherwise."""
    embedding = unit_rows(np.random.default_rng(number), 1, dim)[0]
    crop = f"picture {number}".encode() * 3
    return QueryPerson("ann.jpg", (1.0, 2.0, 30.0, 40.0), 0.9, embedding, crop, **more)  # type: ignore[arg-type]


def edit_for_ever(path: Path, acknowledged: Path) -> None:
    """Make and change cases; write down every change after it was acknowledged."""
    store = CaseStore(path)
    with acknowledged.open("a", buffering=1) as log:
        number = len(acknowledged.read_text().splitlines())
        while True:
            case_id = store.create(ARCHIVE, f"case {number}", by="ann", query=[person(number)])
            log.write(f"create {case_id.line.id} case {number}\n")
            store.change(case_id.line.id, by="ann", notes=f"note {number}")
            log.write(f"notes {case_id.line.id} note {number}\n")
            for row in range(3):
                store.judge(case_id.line.id, place(row), "rejected", by="ann", note=f"n {number}")
                log.write(f"judge {case_id.line.id} {row} n {number}\n")
            number += 1
