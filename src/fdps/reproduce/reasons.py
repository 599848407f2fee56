"""What could hide that FDPS is ahead of OIM-base: both trained again with one thing changed.

The paper's Table 1 has FDPS well ahead of OIM-base. Where it is not, the reason may be a choice
that the paper leaves open or that differs between implementations. Each row of this table changes
one such choice for both systems, and shows what becomes of the difference between them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fdps.evaluation.comparison import Comparison, Difference, compare_systems
from fdps.evaluation.statistics import holm
from fdps.reproduce.plan import PlannedRun
from fdps.reproduce.scores import Scores
from fdps.reproduce.section import Section
from fdps.reproduce.tables import Cell, Measured, PValue, ResultTable
from fdps.reproduce.variants import VARIANTS, Variant

TITLE = "Reasons: what the distance of FDPS to OIM-base depends on"

_SYSTEMS = ("oim_base", "fdps")


@dataclass(frozen=True)
class Change:
    """Something that is changed for both systems.

    Args:
        key: Ends the names of its run folders; empty for the systems as they are.
        label: Name that the table prints.
        settings: Fields of every recipe, as ``section.field=value``.
        of: Systems that it changes; the other one stays as it is.
    """

    key: str
    label: str
    settings: tuple[str, ...] = ()
    of: tuple[str, ...] = _SYSTEMS

    def variant(self, system: str) -> Variant:
        """Return the row of a system under this change."""
        base = VARIANTS[system]
        if not self.settings or system not in self.of:
            return base
        return replace(
            base,
            key=f"{base.key}_{self.key}",
            label=f"{base.label}, {self.label}",
            switches=(*base.switches, *self.settings),
            on_photos=(),
            on_drawings=(),
        )


CHANGES = (
    Change("", "nothing"),
    Change(
        "background",
        "background in the norm of the embedding",
        ("model.embedding_norm=regions",),
    ),
    Change(
        "peak",
        "FDPS reads person/background from the peak",
        ('model.options={person_from="peak"}',),
        of=("fdps",),
    ),
    Change("whole", "gradients cut over the whole network", ("train.clip=whole",)),
    Change("long", "gradients cut at ten times the length", ("train.max_grad_norm=100.0",)),
    Change("map", "region maps of 7×7, as in the paper", ("model.region_size=[14,14]",)),
)
"""The changes, the systems as they are first.

The family of the paper puts the background into the statistics of the embedding, cuts gradients
over the whole network, and has region maps of 7×7.
"""


def variants(n_persons: int) -> list[Variant]:
    """List both systems under every change, each once.

    Args:
        n_persons: Training identities; nothing here depends on them.
    """
    rows = [change.variant(system) for change in CHANGES for system in _SYSTEMS]
    return [*{variant.key: variant for variant in rows}.values()]


def make(scores: Scores, runs: Mapping[str, Sequence[PlannedRun]]) -> Section:
    """Make the table of differences."""
    found = {change: _compared(scores, runs, change) for change in CHANGES}
    differences = [_difference(compared) for compared in found.values() if compared]
    corrected = iter(holm([difference.p_value for difference in differences]))
    rows: list[tuple[Cell, ...]] = [
        (change.label, *(_cells(compared, next(corrected)) if compared else ["failed"] * 7))
        for change, compared in found.items()
    ]
    table = ResultTable(
        "reasons",
        f"OIM-base and FDPS, both under OIM, with one thing changed, on {scores.bench.name}",
        (
            "changed",
            *(f"{label} {figure}" for label in ("OIM-base", "FDPS") for figure in ("AP", "mAP")),
            "FDPS - OIM-base, mAP",
            "95 %",
            "p",
        ),
        tuple(rows),
        "Per cent, mean ± standard deviation over seeds; the difference has a 95 % interval over "
        "queries and the p-value of a paired randomisation test of the mean over seeds, corrected "
        "by Holm for the number of rows.",
    )
    facts = {change.label: compared.json() for change, compared in found.items() if compared}
    return Section(TITLE, (table,), facts=facts)


def _compared(
    scores: Scores, runs: Mapping[str, Sequence[PlannedRun]], change: Change
) -> Comparison | None:
    """Compare both systems under a change; ``None`` if one of them has not finished."""
    contenders = []
    for system in _SYSTEMS:
        variant = change.variant(system)
        if (contender := scores.contender(variant, runs[variant.key])) is None:
            return None
        contenders.append(contender)
    return compare_systems(contenders)


def _difference(compared: Comparison) -> Difference:
    return compared.standings[1].differences["mAP"]


def _cells(compared: Comparison, p: float) -> list[Cell]:
    figures = [
        Measured(100 * figure.value, 100 * figure.deviation)
        for standing in compared.standings
        for figure in (standing.figures["ap"], standing.figures["mAP"])
    ]
    difference = _difference(compared)
    low, high = (100 * limit for limit in (difference.interval.low, difference.interval.high))
    return [*figures, 100 * difference.value, f"{low:+.1f} to {high:+.1f}", PValue(p)]
