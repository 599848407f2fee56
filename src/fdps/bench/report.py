"""What a measurement found, as numbers and as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fdps.names import printable


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of a model.

    Args:
        seconds: Median over looks.
        flops: Floating-point operations of convolutions and matrix products, mean over pictures.
        peak_flops: Operations a second of a matrix product on this machine.
    """

    seconds: float
    flops: float
    peak_flops: float

    @property
    def share_of_peak(self) -> float:
        """Operations a second as a share of the peak; more than 1 is possible in eight bits."""
        return self.flops / self.seconds / self.peak_flops if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One model in one runtime.

    Args:
        per_second: Pictures a second, from file to embeddings.
        p50_s: Seconds within which half of the looks are done.
        p95_s: Seconds within which 95 of 100 looks are done.
        times_first: How many times as fast as the first row, median over turns.
        people: People found, mean over looks.
        peak_memory_mib: Most memory that its process has held; libraries and weights included.
        flops: Floating-point operations for a picture.
        share_of_peak: Those a second, as a share of the peak.
        stages: By name, in the order in which they run.
    """

    per_second: float
    p50_s: float
    p95_s: float
    times_first: float
    people: float
    peak_memory_mib: float
    flops: float
    share_of_peak: float
    stages: Mapping[str, Stage]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A measurement.

    Args:
        threads: Number of processor threads of each model.
        n_pictures: Number of pictures.
        rounds: How often each was looked at.
        peak_flops: Operations a second of a product of matrices in float32, median over turns.
        rows: By name; the first is what the others are compared with.
    """

    threads: int
    n_pictures: int
    rounds: int
    peak_flops: float
    rows: Mapping[str, Row]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        return {
            "threads": self.threads,
            "n_pictures": self.n_pictures,
            "rounds": self.rounds,
            "peak_flops": self.peak_flops,
            "rows": {name: _plain(row) for name, row in self.rows.items()},
        }

    def lines(self) -> list[str]:
        """Return a table of models, and one of their stages."""
        heads = ["model", "per s", "× first", "p50 ms", "p95 ms", "MiB", "people", "GFLOP", "peak"]
        rows = [
            [
                printable(name),
                f"{row.per_second:.2f}",
                f"{row.times_first:.2f}",
                f"{1000 * row.p50_s:.1f}",
                f"{1000 * row.p95_s:.1f}",
                f"{row.peak_memory_mib:.0f}",
                f"{row.people:.1f}",
                f"{row.flops / 1e9:.3g}",
                f"{row.share_of_peak:.0%}",
            ]
            for name, row in self.rows.items()
        ]
        stages = [
            [
                printable(name),
                stage,
                f"{1000 * found.seconds:.1f}",
                f"{found.flops / 1e9:.3g}",
                f"{found.share_of_peak:.0%}",
            ]
            for name, row in self.rows.items()
            for stage, found in row.stages.items()
        ]
        return [
            *_table(heads, rows, n_words=1),
            "",
            *_table(["model", "stage", "ms", "GFLOP", "peak"], stages, n_words=2),
            "",
            f"Peak    {self.peak_flops / 1e9:.0f} GFLOP/s: a product of matrices in float32 on "
            f"{self.threads} thread{'s' * (self.threads > 1)}, measured in the same turns",
        ]


def _plain(row: Row) -> dict[str, Any]:
    stages = {
        name: {
            "seconds": stage.seconds,
            "flops": stage.flops,
            "share_of_peak": stage.share_of_peak,
        }
        for name, stage in row.stages.items()
    }
    return {
        "per_second": row.per_second,
        "p50_s": row.p50_s,
        "p95_s": row.p95_s,
        "times_first": row.times_first,
        "people": row.people,
        "peak_memory_mib": row.peak_memory_mib,
        "flops": row.flops,
        "share_of_peak": row.share_of_peak,
        "stages": stages,
    }


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, n_words: int) -> list[str]:
    """Align cells: words to the left, numbers to the right."""
    cells = [heads, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    return [
        "  ".join(
            cell.ljust(width) if column < n_words else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
