"""What the ONNX parts of a two-step embedder have in common: how they are opened and named."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from fdps.runtime.network_input import part_hash
from fdps.runtime.onnx_session import open_session

_OF_CARDS = ("file", "sha256", "kind")
_LATER = {"smoothed": False}
"""Settings that were added later: models that leave them as they were keep their names."""


@dataclass(frozen=True, kw_only=True)
class PartSettings:
    """The settings that a network does not state itself.

    Attributes:
        LAYOUT: How its inputs and outputs are read, which belongs to the name of the part.
    """

    LAYOUT: ClassVar[str]

    size: tuple[int, ...] = ()
    """Height and width of the input; empty takes those of the file."""

    def hash_with(self, path: Path) -> str:
        """Name the part that a file makes with these settings, without opening the network.

        Raises:
            MissingDataError: There is no such file.
            ModelError: The file is not an ONNX network, or it keeps weights outside its folder.
        """
        # A card adds the place of the file, which changes nothing.
        names = [item.name for item in fields(self) if item.name not in _OF_CARDS]
        values = {name: getattr(self, name) for name in names}
        values = {k: v for k, v in values.items() if k not in _LATER or v != _LATER[k]}
        return part_hash(path, {"kind": self.LAYOUT, **values})


SettingsT = TypeVar("SettingsT", bound=PartSettings)


class OnnxPart(Generic[SettingsT]):
    """A network as an ONNX file; which inputs and outputs it has, the class of the part says.

    Args:
        path: The ONNX file.
        settings: The settings that the file does not state.
        threads: Number of processor threads of the network.

    Attributes:
        path: The ONNX file.
        session: The network, opened.
        model_hash: Hash that identifies the weights and the settings.

    Raises:
        MissingDataError: There is no such file.
        ModelError: The file is not an ONNX network, has another input or output, or keeps weights
            outside its folder.
        UsageError: onnxruntime is not installed.
    """

    def __init__(self, path: Path, settings: SettingsT, *, threads: int) -> None:
        self.path, self._settings = path, settings
        self.session = open_session(path, threads=threads)
        self.model_hash = settings.hash_with(path)
