"""The options of ``fdps reproduce``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdps.errors import UsageError

if TYPE_CHECKING:
    from fdps.reproduce.bench import Bench
    from fdps.reproduce.plan import Choice


@dataclass(frozen=True)
class Setting:
    """What the networks learn from, and how long."""

    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="synthetic-small, synthetic-1k (both drawn), prw_c6, or a kind: prw, cuhk_sysu, "
            "folder, coco ...",
        ),
    ] = None
    root: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the data set.")] = None
    budget: Annotated[
        str,
        typer.Option(
            metavar="small|paper",
            help="Recipes that train in minutes, or those of the paper's own setting.",
        ),
    ] = "small"
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.FIELD=VALUE",
            help="Change a field of every recipe; repeatable.",
        ),
    ] = None
    backbone_weights: Annotated[
        str | None,
        typer.Option(
            help="FILE (safetensors), a trained network, imagenet or none, instead of the recipes'."
        ),
    ] = None
    configs: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Recipes of the paper's setting. [default: configs/]"),
    ] = None

    def bench(self, out: Path) -> "Bench":
        """Find the data.

        Raises:
            UsageError: None are named, or the name is not known.
            MissingDataError: The folder is not there.
        """
        from fdps.reproduce.bench import DRAWN, find_bench

        if self.data is None:
            raise UsageError(
                "which data? What is asked for trains networks",
                hint=f"--data {DRAWN[0]}, which is drawn, or --data KIND --root DIR",
            )
        return find_bench(self.data, self.root, out)

    def choice(self) -> "Choice":
        """Return what the runs have in common.

        Raises:
            UsageError: The budget is not known.
        """
        import json

        from fdps.reproduce.plan import CONFIGS, Choice

        changes = list(self.settings or [])
        if self.backbone_weights is not None:
            changes.append(f"model.backbone_weights={json.dumps(self.backbone_weights)}")
        for budget in ("small", "paper"):
            if self.budget == budget:
                return Choice(budget, tuple(changes), self.configs or CONFIGS)
        raise UsageError(f"--budget must be small or paper, got {self.budget!r}")
