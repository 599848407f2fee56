"""From the checkpoint of public code to a weights file of fdps."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fdps.errors import ModelError
from fdps.models import build_system
from fdps.models.convert.layouts import recognise, renamed, settings_of
from fdps.models.convert.reader import read_tensors
from fdps.models.weights import save_weights
from fdps.weights_file import Origin

LICENCE = "research-only"
"""Public checkpoints are trained on data sets that may be used for research alone."""


@dataclass(frozen=True)
class Conversion:
    """What was converted.

    Args:
        system: Whose checkpoint it was.
        source: The public code that writes such checkpoints.
        sha256: Of the checkpoint.
        n_persons: Training identities.
        fates: What became of each tensor of the checkpoint, by its name there.
    """

    system: str
    source: str
    sha256: str
    n_persons: int
    fates: dict[str, str]

    @property
    def dropped(self) -> dict[str, str]:
        """The tensors that were left, and why."""
        return {name: fate for name, fate in self.fates.items() if fate.startswith("dropped")}


def convert_checkpoint(path: Path, out: Path) -> Conversion:
    """Convert a checkpoint of NAE, NAE+, HOIM, SeqNet or OIMNet++; it is recognised by its tensors.

    Args:
        path: As public code saves it: a state dict, or a dict with one under ``model``.
        out: The weights file to write; an older one is replaced whole or not at all.

    Raises:
        MissingDataError: No such file.
        ModelError: It is no checkpoint, of no known system, lacks a tensor, or one does not fit.
        OSError: The file cannot be written.
    """
    tensors = read_tensors(path)
    layout = recognise(tensors)
    account = renamed(layout, tensors)
    model, loss, n_persons = settings_of(layout, tensors)
    net, _ = build_system(model, loss, n_persons)
    try:
        net.load_state_dict(account.tensors)
    except RuntimeError as error:
        told = " ".join(str(error).split("\n\t")[1].split()) if "\n\t" in str(error) else str(error)
        raise ModelError(
            f"{path} looks like a checkpoint of {layout.name} but does not fit: {told}",
            hint="it may be of another backbone or of a changed copy of that code",
        ) from error
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    origin = Origin(layout.name, layout.source, digest, LICENCE)
    save_weights(net, model, loss, n_persons, out, origin)
    return Conversion(layout.name, layout.source, digest, n_persons, account.fates)
