"""The start token and the sessions that it, or a password, begins."""

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

MIN_TOKEN = 32  # letters; of those that token_urlsafe writes, 192 bits
_MOST_SESSIONS = 1000


def cookie_name(port: int) -> str:
    """Return the name of the cookie of a session.

    A browser sends a cookie to every port of a host, so that two services on one machine would
    take the sessions of each other away if their cookies had one name.

    Example:
        >>> cookie_name(8899)
        'fdps_session_8899'
    """
    return f"fdps_session_{port}"


def new_token() -> str:
    """Draw a token of 256 bits."""
    return secrets.token_urlsafe(32)


def is_equal(given: str, secret: str) -> bool:
    """Compare a secret in a time that does not depend on how much of it is right."""
    return bool(secret) and hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())


@dataclass(frozen=True, slots=True)
class Session:
    """What a session remembers.

    Args:
        name: Name of the user; empty for whoever has the start token.
        stamp: Hash of the password when the session began: another one ends it.
        ends: Time of its end, on the clock ``time.monotonic``.
    """

    name: str
    stamp: str
    ends: float


class Sessions:
    """The sessions at this moment. Only hashes of their secrets are kept.

    Args:
        lifetime_s: Time for which a session lasts, in seconds.
    """

    def __init__(self, lifetime_s: float) -> None:
        self._lifetime_s = lifetime_s
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def begin(self, name: str, stamp: str = "") -> str:
        """Begin a session, and return its secret, which the cookie carries."""
        secret = new_token()
        with self._lock:
            self._sessions[_hash(secret)] = Session(
                name, stamp, time.monotonic() + self._lifetime_s
            )
            while len(self._sessions) > _MOST_SESSIONS:
                self._sessions.popitem(last=False)
        return secret

    def find(self, secret: str) -> Session | None:
        """Return the session of a secret, unless it has ended."""
        key = _hash(secret)
        with self._lock:
            session = self._sessions.get(key)
            if session is not None and session.ends < time.monotonic():
                del self._sessions[key]
                return None
            return session

    def end(self, secret: str) -> None:
        """End a session; one that is none is passed over."""
        with self._lock:
            self._sessions.pop(_hash(secret), None)


class Failures:
    """Counts failures, and tells when somebody has had too many of them lately.

    Args:
        most: Most failures within the time.
        within_s: The time, in seconds.
    """

    def __init__(self, most: int, within_s: float) -> None:
        self._most, self._within_s = most, within_s
        self._lock = threading.Lock()
        self._times: OrderedDict[str, list[float]] = OrderedDict()

    def wait_s(self, who: str) -> float:
        """Return for how long somebody has to wait; 0 where they need not."""
        with self._lock:
            times = self._recent(who)
            if len(times) < self._most:
                return 0.0
            return max(times[-self._most] + self._within_s - time.monotonic(), 0.0)

    def note(self, who: str) -> None:
        """Note a failure of somebody."""
        with self._lock:
            self._times[who] = [*self._recent(who), time.monotonic()][-self._most :]
            self._times.move_to_end(who)
            while len(self._times) > 10 * _MOST_SESSIONS:
                self._times.popitem(last=False)

    def forget(self, who: str) -> None:
        """Forget the failures of somebody who has succeeded."""
        with self._lock:
            self._times.pop(who, None)

    def _recent(self, who: str) -> list[float]:
        oldest = time.monotonic() - self._within_s
        return [moment for moment in self._times.get(who, []) if moment > oldest]


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
