"""Values that are made again when they have been forgotten; bounded by their bytes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Cache(Generic[T]):
    """Keeps what was used last. Any thread may use it.

    Args:
        most_bytes: Bytes of all values together.
        size: Tells the bytes of a value.
    """

    def __init__(self, most_bytes: int, size: Callable[[T], int]) -> None:
        self._most_bytes, self._size = most_bytes, size
        self._values: OrderedDict[Hashable, T] = OrderedDict()
        self._n_bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> T | None:
        """Return a value, unless it was forgotten."""
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: Hashable, value: T) -> None:
        """Keep a value, and forget others for it; one that is too large is not kept."""
        n_bytes = self._size(value)
        with self._lock:
            if key in self._values:
                self._n_bytes -= self._size(self._values.pop(key))
            if n_bytes > self._most_bytes:
                return
            self._values[key] = value
            self._n_bytes += n_bytes
            while self._n_bytes > self._most_bytes:
                _, oldest = self._values.popitem(last=False)
                self._n_bytes -= self._size(oldest)
