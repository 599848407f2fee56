"""Who may come in: by the start token, by a session, by a password; and who may not."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from fake.served import ADDRESS, BEARER, TOKEN, served
from fdps.errors import UsageError
from fdps.serve.security.tokens import Failures, Sessions, cookie_name
from fdps.serve.security.users import Role, UsersFile, add_user

CLOSED = ["/", "/api/v1/version", "/api/v1/archives", "/metrics", "/api/v1/openapi.json"]
CLOSED += ["/api/v1/people/1/crop", "/cases", "/anything"]
PASSWORD = "correct horse battery"
OWN = {"Origin": ADDRESS}


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer ÿ".encode("latin-1")},
        {"Cookie": f"{cookie_name(8899)}={TOKEN}"},
        {"Cookie": f"{cookie_name(8899)}="},
        {"X-Forwarded-User": "admin"},
    ],
)
def test_whoever_brings_no_token_stays_outside(
    stranger: TestClient, path: str, headers: dict[str, str]
) -> None:
    answer = stranger.get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert TOKEN not in answer.text


def test_every_route_is_closed(stranger: TestClient) -> None:
    schema = stranger.get("/api/v1/openapi.json", headers=BEARER).json()
    tried = 0
    for path, operations in schema["paths"].items():
        if path in ("/healthz", "/readyz", "/login"):
            continue
        for method in operations:
            answer = stranger.request(method, path.replace("{", "").replace("}", ""), headers=OWN)
            assert answer.status_code == 401, (method, path)
            tried += 1
    assert tried > 15


def test_the_token_in_the_address_becomes_a_cookie_that_no_script_can_read(
    stranger: TestClient,
) -> None:
    answer = stranger.get("/", params={"token": TOKEN})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    (cookie,) = answer.headers.get_list("set-cookie")
    words = {word.strip().lower() for word in cookie.split(";")[1:]}
    assert words >= {"httponly", "samesite=strict", "path=/"}
    assert "secure" not in words  # there is no TLS on this machine alone
    assert TOKEN not in cookie
    assert stranger.get("/api/v1/version").json()["role"] == "admin"
    assert stranger.post("/logout", headers=OWN).status_code == 303
    assert stranger.get("/api/v1/version").status_code == 401
    stranger.cookies.clear()


def test_two_services_on_one_host_leave_each_other_the_session(photos_archive: Path) -> None:
    with served(photos_archive) as one, served(photos_archive, port=8900) as other:
        other.base_url = "http://127.0.0.1:8900"
        sent = {}  # a browser sends the cookies of a host to all its ports
        for client in (one, other):
            answer = client.get("/", params={"token": TOKEN})
            sent |= dict(answer.cookies)
        assert len(sent) == 2
        cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in sent.items())}
        for client in (one, other):
            client.cookies.clear()
            assert client.get("/api/v1/version", headers=cookie).status_code == 200


def test_the_token_counts_nowhere_but_at_the_door(stranger: TestClient) -> None:
    assert stranger.get("/api/v1/version", params={"token": TOKEN}).status_code == 401
    assert stranger.post("/", params={"token": TOKEN}, headers=OWN).status_code == 401


def test_who_guesses_tokens_has_to_wait_and_the_right_one_still_opens(
    photos_archive: Path,
) -> None:
    with served(photos_archive) as client:
        codes = [
            client.get("/", params={"token": f"guess {number}"}).status_code for number in range(40)
        ]
        assert codes == [401] * 20 + [429] * 20
        assert int(client.get("/", params={"token": "x"}).headers["retry-after"]) > 60
        assert client.get("/", params={"token": TOKEN}).status_code == 303


def test_a_session_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    sessions = Sessions(lifetime_s=60.0)
    secret = sessions.begin("anna")
    clock[0] += 59
    assert sessions.find(secret) is not None
    clock[0] += 2
    assert sessions.find(secret) is None


def test_failures_are_forgotten_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    failures = Failures(most=3, within_s=60.0)
    for _ in range(3):
        assert failures.wait_s("anna") == 0
        failures.note("anna")
    assert failures.wait_s("anna") == 60
    assert failures.wait_s("bert") == 0
    clock[0] += 61
    assert failures.wait_s("anna") == 0


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("users") / "users.toml"
    for name, role in (("anna", "viewer"), ("bert", "editor"), ("cora", "admin")):
        add_user(path, name, role, f"{PASSWORD} {name}")
    return path


@pytest.fixture
def with_users(photos_archive: Path, users: Path) -> Iterator[TestClient]:
    with served(photos_archive, users=users, token="") as client:
        yield client


def log_in(client: TestClient, name: str, password: str) -> int:
    form = {"username": name, "password": password}
    return client.post("/login", data=form, headers=OWN).status_code


def test_users_come_in_by_their_password(with_users: TestClient) -> None:
    for name, role in (("anna", "viewer"), ("bert", "editor"), ("cora", "admin")):
        assert log_in(with_users, name, f"{PASSWORD} {name}") == 303
        told = with_users.get("/api/v1/version").json()
        assert (told["user"], told["role"]) == (name, role)


def test_a_stranger_with_a_browser_is_led_to_the_form(with_users: TestClient) -> None:
    answer = with_users.get("/", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert with_users.get("/login").status_code == 200


def test_a_service_with_users_has_no_start_token(with_users: TestClient) -> None:
    assert with_users.get("/", params={"token": ""}).status_code == 401
    assert (
        with_users.get("/api/v1/version", headers={"Authorization": "Bearer "}).status_code == 401
    )


@pytest.mark.long
@pytest.mark.parametrize("name", ["anna", "nobody"])
def test_who_guesses_passwords_has_to_wait_even_with_the_right_one(
    photos_archive: Path, users: Path, name: str
) -> None:
    with served(photos_archive, users=users, token="") as client:
        codes = [log_in(client, name, f"guess {number}") for number in range(12)]
        assert codes == [401] * 10 + [429] * 2
        assert log_in(client, name, f"{PASSWORD} {name}") == 429


@pytest.mark.long
def test_a_user_who_is_taken_out_of_the_file_is_out_at_once(
    photos_archive: Path, tmp_path: Path
) -> None:
    path = tmp_path / "users.toml"
    add_user(path, "anna", "admin", PASSWORD)
    add_user(path, "bert", "viewer", PASSWORD)
    assert path.stat().st_mode & 0o077 == 0
    with served(photos_archive, users=path, token="") as client:
        assert log_in(client, "anna", PASSWORD) == 303
        add_user(path, "anna", "viewer", PASSWORD)  # another hash: the session has ended
        assert client.get("/api/v1/version").status_code == 401
        assert log_in(client, "anna", PASSWORD) == 303
        assert client.get("/api/v1/version").json()["role"] == "viewer"
        path.write_text(path.read_text().replace("[anna]", "[carl]"))
        assert client.get("/api/v1/version").status_code == 401
        path.write_text("damaged [")
        assert log_in(client, "bert", PASSWORD) == 401


@pytest.mark.parametrize(
    ("name", "role", "password", "message"),
    [
        ("", "viewer", PASSWORD, "needs a name"),
        ("a\nb", "viewer", PASSWORD, "needs a name"),
        ("a" * 65, "viewer", PASSWORD, "needs a name"),
        ("anna", "king", PASSWORD, "no role 'king'"),
        ("anna", "viewer", "short", "at least 12 letters"),
    ],
)
def test_users_that_make_no_sense_are_refused(
    tmp_path: Path, name: str, role: str, password: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        add_user(tmp_path / "users.toml", name, role, password)
    assert not (tmp_path / "users.toml").exists()


def test_the_hash_tells_nothing_and_the_password_is_verified(users: Path) -> None:
    assert PASSWORD not in users.read_text()
    known = UsersFile(users)
    assert known.verify("bert", f"{PASSWORD} bert") is not None
    assert known.verify("bert", f"{PASSWORD} anna") is None
    assert known.verify("nobody", PASSWORD) is None
    found = known.find("bert")
    assert found is not None
    assert found.role is Role.EDITOR
