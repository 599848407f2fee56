"""Limits of the process that decodes a file; the kernel enforces them where it can."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

try:
    import resource
except ImportError:  # Windows; there the parent's clock alone ends a decoder
    resource = None  # type: ignore[assignment]

GRACE_S = 5.0
"""The child's own alarm rings so much later than the parent's clock: it is for orphans."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds for one file.

    Args:
        seconds: Without a picture or any other sign of progress; at least 1.
        memory: Bytes of address space of the process.
        frames: Frames of one video that are decoded, sampled or not.
    """

    seconds: float = 10.0
    memory: int = 1_500_000_000
    frames: int = 10_000_000


def restrict(limits: Limits) -> None:
    """Bound the memory of this process for good, and forbid it to write files."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; parents decide
    if resource is None:
        return
    for what, most in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_FSIZE, 0),  # of files; pipes are none
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


@contextmanager
def descriptors(spare: int) -> Iterator[None]:
    """Grant so many further open files or sockets, and no more, while the context lasts.

    A decoder that is talked into opening something else is refused by the kernel.
    """
    if resource is None:
        yield
        return
    probe = os.dup(0)
    os.close(probe)  # the lowest free number, and the limit is on numbers
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(probe + spare, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def arm(seconds: float) -> None:
    """End this process if it is not armed anew within the time, whatever it hangs in; 0 disarms."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds + GRACE_S if seconds else 0)
