"""What a target has come to."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fdps.analysis.page import Plot
from fdps.reproduce.tables import ResultTable


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """What a target has come to.

    Args:
        title: Heading of its section on the page.
        tables: Tables, to be written as files as well.
        plots: Figures by name of their files.
        facts: Further values for ``figures.json``.
    """

    title: str
    tables: tuple[ResultTable, ...] = ()
    plots: Mapping[str, Plot] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)
