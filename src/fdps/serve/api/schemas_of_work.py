"""What REST of cases, jobs and privacy takes and gives, as OpenAPI describes it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from fdps.decoding.sampling import DEFAULT_EVERY
from fdps.serve.api.schemas import Given, PersonOut, Selection
from fdps.serve.cases.export import Bystanders, Format

MOST_FORGOTTEN = 10_000
"""Most people in one request to forget."""

ArchiveId = Annotated[str | None, Field(max_length=200, description="Where several are served.")]
People = Annotated[
    list[Selection], Field(max_length=50, description="Selections, `item:N`, or `query:N`.")
]
Corners = tuple[float, float, float, float]


class CaseIn(Given):
    """A case to begin, with the people whom it looks for."""

    name: str
    purpose: str = ""
    notes: str = ""
    archive: ArchiveId = None
    like: People = Field(default_factory=list)
    unlike: People = Field(default_factory=list)


class CaseChangeIn(Given):
    """Changes of a case; what is left out stays. `query:N` is the Nth person of the case."""

    name: str | None = None
    purpose: str | None = None
    notes: str | None = None
    like: People | None = None
    unlike: People | None = None


class VerdictIn(Given):
    """A verdict on a candidate; `null` takes an earlier one back."""

    item: int
    verdict: Literal["confirmed", "rejected"] | None
    note: str | None = None


class ExportIn(Given):
    """What to write, and whether other people may be seen."""

    format: Format
    bystanders: Bystanders = "blur"
    purpose: Annotated[str, Field(max_length=2000)] = ""


class CaseLineOut(BaseModel):
    """A case in a list."""

    id: str
    archive: str
    name: str
    purpose: str
    notes: str
    created: str
    by: str
    changed: str
    changed_by: str
    version: int
    n_query: int
    n_confirmed: int
    n_rejected: int


class QueryPersonOut(BaseModel):
    """A person whom a case looks for, numbered from 1; ``crop`` is the address of a picture."""

    n: int
    name: str
    box: Corners
    score: float
    is_unlike: bool
    crop: str | None


class JudgedOut(PersonOut):
    """A candidate with the verdict on it."""

    rank: int
    similarity: float | None
    level: str | None
    verdict: str
    note: str
    judged: str
    judged_by: str


class MissingOut(BaseModel):
    """A verdict on a place where the archive has nobody at present."""

    scene: str
    box: Corners
    verdict: str
    note: str
    judged: str
    judged_by: str


class CaseOut(CaseLineOut):
    """A case with everything that belongs to it."""

    query: list[QueryPersonOut]
    confirmed: list[JudgedOut]
    rejected: list[JudgedOut]
    missing: list[MissingOut]


class FolderOut(BaseModel):
    """A folder below a root."""

    id: str
    name: str


class RootOut(BaseModel):
    """A folder that may be indexed, with those below it."""

    id: str
    name: str
    is_there: bool
    folders: list[FolderOut]


class JobIn(Given):
    """A folder to index, named by the identifiers of ``GET /roots``, never by a path."""

    root: Annotated[str, Field(max_length=100)]
    folder: Annotated[str, Field(max_length=100, description="Empty for the whole root.")] = ""
    archive: ArchiveId = None
    every: Annotated[str, Field(max_length=50, description="Frames of videos.")] = DEFAULT_EVERY
    camera: Annotated[str, Field(description="Camera that took these pictures.")] = ""
    again: Annotated[bool, Field(description="Look at known files again.")] = False


class JobOut(BaseModel):
    """A job; ``added`` and ``skipped`` are known at its end."""

    id: str
    archive: str
    folder: str
    every: str
    camera: str
    again: bool
    state: Literal["running", "done", "failed", "cancelled", "interrupted"]
    by: str
    created: str
    ended: str
    done: int
    total: int
    people: int
    added: int | None
    skipped: int | None
    eta_s: float | None
    message: str


class SkippedOut(BaseModel):
    """A file that was skipped; ``may_retry`` where it is below a root."""

    file: str
    reason: str
    may_retry: bool


class ForgetIn(Given):
    """People to erase for good."""

    archive: ArchiveId = None
    items: Annotated[list[int], Field(min_length=1, max_length=MOST_FORGOTTEN)]
    reason: str = ""
    dry_run: Annotated[bool, Field(description="Change nothing, only say what would go.")] = True


class CaseNameOut(BaseModel):
    """A case that something was erased from."""

    id: str
    name: str


class ForgottenOut(BaseModel):
    """What was erased, or would be; ``scenes`` names the pictures that show these people."""

    dry_run: bool
    n_people: int
    items: list[int]
    scenes: list[str]
    cases: list[CaseNameOut]
    n_query_people: int
    n_verdicts: int
    log_is_empty: bool


class AuditEntryOut(BaseModel):
    """One action."""

    seq: int
    time: str
    who: str
    action: str
    purpose: str
    details: Any
    hash: str


class AuditOut(BaseModel):
    """Entries of the audit, the newest first; ``verified`` where no entry was changed."""

    total: int
    head: str
    verified: bool
    faults: list[str]
    entries: list[AuditEntryOut]


class RetentionIn(Given):
    """How long an archive keeps its scenes, such as 12h, 30d or 2w, or forever."""

    keep: Annotated[str, Field(max_length=50)]
    by: Literal["added", "taken"] = "added"


class RetentionOut(BaseModel):
    """How long an archive keeps its scenes, how many are overdue, and cases as old as those."""

    keep: str
    by: Literal["added", "taken"]
    n_due: int
    old_cases: list[CaseNameOut]
