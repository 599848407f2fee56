"""Strange hosts, foreign origins, guessed tokens and forged cookies: a crowd of each is refused.

What such an answer looks like is held by ``test_guard.py`` and ``test_door.py``.
"""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from fake.hostile_texts import cookies, hosts, origins, tokens
from fake.served import ADDRESS, BEARER, TOKEN, served
from fdps.serve.security.tokens import cookie_name

OWN = ADDRESS.removeprefix("http://")
COOKIE = cookie_name(8899)
HOSTS, ORIGINS = [*dict.fromkeys(hosts(OWN))], [*dict.fromkeys(origins(OWN))]
RIGHT = "k3" + "0123456789" * 4 + "Z"
TOKENS = [*dict.fromkeys(tokens(RIGHT))]
COOKIES = [*dict.fromkeys(cookies(COOKIE, TOKEN))]
CHANGES = [("POST", "/api/v1/search"), ("DELETE", "/api/v1/cases/1"), ("POST", "/api/v1/forget")]
CHANGES += [("PUT", "/api/v1/retention"), ("PATCH", "/api/v1/cases/1"), ("POST", "/logout")]
SEARCH = {"like": ["item:1"]}


def test_there_are_as_many_as_promised() -> None:
    assert all(len(corpus) >= 150 for corpus in (HOSTS, ORIGINS, TOKENS, COOKIES))
    assert OWN not in HOSTS
    assert ADDRESS not in ORIGINS


def test_no_strange_host_is_answered(client: TestClient) -> None:
    for host in HOSTS:
        answer = client.get("/", headers={"Host": host})
        assert (answer.status_code, answer.json()["code"]) == (421, "wrong_host"), host
        assert "location" not in answer.headers


def test_no_foreign_page_changes_anything(stranger: TestClient) -> None:
    stranger.get("/", params={"token": TOKEN})
    for number, origin in enumerate(ORIGINS):
        method, path = CHANGES[number % len(CHANGES)]
        answer = stranger.request(method, path, headers={"Origin": origin}, json=SEARCH)
        assert (answer.status_code, answer.json()["code"]) == (403, "wrong_origin"), origin
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert stranger.get("/api/v1/version").status_code == 200, "the session itself is good"
    stranger.cookies.clear()


@pytest.mark.long
def test_no_guessed_token_opens(photos_archive: Path) -> None:
    with served(photos_archive, token=RIGHT) as client:
        for number, guess in enumerate(TOKENS):
            bearer = {"Authorization": f"Bearer {guess}"}
            assert client.get("/api/v1/version", headers=bearer).status_code == 401, guess
            answer = client.get("/", params={"token": guess})
            assert answer.status_code == (401 if number < 20 else 429)  # and has to wait
            assert "set-cookie" not in answer.headers
        bearer = {"Authorization": f"Bearer {RIGHT}"}
        assert client.get("/api/v1/version", headers=bearer).status_code == 200


def test_no_forged_cookie_is_a_session(stranger: TestClient) -> None:
    for cookie in COOKIES:
        answer = stranger.get("/api/v1/archives", headers={"Cookie": cookie})
        assert answer.status_code == 401, cookie
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", ["/", "/?token=" + TOKEN, "/cases", "/login", "/healthz"])
def test_every_cookie_that_is_set_is_kept_from_scripts_and_other_sites(
    stranger: TestClient, path: str
) -> None:
    for cookie in stranger.get(path).headers.get_list("set-cookie"):
        words = {word.strip().lower() for word in cookie.split(";")[1:]}
        assert words >= {"httponly", "samesite=strict", "path=/"}
        assert not [word for word in words if word.startswith("domain")]
    stranger.cookies.clear()


def test_the_token_of_a_program_needs_no_cookie_and_gets_none(client: TestClient) -> None:
    answer = client.post("/api/v1/search", json=SEARCH, headers=BEARER)
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
