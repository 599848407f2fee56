"""The machine as ``fdps doctor`` sees it: cores, memory, GPUs, compiler, disk."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

GIB = 2**30
LITTLE_DISK_GIB, NO_DISK_GIB = 5.0, 0.1
LITTLE_MEMORY_GIB = 2.0
CONTAINER = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Args:
        name: What was looked at.
        status: ``note`` is worth knowing; with a ``problem`` fdps does not run.
        found: What there is; of a problem, why it is one.
        remedy: What to do about it; empty where there is nothing to do.
    """

    name: str
    status: Literal["ok", "note", "problem"]
    found: str
    remedy: str = ""


def processor() -> Iterator[Finding]:
    """Cores, threads, and whether bf16 is worth its while."""
    import torch

    from fdps.devices import bf16_instructions

    cores, threads = n_cores(), torch.get_num_threads()
    if threads < cores:
        remedy = "unset OMP_NUM_THREADS, unless several programs share the machine"
        yield Finding("CPU", "note", f"{cores} cores, torch uses {threads} of them", remedy)
    else:
        yield Finding("CPU", "ok", f"{cores} cores, {threads} threads")
    instructions = bf16_instructions()
    if instructions:
        yield Finding("CPU bf16", "ok", f"{instructions} instructions: bf16-mixed is faster")
    else:
        remedy = "train with the precision 32-true; bf16-mixed saves memory and takes longer"
        yield Finding("CPU bf16", "note", "no instructions for it found", remedy)


def graphics() -> Iterator[Finding]:
    """GPUs with their memory."""
    import torch

    if not torch.cuda.is_available():
        has_driver = shutil.which("nvidia-smi") is not None
        remedy = "install a torch that is built for CUDA" if has_driver else ""
        yield Finding("GPU", "note", "none that torch can use; everything runs on the CPU", remedy)
        return
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        with torch.cuda.device(index):
            bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
        words = f"{torch.cuda.get_device_name(index)}, {free / GIB:.1f} of {total / GIB:.1f} GiB"
        yield Finding(f"GPU {index}", "ok", f"{words} free, {bf16}")


def memory() -> Iterator[Finding]:
    """Memory of the machine."""
    known = memory_gib()
    if known is None:
        yield Finding("memory", "note", "cannot be told on this system")
        return
    total, available = known
    words = f"{available:.1f} of {total:.1f} GiB available"
    if available < LITTLE_MEMORY_GIB:
        yield Finding("memory", "note", words, "close other programs before you train")
    else:
        yield Finding("memory", "ok", words)


def compiler() -> Iterator[Finding]:
    """Find the compiler that ``torch.compile`` builds with on a CPU."""
    names = [os.environ.get("CXX", ""), "g++", "clang++", "c++", "cl"]
    path = next((found for name in names if name and (found := shutil.which(name))), None)
    if path:
        yield Finding("compiler", "ok", f"{path}, for train.compile")
    else:
        remedy = "install g++ or clang++ to use train.compile; nothing else needs one"
        yield Finding("compiler", "note", "no C++ compiler", remedy)


def disk(folder: Path) -> Iterator[Finding]:
    """Room in the folder where fdps would write."""
    free = shutil.disk_usage(folder).free / GIB
    words = f"{free:.1f} GiB free in {folder}"
    if not os.access(folder, os.W_OK):
        yield Finding("disk", "problem", f"{folder} cannot be written to", "work in another folder")
    elif free < NO_DISK_GIB:
        yield Finding("disk", "problem", words, "make room, or work in another folder")
    elif free < LITTLE_DISK_GIB:
        yield Finding("disk", "note", words, "a training with ResNet-50 keeps about 1 GiB")
    else:
        yield Finding("disk", "ok", words)


def n_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_gib() -> tuple[float, float] | None:
    """Memory of the machine, or of the container if that has less: in all, and available.

    ``None`` where the system has no ``/proc/meminfo``.
    """
    lines = _lines(Path("/proc/meminfo"))
    kib = {words[0].rstrip(":"): int(words[1]) for line in lines if len(words := line.split()) > 1}
    if not {"MemTotal", "MemAvailable"} <= kib.keys():
        return None
    total, available = kib["MemTotal"] / 2**20, kib["MemAvailable"] / 2**20
    limit, used = _lines(CONTAINER / "memory.max"), _lines(CONTAINER / "memory.current")
    if limit and used and limit[0].isdigit():
        # Cached files count as used, but make room when memory is asked for.
        stat = dict(line.split() for line in _lines(CONTAINER / "memory.stat"))
        held = int(used[0]) - int(stat.get("inactive_file", 0))
        total = min(total, int(limit[0]) / GIB)
        available = min(available, max(int(limit[0]) - held, 0) / GIB)
    return total, available


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
