"""The pages as files and as HTML: complete, without anything that runs in line, in plain words."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from fake.served import ADDRESS, served
from fdps.serve.pages import PLACES, STATIC, messages, modules_of, sentence, text
from fdps.serve.security.users import add_user

PATHS = [*PLACES.values(), "/?like=item:3", "/scene/YQ", "/cases/c1", "/login"]
TEMPLATES = sorted((STATIC.parent / "templates").glob("*.html"))
SCRIPTS = sorted((STATIC / "js").glob("*.js"))
SHEETS = sorted((STATIC / "css").glob("*.css"))
AS_PERSON = {"Accept": "text/html"}


class Tags(HTMLParser):
    """Everything in a page that could run, look or load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.loaded: list[str] = []
        self.attributes: dict[str, dict[str, str | None]] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.attributes.setdefault(tag, found)
        self.inline += [name for name in found if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in found):
            self.inline.append(tag)
        if tag in ("script", "img", "link", "use") and found.get("rel") != "expect":
            self.loaded.append(found.get("src") or found.get("href") or "")


@pytest.mark.parametrize("path", PATHS)
def test_a_page_has_nothing_in_line_and_loads_only_files_that_are_there(
    client: TestClient, path: str
) -> None:
    answer = client.get(path, headers=AS_PERSON)
    assert answer.status_code == 200
    tags = Tags(answer.text)
    assert tags.inline == []
    for address in tags.loaded:
        assert address.startswith("/static/")
        assert client.get(address.partition("#")[0]).status_code == 200, address


@pytest.mark.parametrize("path", [*PLACES.values(), "/scene/YQ", "/cases/c1"])
def test_strangers_see_no_page(stranger: TestClient, path: str) -> None:
    assert stranger.get(path, headers=AS_PERSON).status_code == 401


def test_the_navigation_says_where_one_is(client: TestClient) -> None:
    page = client.get("/library", headers=AS_PERSON).text
    assert re.findall(r'data-page="(\w+)" aria-current="page"', page) == ["library"]


@pytest.mark.parametrize(("cookie", "theme"), [("dark", "dark"), ("light", "light"), ("x", None)])
def test_the_theme_is_known_before_anything_is_painted(
    client: TestClient, cookie: str, theme: str | None
) -> None:
    answer = client.get("/model", headers=AS_PERSON | {"Cookie": f"fdps_theme={cookie}"})
    assert Tags(answer.text).attributes["html"].get("data-theme") == theme


def test_a_page_that_is_not_there_says_so_and_shows_a_way(client: TestClient) -> None:
    answer = client.get("/nothing", headers=AS_PERSON)
    assert (answer.status_code, answer.headers["content-type"][:9]) == (404, "text/html")
    assert text("error.404.title") in answer.text
    assert 'href="/"' in answer.text


def test_strangers_read_how_to_come_in(stranger: TestClient) -> None:
    answer = stranger.get("/library", headers=AS_PERSON)
    assert text("error.401.title") in answer.text
    assert "address that fdps serve printed" in answer.text


