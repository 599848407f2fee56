"""What REST takes and gives, as OpenAPI describes it."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MOST_RESULTS = 500
LARGEST_ITEM = 2**63 - 1
_MOST_PICTURES = 50

Name = Annotated[str, Field(max_length=500)]
Selection = Annotated[
    str,
    Field(
        max_length=100, examples=["item:17"], description="`item:N`, `QUERY:n`, or `case:CASE:n`."
    ),
]
Similarity = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]
Pixel = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]


class Given(BaseModel):
    """What clients send: a field that is unknown is an error, not a wish that is passed over."""

    model_config = ConfigDict(extra="forbid")


class SceneOut(BaseModel):
    """One picture, or one frame of a video. ``path_name`` is the name of its file alone."""

    key: str
    name: str
    width: int
    height: int
    camera: str | None
    time: str | None
    offset_s: float | None
    frame: int | None
    path_name: str
    n_people: int | None = None


class PersonOut(BaseModel):
    """Somebody in an archive; ``box`` is x1, y1, x2, y2 in pixels of the scene."""

    item: int
    box: tuple[float, float, float, float]
    score: float
    scene: SceneOut
    crop: str
    picture: str


class AppearanceOut(BaseModel):
    """The sightings of one person in a row."""

    n: int
    first: str | None
    last: str | None
    items: list[int]


class HitOut(PersonOut):
    """A candidate: a person of similar appearance, which is no proof of identity."""

    rank: int
    similarity: float
    level: Literal["strong", "worth a look", "weak"] | None
    appearance: AppearanceOut | None = None


class HistogramOut(BaseModel):
    """How similar everybody is who was looked at."""

    edges: list[float]
    counts: list[int]


class MarksOut(BaseModel):
    """A figure for each of the two levels."""

    strong: float
    worth_a_look: float


class SearchIn(Given):
    """Whom to look for, and where."""

    archive: Annotated[str, Field(max_length=200)] | None = None
    like: Annotated[list[Selection], Field(min_length=1, max_length=_MOST_PICTURES)]
    unlike: Annotated[list[Selection], Field(max_length=_MOST_PICTURES)] = []
    top: Annotated[int, Field(ge=1, le=MOST_RESULTS)] = 50
    min_similarity: Similarity | None = None
    cameras: Annotated[list[Name], Field(max_length=100)] = []
    after: Annotated[str, Field(max_length=64)] = ""
    before: Annotated[str, Field(max_length=64)] = ""
    time_of_day: Annotated[str, Field(max_length=32)] = ""
    min_height: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = 0.0
    scenes: Name = ""
    source: Name = ""
    group: Literal["none", "appearance"] = "none"
    rerank: Literal["", "expansion", "k-reciprocal"] | None = None
    purpose: Name = ""


class SearchOut(BaseModel):
    """Candidates, best first, and how to read them."""

    archive: str
    n_people: int
    n_looked_at: int
    took_ms: float
    histogram: HistogramOut | None
    marks: MarksOut | None
    expected_wrong: MarksOut | None
    reading: str
    unrecorded: str
    hits: list[HitOut]


class FoundOut(BaseModel):
    """Somebody in a query picture, numbered from 1."""

    n: int
    box: tuple[float, float, float, float]
    score: float


class QueryOut(BaseModel):
    """A query picture. Boxes are in its own pixels; what ``picture`` shows may be smaller."""

    id: str
    archive: str
    width: int
    height: int
    expires: str
    people: list[FoundOut]
    picture: str


class SelectIn(Given):
    """One of a person that was found, a point on a person, and a box around one."""

    person: Annotated[int, Field(ge=1, le=100_000)] | None = None
    point: tuple[Pixel, Pixel] | None = None
    box: tuple[Pixel, Pixel, Pixel, Pixel] | None = None


class SelectOut(BaseModel):
    """A selection, to be named in ``like`` or ``unlike`` of a search."""

    selection: str
    n: int
    box: tuple[float, float, float, float]
    score: float


class ScenesOut(BaseModel):
    """Some of the scenes."""

    total: int
    scenes: list[SceneOut]


class SceneWithPeopleOut(BaseModel):
    """A scene, everybody in it, and the scenes just before and after."""

    scene: SceneOut
    picture: str
    people: list[PersonOut]
    before: list[SceneOut]
    after: list[SceneOut]


class CameraOut(BaseModel):
    """One camera; the empty name stands for unknown."""

    name: str
    n_scenes: int
    n_people: int
    first: str | None
    last: str | None


class ArchiveOut(BaseModel):
    """One archive. ``why_blind`` tells why its model cannot look at pictures; else it is empty."""

    id: str
    name: str
    n_people: int
    n_scenes: int
    cameras: list[str]
    first: str | None
    last: str | None
    model: str
    calibrated: bool
    levels: MarksOut | None
    purpose_required: bool
    why_blind: str


class BarOut(BaseModel):
    """One appearance at a camera; ``n`` sightings, of which ``item`` is the most similar."""

    first: str
    last: str
    item: int
    similarity: float | None
    n: int


class RowOut(BaseModel):
    """The appearances at one camera."""

    name: str
    bars: list[BarOut]


class TimelineOut(BaseModel):
    """Who was seen where and when; ``n_without_time`` sightings have no known time."""

    cameras: list[RowOut]
    first: str | None
    last: str | None
    n_without_time: int


class PointOut(BaseModel):
    """A point of a calibration."""

    similarity: float
    wrong: float
    low: float
    high: float
    kept: float


class ModelOut(BaseModel):
    """The model of an archive; ``limits`` says what it does not know."""

    name: str
    kind: str
    licence: str
    data: str
    data_licence: str
    metrics: dict[str, float]
    model_hash: str
    notes: str
    limits: str
    problem: str
    levels: MarksOut | None
    calibrated_on: str
    calibration: list[PointOut]
