"""The OpenAPI description: valid, complete, and true whatever is drawn from it."""

import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import checks
from starlette.testclient import TestClient

from fake.live_server import live
from fake.served import BEARER, write_archive
from fdps.serve.settings import Limits

# Hypothesis looks whether the state of `random` changed while it drew, and takes any other thread
# that uses `random` meanwhile for the strategy.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Do not use the `random` module inside strategies"
    ":hypothesis.errors.HypothesisDeprecationWarning"
)

EXAMPLES = 6
"""Requests drawn for each operation; the slow test draws many more."""
MANY = 320  # operations without parameters have fewer requests that differ


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    archive = write_archive(tmp_path_factory.mktemp("drawn"))  # requests may erase people of it
    with live(archive, Limits()) as port:
        while httpx2.get(f"http://127.0.0.1:{port}/readyz", timeout=60).status_code == 503:
            time.sleep(0.05)  # that it is not ready yet is no fault
        yield port


@pytest.mark.long
def test_the_description_is_valid(client: TestClient) -> None:
    schema = client.get("/api/v1/openapi.json").json()
    assert schema["openapi"].startswith("3.1")
    assert not [name for name in schema["paths"] if name.startswith("/static")]
    schemathesis.openapi.from_dict(schema).validate()


def attack(schema: dict[str, Any], port: int, n_examples: int) -> int:
    """Send what is drawn from the description; no answer may be an error of the server."""
    n_sent = 0
    for operation in (r.ok() for r in schemathesis.openapi.from_dict(schema).get_all_operations()):

        @settings(
            max_examples=n_examples,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
            deadline=None,
            database=None,
        )
        @given(case=operation.as_strategy())
        def sent(case: Any) -> None:
            nonlocal n_sent
            answer = case.call(base_url=f"http://127.0.0.1:{port}", headers=BEARER)
            n_sent += 1
            assert answer.status_code < 500, (case.method, case.formatted_path, answer.text)
            case.validate_response(answer, checks=[checks.not_a_server_error])
            if answer.status_code >= 400:
                assert answer.headers["content-type"][0].startswith("application/problem+json")

        sent()
    return n_sent


@pytest.mark.long
def test_nothing_that_is_drawn_breaks_the_service(client: TestClient, port: int) -> None:
    schema = client.get("/api/v1/openapi.json").json()
    assert attack(schema, port, EXAMPLES) >= 60


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_nothing_of_much_that_is_drawn_breaks_the_service(client: TestClient, port: int) -> None:
    schema = client.get("/api/v1/openapi.json").json()
    assert attack(schema, port, MANY) >= 10_000