@pytest.fixture(scope="module")
def with_users(
    photos_archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    users = tmp_path_factory.mktemp("users") / "users.toml"
    add_user(users, "ada", "viewer", "a long password")
    with served(photos_archive, users=users) as client:
        yield client


def test_a_wrong_password_is_told_above_the_form(with_users: TestClient) -> None:
    form = {"username": "ada", "password": "wrong"}
    headers = AS_PERSON | {"Origin": ADDRESS}
    answer = with_users.post("/login", data=form, headers=headers)
    assert answer.status_code == 401
    assert "The name or the password is wrong." in answer.text
    assert 'name="password"' in answer.text


def test_browsers_may_tell_the_form_where_it_comes_from(with_users: TestClient) -> None:
    # By `no-referrer` a browser sends `Origin: null` with a form, and nobody could sign in.
    assert with_users.get("/login").headers["referrer-policy"] == "same-origin"


def test_users_see_who_they_are_and_what_they_may(with_users: TestClient) -> None:
    form = {"username": "ada", "password": "a long password"}
    assert with_users.post("/login", data=form, headers={"Origin": ADDRESS}).status_code == 303
    page = with_users.get("/", headers=AS_PERSON).text
    assert "Signed in as ada" in page
    assert 'data-role="viewer"' in page


def test_hostile_names_stay_text() -> None:
    assert sentence("<script>") == "<script>."  # templates escape it, scripts make text nodes
    for script in SCRIPTS:
        source = script.read_text()
        found = re.findall(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", source
        )
        assert not found, script.name


def test_nothing_points_to_another_host() -> None:
    for file in [*TEMPLATES, *SCRIPTS, *SHEETS]:
        hosts = set(re.findall(r"https?://[^\s\"')]+", file.read_text()))
        assert hosts <= {"http://www.w3.org/2000/svg"}, file.name


def test_all_modules_that_pages_import_are_known() -> None:
    names = {script.name for script in SCRIPTS}
    pages = {name for name in names if name.endswith("_page.js")}
    assert {*modules_of("shell.js", *pages), *pages, "shell.js"} == names


def test_every_drawing_is_in_the_file_of_drawings() -> None:
    drawn = set(re.findall(r'<symbol id="([\w-]+)"', (STATIC / "icons.svg").read_text()))
    named = r'icon\("([\w-]+)"\)|(?:icon|sign): "([\w-]+)"|nothing\("([\w-]+)"|icons\.svg#([\w-]+)'
    for file in [*TEMPLATES, *SCRIPTS]:
        used = {name for names in re.findall(named, file.read_text()) for name in names if name}
        assert used <= drawn, file.name


# -- the catalogue ---------------------------------------------------------------------------------

QUOTED = re.compile(r"""["'`]((?:[a-z_\d]+\.)+[a-z_\d.]+)["'`]""")
ASSEMBLED = re.compile(r"`((?:[a-z_\d]+\.)(?:[a-z_.\d]|\$\{[^}`]*\})*)`")


def asked_for(file: Path) -> Iterator[str]:
    """Keys that a file takes from the catalogue, as it writes them."""
    yield from re.findall(r'\bt\("([^"]+)"[,)]', file.read_text())


@pytest.mark.parametrize("file", [*TEMPLATES, *SCRIPTS], ids=lambda file: file.name)
def test_the_catalogue_has_every_text_that_is_asked_for(file: Path) -> None:
    assert {*asked_for(file)} <= messages().keys()


def test_the_catalogue_has_no_text_that_nobody_asks_for() -> None:
    sources = [file.read_text() for file in [*TEMPLATES, *SCRIPTS]]
    whole = {key for source in sources for key in QUOTED.findall(source)}
    patterns = {form for source in sources for form in ASSEMBLED.findall(source)}
    # An assembled key such as `job.${state}` stands for all that fit; so do those of templates.
    fits = [re.sub(r"\\\$\\\{.*?\\\}", ".+", re.escape(form)) for form in patterns]
    fits += [r"nav\..+", r"error\..+", r"\w+\.(title|lead)"]
    fits += [rf"{re.escape(key)}\.(title|text)" for key in whole]
    unused = [
        key
        for key in messages()
        if key not in whole and not any(re.fullmatch(form, key) for form in fits)
        if not any(f'"{key}"' in source for source in sources)
    ]
    assert unused == []


def test_texts_never_claim_to_know_who_somebody_is() -> None:
    said = json.dumps(messages()).lower()
    assert not re.findall(r"\bmatch(es|ed)?\b|\bidentit|\bsuspect", said)


def test_a_text_takes_its_values_and_its_number() -> None:
    assert text("scene.n_people", n=1) == "1 person"
    assert text("scene.n_people", n=3) == "3 people"
    with pytest.raises(KeyError, match="'n'"):
        text("scene.n_people")
