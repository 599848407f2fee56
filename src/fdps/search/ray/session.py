"""Connect to Ray, or start a private Ray that nobody else can reach."""

import functools
import logging
import os
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import util
from typing import Any

from fdps.errors import ResourceError, UsageError

LOCAL, AUTO = "local", "auto"
CLIENT_SCHEME = "ray://"
LOCAL_STORE_BYTES = 256 << 20
KNOCK_S = 5.0
_PLACE = re.compile(r"(?:ray://)?(?P<host>[^\s:/\[\]]+|\[[\da-fA-F:]+\]):(?P<port>\d{1,5})")


def check_address(address: str) -> None:
    """Refuse an address that does not name a cluster, and any address if Ray is missing.

    Raises:
        UsageError: The address is none of ``local``, ``auto``, ``HOST:PORT`` and
            ``ray://HOST:PORT``, or Ray is not installed.
    """
    if address not in (LOCAL, AUTO) and not _PLACE.fullmatch(address):
        raise UsageError(
            f"no address of a Ray cluster: {address!r}",
            hint="give local, auto, HOST:PORT or ray://HOST:PORT",
        )
    if util.find_spec("ray") is None:
        raise UsageError("indexing on many machines needs Ray", hint="pip install 'fdps[ray]'")


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Join a cluster, or start Ray here; a Ray that was started here is stopped at the end.

    Raises:
        ResourceError: The cluster cannot be reached, or it failed meanwhile.
        UsageError: Ray is not installed, or the address makes no sense.
    """
    check_address(address)
    is_local = address == LOCAL
    with _environment(is_local):
        import ray
        import ray.data

        is_ours = not ray.is_initialized()
        try:
            if is_ours:
                _init(address, is_local)
            yield
        except ray.exceptions.RayError as error:
            raise ResourceError(
                f"the Ray cluster failed: {_last_line(error)}",
                hint="what was indexed before is safe; the same command continues",
            ) from error
        finally:
            if is_ours:
                ray.shutdown()


def is_loss(error: BaseException) -> bool:
    """Tell whether an error of Ray means that a worker or a machine was lost.

    An error of what the worker does, such as a model that cannot be loaded, is none.
    """
    from ray import exceptions

    cause = error.cause if isinstance(error, exceptions.RayTaskError) else error
    if getattr(cause, "actor_init_failed", False):
        return False
    losses = (
        exceptions.RayActorError,
        exceptions.NodeDiedError,
        exceptions.WorkerCrashedError,
        exceptions.OutOfMemoryError,
        exceptions.ObjectLostError,
    )
    return isinstance(cause, losses)


def _init(address: str, is_local: bool) -> None:
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if is_local:
        options |= {"include_dashboard": False, "object_store_memory": LOCAL_STORE_BYTES}
    try:
        _knock(address)
        ray.init(address=address, **options)
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        raise ResourceError(
            f"cannot reach Ray at {address}: {_last_line(error)}",
            hint="is it running, and of the same version? `--ray local` starts it here",
        ) from error
    if is_local:
        _refuse_open_ports()


@contextmanager
def _environment(is_local: bool) -> Iterator[None]:
    """Set an environment without reports of usage; a private Ray is on the loopback, with a token.

    Ray reads this when it is imported and when it starts.
    """
    wanted = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    if is_local:
        wanted |= {
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # means the loopback, on Linux too
            "RAY_AUTH_TOKEN": _token(),
            "RAY_worker_niceness": "0",  # at the default, 15, it stands still beside other work
        }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@functools.cache
def _token() -> str:
    """Return the token of this process; Ray keeps the first one that it is given."""
    return secrets.token_hex(32)


def _knock(address: str) -> None:
    """Try the address first, because Ray itself would wait for minutes where nobody answers."""
    place = _PLACE.fullmatch(address)
    if place:
        host = place["host"].strip("[]")
        socket.create_connection((host, int(place["port"])), KNOCK_S).close()


def _refuse_open_ports() -> None:
    import ray

    if not ray.util.get_node_ip_address().startswith("127."):
        ray.shutdown()
        raise UsageError(
            "Ray was imported before this, so it would listen on all interfaces",
            hint="call ray.init yourself, or import ray later",
        )


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
