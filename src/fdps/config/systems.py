"""The names of the systems that a recipe may choose: strings alone, so that reading one is quick.

A system is a class (:class:`fdps.models.systems.system.System`). Those of fdps are in the table
below. An installed package adds its own by an entry point of the group ``fdps.systems``, and a
script by :func:`fdps.models.systems.register`.
"""

from functools import cache
from importlib.metadata import EntryPoint, entry_points

SYSTEMS: dict[str, object] = {
    "oim": "fdps.models.systems.table_1:OIM",
    "oim_base": "fdps.models.systems.table_1:OIMBase",
    "flatten": "fdps.models.systems.table_1:Flatten",
    "parameter_base": "fdps.models.systems.table_1:ParameterBase",
    "fdps": "fdps.models.systems.table_1:FDPS",
    "binet": "fdps.models.systems.binet:BINet",
    "apnet": "fdps.models.systems.apnet:APNet",
    "qeeps": "fdps.models.systems.qeeps:QEEPS",
    "igpn_detector": "fdps.models.systems.igpn:IGPNDetector",
    "nae_plus": "fdps.models.systems.nae_plus:NAEPlus",
}
"""Each system by its name: where its class is, or the class itself where a script registered it."""


TWO_STEP_SYSTEMS: dict[str, str] = {
    "plain": "fdps.models.reid.plain:PlainReid",
    "clsa": "fdps.models.reid.clsa:CLSA",
    "rdlr": "fdps.models.reid.rdlr:RDLR",
    "igpn": "fdps.models.reid.igpn:IGPN",
    "tcts": "fdps.models.reid.tcts:TCTS",
}
"""Each network on crops by its name: where its class is."""


def find_system(name: str) -> object:
    """Look a system up by its name.

    Returns:
        The class, or ``module:class`` as text, or the entry point of an installed package; ``None``
        where there is no such system.
    """
    return SYSTEMS.get(name) or _installed().get(name)


def system_names() -> list[str]:
    """List all names, those of installed packages last."""
    return [*SYSTEMS, *(name for name in _installed() if name not in SYSTEMS)]


@cache
def _installed() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group="fdps.systems")}
