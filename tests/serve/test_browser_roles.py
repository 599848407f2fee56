"""What each role is offered on the pages: what it may do, and nothing else."""

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from fake.browsing import Visit, a_browser, find_browser, running, write_drawn_archive
from fdps.serve.security.users import Role, add_user

pytest.importorskip("playwright.sync_api")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not find_browser(), reason="there is no Chromium: apt install chromium"),
]

PASSWORD = "a long password"
CONTROLS = [
    # page, what shows that it is there, name of a control, least role
    ("/?like=item:3", ".card", "Confirm", Role.VIEWER),
    ("/?like=item:3", ".card", "Keep as a case", Role.EDITOR),
    ("/?like=item:3", ".card", "Export", Role.EDITOR),
    ("/?case=CASE", ".card", "Export", Role.EDITOR),
    ("/cases", ".case-entry", "New case", Role.EDITOR),
    ("/cases/CASE", ".page-head", "Go on searching", Role.VIEWER),
    ("/cases/CASE", ".page-head", "Export", Role.EDITOR),
    ("/cases/CASE", ".page-head", "Save", Role.EDITOR),
    ("/cases/CASE", ".page-head", "Take back this verdict", Role.EDITOR),
    ("/cases/CASE", ".page-head", "Delete the case", Role.EDITOR),
    ("/library", "#skipped td", "Add pictures", Role.EDITOR),
    ("/library", "#skipped td", "Try them again", Role.EDITOR),
    ("/privacy?items=3", "#retention dl, #retention select", "Save", Role.ADMIN),
    (
        "/privacy?items=3",
        "#retention dl, #retention select",
        "See what would be erased",
        Role.ADMIN,
    ),
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """An archive for three users, with a case; the address of the service and the case."""
    folder = tmp_path_factory.mktemp("roles")
    archive, users = write_drawn_archive(folder), folder / "users.toml"
    with running(archive) as address:
        case = begun(address)
    for role in Role:
        add_user(users, role.name.lower(), role.name.lower(), PASSWORD)
    photos = f"photos={folder / 'photos'}"
    with running(archive, "--users", str(users), "--root", photos) as address:
        yield address.rstrip("/"), case


def begun(address: str) -> str:
    """Begin a case with a verdict, as whoever has the token."""
    home, _, token = address.partition("/?token=")
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def send(method: str, path: str, body: Any) -> Any:
        content = json.dumps(body).encode()
        request = urllib.request.Request(f"{home}/api/v1{path}", content, headers, method=method)
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read())

    case = send("POST", "/cases", {"name": "Lost child", "like": ["item:3"]})["id"]
    send("PUT", f"/cases/{case}/verdicts", {"item": 5, "verdict": "confirmed"})
    return str(case)


@pytest.fixture(scope="module", params=list(Role), ids=lambda role: role.name.lower())
def role(request: pytest.FixtureRequest) -> Role:
    found: Role = request.param
    return found


@pytest.fixture(scope="module")
def visit(role: Role, served: tuple[str, str]) -> Iterator[Visit]:
    with a_browser() as browser:
        visit = Visit(browser.new_context(), served[0])
        visit.page.goto(f"{served[0]}/login")
        visit.page.get_by_label("Name").fill(role.name.lower())
        visit.page.get_by_label("Password").fill(PASSWORD)
        visit.page.keyboard.press("Enter")
        visit.page.wait_for_selector(".tile")
        yield visit


@pytest.mark.parametrize(("path", "until", "name", "least"), CONTROLS)
def test_a_control_is_there_for_those_who_may_use_it(
    visit: Visit, role: Role, served: tuple[str, str], path: str, until: str, name: str, least: Role
) -> None:
    visit.open(path.replace("CASE", served[1]), until)
    named = visit.page.get_by_role("button", name=name).or_(
        visit.page.get_by_role("link", name=name)
    )
    assert (named.count() > 0) == (role >= least)
    visit.check()  # nothing was asked for that this role is refused: that would be in the console


def test_the_menu_of_a_candidate_and_a_scene_offer_forgetting_to_admins(
    visit: Visit, role: Role
) -> None:
    page = visit.page
    visit.open("/?like=item:3", ".card")
    page.get_by_role("button", name="More", exact=True).first.click()
    offered = page.get_by_role("menuitem", name="Forget this person")
    assert page.get_by_role("menuitem", name="Find similar").is_visible()
    assert (offered.count() > 0) == (role >= Role.ADMIN)
    page.keyboard.press("Escape")
    visit.open("/", ".tile")
    page.locator(".tile").first.click()
    page.wait_for_selector("#scene-picture .person-box")
    page.locator(".person-row").first.click()
    assert page.get_by_role("link", name="Search this one").is_visible()
    link = page.get_by_role("link", name="Forget this person")
    assert (link.count() > 0) == (role >= Role.ADMIN)
    visit.check()


def test_verdicts_of_a_viewer_order_the_search_and_stay_out_of_the_case(
    visit: Visit, role: Role, served: tuple[str, str]
) -> None:
    page = visit.page
    visit.open(f"/?case={served[1]}", ".card")
    with page.expect_response("**/api/v1/search"):
        page.locator("#cards .card").first.get_by_role("button", name="Reject", exact=True).click()
    page.wait_for_selector(".judged.rejected")
    visit.open(f"/cases/{served[1]}", ".page-head")
    kept = page.get_by_role("heading", name="Rejected (1)")
    assert (kept.count() > 0) == (role >= Role.EDITOR)
    visit.check()
    if kept.count():
        page.get_by_role("button", name="Take back this verdict").last.click()
        page.get_by_role("heading", name="Rejected (0)").wait_for()
