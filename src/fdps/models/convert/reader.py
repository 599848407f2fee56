"""Open a pickled checkpoint where it can do no harm.

A pickle may run anything. So another process opens it, which has no network where the system lets
us cut it, a limit on memory and time, and torch's reader that knows tensors and plain values only.
What comes back are tensors in a safetensors file. Whatever goes wrong there, nothing is converted.

Run as a module, this is that process: ``python -m fdps.models.convert.reader FILE OUT``.
"""

import ctypes
import resource
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from fdps.errors import MissingDataError, ModelError

MOST_MEMORY = 8 * 2**30  # bytes; the largest public checkpoint takes less than one
MOST_SECONDS = 300
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
REFUSED = 3


def read_tensors(path: Path) -> dict[str, Any]:
    """Read the tensors of a checkpoint, by name.

    Returns:
        Tensors; of a file that holds more than a state dict, those of its ``model`` or
        ``state_dict``.

    Raises:
        MissingDataError: No such file.
        ModelError: It is no checkpoint, is damaged, or holds more than tensors and plain values.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise MissingDataError(f"no checkpoint at {path}", hint="give a .pth file of public code")
    with tempfile.TemporaryDirectory(prefix="fdps-convert-") as folder:
        out = Path(folder) / "tensors.safetensors"
        command = [sys.executable, "-P", "-m", "fdps.models.convert.reader", str(path), str(out)]
        try:
            ended = subprocess.run(
                command, capture_output=True, text=True, timeout=MOST_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise _refusal(path, f"reading it takes more than {MOST_SECONDS} s") from error
        if ended.returncode != 0:
            lines = ended.stderr.strip().splitlines()
            told = lines[-1] if lines and ended.returncode == REFUSED else "its reader ended early"
            raise _refusal(path, told)
        try:
            return load_file(out)
        except (SafetensorError, OSError) as error:
            raise _refusal(path, str(error)) from error


def _refusal(path: Path, why: str) -> ModelError:
    return ModelError(
        f"{path} cannot be converted: {why}",
        hint="only checkpoints of tensors and plain values are read, as torch.save writes them",
    )


def _state_dict(content: Any) -> dict[str, Any]:
    """Find the tensors in what torch has read."""
    import torch

    for key in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__} and no state dict")
    wrong = [name for name, value in content.items() if not isinstance(value, torch.Tensor)]
    if wrong or not content:
        raise ValueError(f"it holds no state dict: {wrong[0]!r} is no tensor" if wrong else "empty")
    return {str(name): value for name, value in content.items()}


def _cut_network() -> None:
    """Leave the network, where the system allows it."""
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET) != 0:
            libc.unshare(CLONE_NEWUSER | CLONE_NEWNET)


def _main(path: str, out: str) -> int:
    import torch
    from safetensors.torch import save_file

    _cut_network()
    for what, most in ((resource.RLIMIT_AS, MOST_MEMORY), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(what)
        resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard),) * 2)
    torch.set_num_threads(1)
    try:
        state = _state_dict(torch.load(path, map_location="cpu", weights_only=True))
        # Each tensor gets memory of its own: storages may overlap, or hold more than they show.
        save_file({k: value.detach().clone().contiguous() for k, value in state.items()}, out)
    except Exception as error:
        words = " ".join(str(error).split())[:300] or type(error).__name__
        sys.stderr.write(f"{words}\n")
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
