"""The runs that a target needs, with their recipes and the names of their folders."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal

from fdps.config import DataConfig, ModelConfig, Recipe, TwoStepConfig, load_recipe
from fdps.engine.tasks.scenes import training_hash
from fdps.errors import MissingDataError, UsageError
from fdps.reproduce.address import address
from fdps.reproduce.bench import Bench
from fdps.reproduce.variants import VARIANTS, Variant
from fdps.structures import SceneSet

RUNS = "runs"
CONFIGS = Path(__file__).resolve().parents[3] / "configs"
"""The recipes of the checkout that this package runs from; an installed package has none."""

Budget = Literal["small", "paper"]


@dataclass(frozen=True)
class PlannedRun:
    """A training, and the folder that it goes to.

    Args:
        variant: Row of a table.
        seed: Seed of the training.
        recipe: The recipe, complete; ``train.start_from``, or ``model.detector`` of two steps,
            names the folder of ``begins_from``.
        address: Name of all that decides what is learnt.
        folder: The run folder.
        begins_from: Run that has to be finished first.
    """

    variant: Variant
    seed: int
    recipe: Recipe
    address: str
    folder: Path
    begins_from: "PlannedRun | None" = None


@dataclass(frozen=True)
class Choice:
    """What all runs of a reproduction have in common.

    Args:
        budget: ``small``: recipes of this package that train in minutes; ``paper``: those of the
            paper's own setting.
        settings: Fields of every recipe to change, as ``section.field=value``.
        configs: Folder of the recipes of the paper's setting.
    """

    budget: Budget = "small"
    settings: tuple[str, ...] = ()
    configs: Path = CONFIGS


class Planner:
    """Makes and remembers the runs of a reproduction.

    Args:
        bench: The data.
        choice: What the runs have in common.
        out: Folder of the reproduction; runs go to ``runs/`` in it.
        scenes: Training scenes of the bench.

    Raises:
        UsageError: There are no recipes of this budget for the data.
    """

    def __init__(self, bench: Bench, choice: Choice, out: Path, scenes: SceneSet) -> None:
        if choice.budget == "paper" and not bench.family:
            raise UsageError(
                f"--budget paper has recipes for cuhk_sysu and prw, not for {bench.name}",
                hint="take --budget small, or write recipes: docs/guides/train.md",
            )
        self.bench, self.choice, self.out = bench, choice, out
        drawing = "" if bench.drawing is None else json.dumps(asdict(bench.drawing))
        self._data = training_hash(scenes) + drawing  # annotations do not tell how people look
        self._known: dict[tuple[str, int], PlannedRun] = {}

    def run(self, variant: Variant, seed: int) -> PlannedRun:
        """Plan the run of a variant with a seed.

        Raises:
            ConfigError: A field of the settings is unknown or out of range.
            MissingDataError: There is no recipe.
        """
        key = (variant.key, seed)
        if key not in self._known:
            self._known[key] = self._planned(variant, seed)
        return self._known[key]

    def _planned(self, variant: Variant, seed: int) -> PlannedRun:
        first = variant.begins_from or variant.detector
        before = self.run(VARIANTS[first], seed) if first else None
        recipe = self._recipe(variant, seed)
        name = address(recipe, self._data, before.address if before else "")
        if before is not None:
            recipe = _behind(recipe, str(before.folder.absolute()))
        return PlannedRun(variant, seed, recipe, name, self._folder(variant, seed, name), before)

    def _folder(self, variant: Variant, seed: int, name: str) -> Path:
        """Find the folder of an address, whatever its run was called; else name a new one."""
        for run in self._known.values():
            if run.address == name:
                return run.folder
        runs = self.out / RUNS
        found = sorted(runs.glob(f"*-{name}")) if runs.is_dir() else []
        return found[0] if found else runs / f"{variant.key}-seed{seed}-{name}"

    def _recipe(self, variant: Variant, seed: int) -> Recipe:
        after = [*variant.switches, *self._settings(variant), f"train.seed={seed}"]
        recipe = self._of_paper(variant, after) if self._is_paper else self._small(variant, after)
        data = DataConfig((self.bench.source("train"),), self.bench.source("test"))
        return replace(recipe, name=f"{variant.key}-seed{seed}", data=data)

    def _settings(self, variant: Variant) -> list[str]:
        """Return the settings that are for a variant: two steps have no proposals, for example."""
        if not variant.detector:
            return [*self.choice.settings]
        one, two = ({f"model.{f.name}" for f in fields(c)} for c in (ModelConfig, TwoStepConfig))
        return [s for s in self.choice.settings if s.partition("=")[0] not in one - two]

    @property
    def _is_paper(self) -> bool:
        return self.choice.budget == "paper"

    def _small(self, variant: Variant, after: Sequence[str]) -> Recipe:
        is_drawn = self.bench.drawing is not None
        more = variant.on_drawings if is_drawn else variant.on_photos
        steps = "two_step_" if variant.detector else ""
        file = files("fdps.reproduce") / f"{steps}{'drawn' if is_drawn else 'photos'}.toml"
        with as_file(file) as path:
            return load_recipe(path, [*variant.settings, *more, *after])

    def _of_paper(self, variant: Variant, after: Sequence[str]) -> Recipe:
        folder = self.choice.configs / self.bench.family
        if not folder.is_dir():
            raise MissingDataError(
                f"no recipes at {folder}",
                hint="those of the paper's setting are in configs/ of the source of fdps: "
                "--configs DIR",
            )
        own = folder / f"{variant.key}.toml"
        if own.is_file():
            return load_recipe(own, after)
        base = "two_step" if variant.detector else "fdps"
        return load_recipe(folder / f"{base}.toml", [*variant.settings, *after])


def _behind(recipe: Recipe, folder: str) -> Recipe:
    """Let a run begin with the weights of another one, or let that one find people for it."""
    if isinstance(recipe.model, TwoStepConfig):
        return replace(recipe, model=replace(recipe.model, detector=folder))
    return replace(recipe, train=replace(recipe.train, start_from=folder))


def in_order(runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    """List runs and those that they begin from, each once and after what it begins from.

    Example:
        >>> in_order([])
        []
    """
    found: dict[str, PlannedRun] = {}
    for run in runs:
        chain = [run]
        while chain[-1].begins_from is not None:
            chain.append(chain[-1].begins_from)
        for one in reversed(chain):
            found.setdefault(one.address, one)
    return list(found.values())
