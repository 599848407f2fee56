"""Choose who takes part: every model in every runtime that is wanted and can be had."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from fdps.bench.entrants import Entrant, OurModel
from fdps.embedders import find_model, is_card, is_exported
from fdps.errors import FdpsError, MissingDataError, UsageError
from fdps.export.choice import PYTORCH, RUNTIMES, kept_export
from fdps.runtime.exported import read_exported

ALL = (PYTORCH, *RUNTIMES)
"""The runtimes of a network of fdps."""


@dataclass(frozen=True)
class Plan:
    """Who takes part, and who does not.

    Args:
        entrants: By name, in the order of the models.
        left_out: Why the others do not, by name.
    """

    entrants: dict[str, Entrant] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def plan(
    models: Sequence[str],
    runtimes: Sequence[str] = (),
    *,
    tell: Callable[[str], None] = lambda text: None,
) -> Plan:
    """Find models, and export those that are wanted in other runtimes.

    Exports are kept in the folder of models, as ``--runtime`` keeps them. A card and a model that
    was exported already, in eight bits for example, run as they are.

    Args:
        models: As :func:`fdps.embedders.load` takes them.
        runtimes: Runtimes for networks of fdps; without any all that can be had, and whatever
            cannot be had is left out.
        tell: Called with what takes a while.

    Raises:
        MissingDataError: There is no such model.
        ModelError: A runtime that was named cannot run a network.
        UsageError: There is no such runtime, a package of it is missing, or a model is named twice.
    """
    unknown = [name for name in runtimes if name not in ALL]
    if unknown:
        raise UsageError(
            f"no runtime {unknown[0]!r}, choose from {', '.join(ALL)}",
            hint="eight bits are a model of their own: fdps export --int8 writes it",
        )
    if len({*models}) < len(models):
        raise UsageError("a model is named twice", hint="name each once")
    found = Plan()
    for model in models:
        place = _place(model)
        if is_card(place):
            found.entrants[model] = OurModel(model)
        elif is_exported(place):
            exported = read_exported(place)
            name = f"{model}, {exported.runtime} {exported.precision}"
            found.entrants[name] = OurModel(model)
        else:
            _add_runtimes(found, model, place, runtimes, tell)
    return found


def _add_runtimes(
    found: Plan,
    model: str,
    place: Path,
    runtimes: Sequence[str],
    tell: Callable[[str], None],
) -> None:
    """Add a network of fdps in every runtime that is wanted."""
    for runtime in runtimes or ALL:
        name = f"{model}, {runtime}"
        try:
            if runtime == PYTORCH:
                found.entrants[name] = OurModel(model)
                continue
            missing = [package for package in RUNTIMES[runtime] if not find_spec(package)]
            if missing:
                raise UsageError(
                    f"{runtime} needs {', '.join(missing)}, not installed here",
                    hint="pip install 'fdps[export]'",
                )
            tell(f"Exporting {model} for {runtime}")
            found.entrants[name] = OurModel(str(kept_export(place, model, runtime).parent))
        except FdpsError as error:
            if runtimes:
                raise
            found.left_out[name] = str(error)


def _place(model: str) -> Path:
    place = find_model(model)
    if not place.is_file():
        raise MissingDataError(
            f"no model {model}",
            hint="fdps models list shows what there is, fdps export writes one for another "
            "runtime; pictures are named by --pictures",
        )
    return place
