"""The scalars of a run as TensorBoard events, where the package ``tensorboard`` is installed."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"

_FLUSH_S = 10  # seconds; the page of the run is renewed as often
_POSITION = ("step", "epoch", "seconds")  # the values that place a record are no scalars of it


class TensorBoardLog:
    """Writes every record of a run log as events too; without the package, does nothing.

    It is a watcher of :class:`fdps.engine.run_log.RunLog`. Leaving the context closes the file.

    Args:
        folder: Folder of the events; those of earlier sessions are continued.
        step: Position of the run. TensorBoard forgets later events: a session that was killed wrote
            them after its last checkpoint, and those steps are taken again.
    """

    def __init__(self, folder: Path, *, step: int = 0) -> None:
        self._writer = _writer(folder, step)

    def __enter__(self) -> "TensorBoardLog":
        return self

    def __exit__(self, *reason: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def step(self, record: Mapping[str, int | float]) -> None:
        """Write a line of the log, as ``train/…``."""
        self._write("train", record)

    def epoch(self, record: Mapping[str, int | float]) -> None:
        """Write a line of the epochs, as ``epoch/…``."""
        self._write("epoch", record)

    def _write(self, group: str, record: Mapping[str, int | float]) -> None:
        if self._writer is None:
            return
        for name, value in record.items():
            if name not in _POSITION:
                self._writer.add_scalar(f"{group}/{name}", value, int(record["step"]))


def _writer(folder: Path, step: int) -> "SummaryWriter | None":
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1, flush_secs=_FLUSH_S)
