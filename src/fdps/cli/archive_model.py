"""The model of an archive: the one given on the command line, else the one it remembers."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fdps.cli.progress import working
from fdps.errors import MissingDataError, ModelError
from fdps.names import printable

if TYPE_CHECKING:
    from fdps.query import Searcher
    from fdps.search import IndexInfo

MODEL_HELP = (
    "Run folder, weights, card, or a name of fdps models list. [default: the archive's; "
    "street-people for a new one]"
)
MIN_SCORE_HELP = "Leave out detections of a lower score. [default: the recipe's]"
DEVICE_HELP = "Device to run on: cpu, cuda, cuda:1, mps or auto."
RUNTIME_HELP = "What runs a network of fdps on the CPU; auto takes the quickest on this machine."
Runtime = Literal["pytorch", "onnx", "openvino", "auto"]


def remembered_as(model: Path) -> str:
    """Return the name of a model in an archive: its full path, or the name of bundled weights."""
    from fdps.embedders import find_model, is_bundled

    if is_bundled(model):
        return str(model)
    return str((model if model.exists() else find_model(model)).absolute())


def warn_of_limits(model_hash: str) -> None:
    """Say on stderr what bundled weights do not know, before anybody relies on what they find.

    Args:
        model_hash: Hash of the model in use; it also finds a copy of the weights at another place.
    """
    from fdps.bundled import NAMES, bundled_card

    for name in NAMES:
        card = bundled_card(name)
        if card.warning and model_hash and card.sha256.startswith(model_hash):
            print(f"Warning {name} {card.warning}", file=sys.stderr)


def load_model(
    place: str | Path,
    *,
    min_score: float | None,
    device: str,
    runtime: Runtime,
    quiet: bool = False,
) -> "Searcher":
    """Load a model in a runtime, and say on stderr which one was chosen.

    Args:
        place: Its run folder, weights, card, export or name.
        min_score: Least score of a detection.
        device: Device to run on.
        runtime: What runs the model.
        quiet: Show no sign of life while it is loaded, and not what was chosen.

    Raises:
        FdpsError: Those of :func:`fdps.embedders.load` and :func:`fdps.export.choice.load_in`.
    """
    chosen: list[str] = []
    with working(f"Loading {place}", hidden=quiet):
        if runtime == "pytorch":
            from fdps.embedders import load

            return load(place, min_score=min_score, device=device)
        from fdps.export.choice import load_in

        searcher = load_in(runtime, place, min_score=min_score, device=device, tell=chosen.append)
    for text in chosen if not quiet else ():
        print(f"Runtime {printable(text)}", file=sys.stderr)
    return searcher


@dataclass(frozen=True)
class ModelChoice:
    """The options that say which model looks at pictures, where, and what it leaves out."""

    model: Annotated[Path | None, typer.Option(metavar="RUN|WEIGHTS|CARD", help=MODEL_HELP)] = None
    min_score: Annotated[float | None, typer.Option(help=MIN_SCORE_HELP)] = None
    device: Annotated[str, typer.Option(help=DEVICE_HELP)] = "cpu"
    runtime: Annotated[Runtime, typer.Option(help=RUNTIME_HELP)] = "pytorch"

    def place(self, info: "IndexInfo") -> str:
        """Where the model of an archive is: as given, else as the archive remembers it."""
        return str(self.model or info.model)

    def load(self, place: str | Path, *, quiet: bool = False) -> "Searcher":
        """Load a model.

        Args:
            place: Its run folder, weights, card or name.
            quiet: Show no sign of life while it is loaded.

        Raises:
            MissingDataError: There is no model.
            ModelError: The weights are refused.
        """
        return load_model(
            place,
            min_score=self.min_score,
            device=self.device,
            runtime=self.runtime,
            quiet=quiet,
        )

    def load_for(self, archive: str, info: "IndexInfo", *, quiet: bool = False) -> "Searcher":
        """Load the model that made an archive.

        Args:
            archive: For messages.
            info: Stamp of the archive.
            quiet: Show no sign of life while it is loaded.

        Raises:
            MissingDataError: The model is not where the archive remembers it.
            ArchiveError: The model given is not the one that made the archive.
            ModelError: The weights are refused.
        """
        from fdps.embedders import find_model
        from fdps.search.store import check_model

        if self.model is None and not info.model:
            raise ModelError(f"{archive} does not remember its model", hint="give it: --model RUN")
        if self.model is None and not find_model(info.model).exists():
            raise MissingDataError(
                f"the model of {archive} is no longer at {info.model}",
                hint="give the place where it is now: --model RUN",
            )
        searcher = self.load(self.model or info.model, quiet=quiet)
        check_model(info, searcher.model_hash, archive)
        return searcher
