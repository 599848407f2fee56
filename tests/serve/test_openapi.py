"""The OpenAPI description: valid, complete, and true whatever is drawn from it."""

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import checks

from fake.served import ADDRESS, BEARER, served

EXAMPLES = 6
"""Requests drawn for each operation; the slow test draws many more."""


@pytest.fixture(scope="module")
def client(photos_archive: Path) -> Any:
    with served(photos_archive) as client:
        client.headers.update(BEARER)
        yield client


def operations(client: Any) -> list[Any]:
    schema = client.get("/api/v1/openapi.json").json()
    loaded = schemathesis.openapi.from_dict(schema)
    return [result.ok() for result in loaded.get_all_operations()]


def test_the_description_is_valid_and_every_answer_is_described(client: Any) -> None:
    schema = client.get("/api/v1/openapi.json").json()
    assert schema["openapi"].startswith("3.1")
    assert not [name for name in schema["paths"] if name.startswith("/static")]
    schemathesis.openapi.from_dict(schema).validate()


def attack(client: Any, n_examples: int) -> int:
    """Send what is drawn from the description; no answer may be an error of the server."""
    n_sent = 0
    for operation in operations(client):

        @settings(
            max_examples=n_examples,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
            deadline=None,
            database=None,
        )
        @given(case=operation.as_strategy() | st.nothing())
        def sent(case: Any) -> None:
            nonlocal n_sent
            answer = case.call(session=client, base_url=ADDRESS, headers=BEARER)
            n_sent += 1
            assert answer.status_code < 500, (case.method, case.formatted_path, answer.text)
            case.validate_response(answer, checks=[checks.not_a_server_error])
            if answer.status_code >= 400:
                assert answer.headers["content-type"][0].startswith("application/problem+json")

        sent()
    return n_sent


def test_nothing_that_is_drawn_breaks_the_service(client: Any) -> None:
    assert attack(client, EXAMPLES) >= 100


@pytest.mark.slow
def test_nothing_of_much_that_is_drawn_breaks_the_service(client: Any) -> None:
    assert attack(client, 100) >= 2000
