"""The application as a whole: what everybody gets, and what strangers do not."""

from starlette.testclient import TestClient


def test_it_tells_strangers_that_it_lives_and_nothing_else(stranger: TestClient) -> None:
    assert stranger.get("/healthz").json() == {"status": "ok"}
    while (ready := stranger.get("/readyz")).status_code == 503:  # the archive is being read
        assert ready.json()["code"] == "not_ready"
    assert ready.json() == {"status": "ok"}
    assert stranger.get("/api/v1/version").status_code == 401


def test_whoever_has_the_token_learns_the_version(client: TestClient) -> None:
    answer = client.get("/api/v1/version").json()
    assert (answer["user"], answer["role"]) == ("local", "admin")


def test_an_unknown_address_is_a_problem(client: TestClient) -> None:
    answer = client.get("/api/v1/nothing")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["title"] == "Not Found"
