"""What must not reach the application: other sites' pages, strange hosts, bodies without end."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from fake.served import ADDRESS, BEARER, TOKEN, served
from fdps.errors import UsageError
from fdps.serve.security.guard import HEADERS
from fdps.serve.settings import Limits, ServeSettings

SEARCH = {"like": ["item:1"]}
STRANGE_HOSTS = ["evil.example", "evil.example:8899", "127.0.0.1", "127.0.0.1:80", "localhost:1"]
STRANGE_HOSTS += ["127.0.0.1.evil.example:8899", "127.0.0.1:8899.evil.example", "0.0.0.0:8899"]
STRANGE_HOSTS += ["user@127.0.0.1:8899", "2130706433:8899", "[::]:8899", "", "127.1:8899"]


@pytest.mark.parametrize("host", STRANGE_HOSTS)
@pytest.mark.parametrize("path", ["/healthz", "/", "/api/v1/version", "/static/style.css"])
def test_a_name_that_is_not_ours_is_refused_everywhere(
    client: TestClient, host: str, path: str
) -> None:
    answer = client.get(path, headers={"Host": host})
    assert (answer.status_code, answer.json()["code"]) == (421, "wrong_host")


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8899", "localhost:8899", "LOCALHOST:8899", "[::1]:8899"]
)
def test_the_names_of_this_machine_are_ours(client: TestClient, host: str) -> None:
    assert client.get("/api/v1/version", headers={"Host": host}).status_code == 200


CROSS = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:8898"},
    {"Origin": "https://127.0.0.1:8899"},
    {"Origin": "http://127.0.0.1:8899.evil.example"},
    {"Origin": "http://localhost"},
    {"Origin": ""},
    {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
]
UNSAFE = [("POST", "/api/v1/search"), ("POST", "/api/v1/queries"), ("DELETE", "/api/v1/queries/q")]
UNSAFE += [("POST", "/logout"), ("PUT", "/api/v1/anything"), ("PATCH", "/api/v1/anything")]


@pytest.mark.long
@pytest.mark.parametrize(("method", "path"), UNSAFE)
@pytest.mark.parametrize("headers", [*CROSS, {}], ids=str)
def test_no_page_of_another_site_changes_anything_by_a_cookie(
    stranger: TestClient, method: str, path: str, headers: dict[str, str]
) -> None:
    stranger.get("/", params={"token": TOKEN})
    answer = stranger.request(method, path, headers=headers, json=SEARCH)
    stranger.cookies.clear()
    assert (answer.status_code, answer.json()["code"]) == (403, "wrong_origin")
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("headers", [h for h in CROSS if "Origin" in h], ids=str)
def test_nor_with_the_token_where_a_browser_says_where_it_comes_from(
    client: TestClient, headers: dict[str, str]
) -> None:
    assert client.post("/api/v1/search", json=SEARCH, headers=headers).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://127.0.0.1:8899"},
        {"Origin": "http://localhost:8899"},
        {"Sec-Fetch-Site": "same-origin"},
    ],
    ids=str,
)
def test_our_own_pages_may(stranger: TestClient, headers: dict[str, str]) -> None:
    stranger.get("/", params={"token": TOKEN})
    assert stranger.post("/api/v1/search", json=SEARCH, headers=headers).status_code == 200
    stranger.cookies.clear()


def test_pages_of_others_read_nothing_either(client: TestClient) -> None:
    for site in ("cross-site", "same-site"):
        answer = client.get("/api/v1/archives", headers={"Sec-Fetch-Site": site})
        assert answer.status_code == 403
    answer = client.options(
        "/api/v1/search",
        headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"},
    )
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "path", ["/", "/login", "/healthz", "/static/style.css", "/api/v1/archives", "/nothing"]
)
def test_every_answer_has_the_headers_that_bind_browsers(client: TestClient, path: str) -> None:
    answer = client.get(path)
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "http:" not in policy
    expected = "no-cache" if path.startswith("/static/") else "no-store"
    assert answer.headers["cache-control"] == expected
    assert "server" not in answer.headers
    assert "strict-transport-security" not in answer.headers


def test_with_tls_the_cookie_is_for_tls_only(photos_archive: Path) -> None:
    with served(photos_archive, behind_proxy=True, names=("archive.example.org",)) as client:
        client.base_url = "https://archive.example.org"
        answer = client.get("/", params={"token": TOKEN})
        assert "secure" in answer.headers["set-cookie"].lower()
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        own = {"Origin": "https://archive.example.org"}
        assert client.post("/api/v1/search", json=SEARCH, headers=own).status_code == 200


def test_a_body_that_is_too_long_is_refused_as_soon_as_that_is_known(client: TestClient) -> None:
    answer = client.post("/api/v1/search", content=b" " * 1_000_001)
    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"
    n_taken = 0

    def endless() -> object:
        nonlocal n_taken
        while True:
            n_taken += 1
            yield b" " * 100_000

    assert client.post("/api/v1/search", headers={"Content-Length": "x"}).status_code in (413, 422)
    answer = client.post("/api/v1/search", content=_some(endless(), 20))
    assert answer.status_code == 413


def _some(chunks: object, most: int) -> object:
    for number, chunk in enumerate(chunks):  # type: ignore[call-overload]
        if number == most:
            return
        yield chunk


def test_beyond_its_capacity_the_service_says_so(photos_archive: Path) -> None:
    with served(photos_archive, limits=Limits(requests=0)) as client:
        answer = client.get("/api/v1/version", headers=BEARER)
        assert (answer.status_code, answer.json()["code"]) == (429, "busy")
        assert answer.headers["retry-after"] == "1"
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"host": "0.0.0.0"}, "opens the archives"),
        ({"host": "192.0.2.1", "users": Path("users.toml")}, "unencrypted"),
        ({"host": "0.0.0.0", "users": Path("u"), "behind_proxy": True}, "under which name"),
        ({"certificate": Path("cert.pem")}, "both a certificate and its key"),
    ],
)
def test_the_service_opens_to_others_only_with_users_tls_and_a_name(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        ServeSettings(**settings).check()  # type: ignore[arg-type]


def test_hosts_and_origins_follow_the_settings() -> None:
    local = ServeSettings(port=80)
    assert {"127.0.0.1", "127.0.0.1:80", "localhost", "[::1]"} <= local.hosts
    assert ADDRESS not in local.origins
    other = ServeSettings(
        host="0.0.0.0", users=Path("u"), behind_proxy=True, names=("A.example", "b.example:444")
    )
    assert other.hosts == {"a.example", "a.example:443", "b.example:444"}
    assert other.origins == {f"https://{host}" for host in other.hosts}
