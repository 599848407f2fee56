"""The devices that a network can run on, and the processor and memory of this machine."""

import ctypes
import os
import platform
import re
import sys
from pathlib import Path

from fdps.errors import UsageError

DEVICES = "cpu, cuda, cuda:1 (a GPU by its number), mps (a Mac) or auto"

_GPU = re.compile(r"cuda(?::(\d{1,4}))?", re.ASCII)


def check_device_name(text: str) -> None:
    """Check the name of a device, wherever that device may be.

    Raises:
        UsageError: The name means no device.
    """
    if text not in {"cpu", "mps", "auto"} and not _GPU.fullmatch(text):
        raise UsageError(f"device must be {DEVICES}, got {text!r}")


def check_device(text: str) -> str:
    """Check the name of a device, and that this machine has it.

    Args:
        text: ``cpu``, ``cuda``, ``cuda:1``, ``mps`` or ``auto``, which takes a GPU if there is one.

    Returns:
        The name as torch takes it; never ``auto``.

    Raises:
        UsageError: The name means no device, or torch sees no such device here.

    Example:
        >>> check_device("cpu")
        'cpu'
    """
    check_device_name(text)
    if text == "cpu":
        return text  # torch need not be loaded to know that it is there
    import torch

    gpu = _GPU.fullmatch(text)
    if text == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if gpu is None:
        if not torch.backends.mps.is_available():
            raise UsageError("device mps is not here: it needs a Mac with its own GPU", hint=_CPU)
        return text
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if n_gpus == 0:
        raise UsageError(f"device {text} is not here: torch sees no GPU", hint=_CPU)
    if int(gpu[1] or 0) >= n_gpus:
        raise UsageError(
            f"device {text} is not here: torch sees {n_gpus} GPU{'s' * (n_gpus > 1)}",
            hint=f"choose one of cuda:0..cuda:{n_gpus - 1}" if n_gpus > 1 else "choose cuda:0",
        )
    return text


_CPU = "choose cpu, which is everywhere; fdps doctor shows what torch sees"


def n_threads() -> int:
    """Count the threads to compute with: ``OMP_NUM_THREADS``, else one per core."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdecimal() and int(wanted):
        return int(wanted)
    if hasattr(os, "sched_getaffinity"):  # only the cores of this process, where the system tells
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, for whatever asks for memory next.

    The C library of Linux gives a large array back to the system as soon as it is freed, and the
    system clears every page of the next one. A training step on a CPU frees and asks for the same
    arrays again and again: without this it takes 1.3 to 1.5 times as long, with the same numbers
    (docs/results/speed.md). The memory that a process holds at its peak is the same.

    Returns:
        Whether the C library could be told; others than that of GNU are left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(option, value) == 1 for option, value in _KEEP)


_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # of malloc.h
_KEEP = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 << 20))


def peak_process_gib() -> float:
    """Return the most memory that this process has held so far, in GiB."""
    try:  # ru_maxrss of a child begins with the size of its parent
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.partition("VmHWM:")[2].split()[0]) / 2**20
    except (OSError, IndexError):  # another system than Linux
        import resource

        unit = 1 if sys.platform == "darwin" else 2**10  # the unit of ru_maxrss is bytes or KiB
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def bf16_instructions() -> str:
    """Name the instructions of this processor for bf16; empty if none are known.

    Without them ``bf16-mixed`` saves memory, and takes up to several times as long as
    ``32-true``.
    """
    named = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512", "bf16": "Arm"}
    flags = _cpu_flags()
    return next((words for flag, words in named.items() if flag in flags), "")


def _cpu_flags() -> set[str]:
    """Return the flags of the first core, which Linux tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    found = (line for line in lines if line.startswith(("flags", "Features")))
    return set(next(found, "").split())
