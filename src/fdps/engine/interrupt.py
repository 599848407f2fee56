"""Stop between two steps instead of in the middle of one."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopFlag:
    """A flag that is up once somebody has asked to stop."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextmanager
def stop_between_steps() -> Iterator[StopFlag]:
    """Turn SIGINT and SIGTERM into a flag that the training loop reads after each step.

    A second signal acts at once. Outside the main thread, where Python delivers no signals, the
    flag stays down.
    """
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    old = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handler(number: int, frame: FrameType | None) -> None:
        flag.signal = number
        for restored, previous in old.items():
            signal.signal(restored, previous)

    for number in old:
        signal.signal(number, handler)
    try:
        yield flag
    finally:
        for number, previous in old.items():
            signal.signal(number, previous)
