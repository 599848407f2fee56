"""The rules that may be followed, and everything else that may be chosen in an evaluation."""

from dataclasses import dataclass, field
from typing import Literal

from fdps.errors import UsageError

RERANKS = ("none", "cbgm", "cbgm-mean", "k-reciprocal")
CAMERAS = ("all", "cross", "same")


@dataclass(frozen=True, slots=True)
class Rules:
    """The points in which rules of evaluation differ; docs/concepts/protocol.md has the reasons.

    Args:
        repeated_entries: A gallery list that names a scene again: ``counted``: among the scenes
            to find, but searched once; ``searched``: again, with the box of that entry;
            ``once``: as if it were listed once.
        keep_own_scene: Search the query's own scene where a list names it.
        trust_lists: The boxes of a gallery list tell who is where; a listed scene without a box
            does not show the person, whatever its annotations say.
        people_per_scene: Of a person who is annotated twice in a scene, ``first``: only the first
            box is right; ``each``: each is, and each is to be found.
        tied_ranks: Of equal similarities, ``later first``: that of the later gallery entry ranks
            first, as a reversed stable sort gives; ``wrong first``: a right one ranks last, so
            that nothing is gained by giving many people one embedding.
    """

    repeated_entries: Literal["counted", "searched", "once"]
    keep_own_scene: bool
    trust_lists: bool
    people_per_scene: Literal["first", "each"]
    tied_ranks: Literal["later first", "wrong first"]


REFERENCE = Rules(
    repeated_entries="counted",
    keep_own_scene=True,
    trust_lists=True,
    people_per_scene="first",
    tied_ranks="later first",
)
"""The public evaluation code of the field, oddities included."""

STRICT = Rules(
    repeated_entries="once",
    keep_own_scene=False,
    trust_lists=False,
    people_per_scene="each",
    tied_ranks="wrong first",
)
"""The same protocol without its oddities."""

PROTOCOLS = {"reference": REFERENCE, "strict": STRICT}


@dataclass(frozen=True, slots=True)
class RerankOptions:
    """Sizes of the re-rankings, each named after what it counts.

    Args:
        hits: CBGM: best hits of a query whose scenes are looked at. The public code takes 10 on
            CUHK-SYSU and 30 on PRW.
        people: CBGM: people of the query scene that are matched, the query among them. The
            public code takes 3 on CUHK-SYSU and 4 on PRW.
        shortlist: k-reciprocal: best hits of a query that are put in a new order.
        neighbours: k-reciprocal: size of a neighbourhood, k1 of the paper.
        averaged: k-reciprocal: neighbours whose neighbourhoods are averaged, k2 of the paper.
        weight: k-reciprocal: share of the plain distance in the sum of distances, lambda of the
            paper, in [0, 1].
    """

    hits: int = 30
    people: int = 4
    shortlist: int = 100
    neighbours: int = 20
    averaged: int = 6
    weight: float = 0.3

    def check(self) -> None:
        """Refuse values that make no sense.

        Raises:
            UsageError: A value is out of range; the message names it.
        """
        for name in ("hits", "people", "shortlist", "neighbours", "averaged"):
            if getattr(self, name) < 1:
                raise UsageError(
                    f"{name} of the re-ranking must be at least 1, got {getattr(self, name)}"
                )
        if not 0 <= self.weight <= 1:
            raise UsageError(f"weight of the re-ranking must be in [0, 1], got {self.weight}")


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """The choices that are open when predictions are scored.

    Args:
        protocol: ``reference``: the rules of the public evaluation code; ``strict``: the same
            without its defects. docs/concepts/protocol.md lists the differences.
        gallery: ``all``: the gallery list of each query, or every scene but its own where the
            data set has no lists. ``full``: the list (the shortest, where there are several),
            then every other scene. A number: the lists of that size, where the data set brings
            some; otherwise so many scenes drawn with ``seed``: every scene that shows the
            person, then others.
        seed: Seed of the drawn galleries. With one seed smaller galleries are part of larger ones.
        min_frame_gap: Scenes of the query's camera within so many frame numbers of it are
            ignored, neither right nor wrong; 0 ignores none.
        weight_by_score: Multiply each similarity by the detector score of the gallery person
            (confidence-weighted similarity, CWS).
        score_threshold: Detections below it do not exist.
        cameras: ``all``; ``cross``: scenes of the query's camera are not searched; ``same``: no
            others are.
        min_seconds_gap: The same as ``min_frame_gap``, in seconds.
        subset: Name of a list of queries that the data set brings, such as ``occlusion``.
        query_expansion: Average each query with so many of its best hits, and search again.
        rerank: How the best hits are put in a new order: ``none``, ``cbgm``, ``cbgm-mean`` (by the
            people around them, in the two public variants) or ``k-reciprocal``.
        rerank_options: Sizes of that.
        rules: Rules in place of those that ``protocol`` names.
    """

    protocol: str = "reference"
    gallery: int | Literal["all", "full"] = "all"
    seed: int = 0
    min_frame_gap: int = 0
    weight_by_score: bool = False
    score_threshold: float = 0.5
    cameras: str = "all"
    min_seconds_gap: float = 0.0
    subset: str | None = None
    query_expansion: int = 0
    rerank: str = "none"
    rerank_options: RerankOptions = field(default_factory=RerankOptions)
    rules: Rules | None = None

    @property
    def followed(self) -> Rules:
        """The rules that hold."""
        return self.rules or PROTOCOLS[self.protocol]

    def check(self) -> None:
        """Refuse values that make no sense.

        Raises:
            UsageError: A value is unknown or out of range; the message names it.
        """
        _check_known("protocol", self.protocol, tuple(PROTOCOLS))
        _check_known("cameras", self.cameras, CAMERAS)
        _check_known("rerank", self.rerank, RERANKS)
        if self.gallery not in ("all", "full") and (
            isinstance(self.gallery, str) or self.gallery < 1
        ):
            raise UsageError(
                f"gallery must be 'all', 'full' or at least 1 scene, got {self.gallery}"
            )
        for name in ("min_frame_gap", "min_seconds_gap", "query_expansion"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not 0 <= self.score_threshold <= 1:
            raise UsageError(f"score_threshold must be in [0, 1], got {self.score_threshold}")
        self.rerank_options.check()


def _check_known(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"unknown {name} {value!r}", hint=f"known: {', '.join(known)}")
