"""The pages: frames in HTML that scripts fill from the REST interface.

A page is rendered without a look at an archive, so it is there at once and nobody who may not
search learns anything from it. All texts come from one catalogue, ``static/messages.en.json``,
which templates and scripts share.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment

from fdps.analysis.rendering import new_environment
from fdps.serve.problems import Problem
from fdps.serve.security.users import User, role_of

STATIC = Path(__file__).parent / "static"
LANGUAGE = "en"
PLACES = {
    "search": "/",
    "timeline": "/timeline",
    "cases": "/cases",
    "library": "/library",
    "privacy": "/privacy",
    "model": "/model",
}
"""The pages that the navigation leads to, in its order."""

THEME_COOKIE = "fdps_theme"
_THEMES = {"light", "dark"}
_ASKED = {"like", "case"}  # parameters of an address that begins with results
_IMPORT = re.compile(r"""\b(?:from|import)\s+"\./([\w.]+)\"""")


router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/")
def search(request: Request) -> str:
    """Search, or results where the address tells whom to look for."""
    return page(request, "search", asked=bool(_ASKED & request.query_params.keys()))


@router.get("/timeline")
def timeline(request: Request) -> str:
    """Cameras over time."""
    return page(request, "timeline")


@router.get("/scene/{key}")
def scene(request: Request, key: str) -> str:
    """One picture or frame."""
    return page(request, "scene", place="search", key=key)


@router.get("/cases")
def cases(request: Request) -> str:
    """All cases."""
    return page(request, "cases")


@router.get("/cases/{key}")
def case(request: Request, key: str) -> str:
    """One case."""
    return page(request, "case", place="cases", key=key)


@router.get("/library")
def library(request: Request) -> str:
    """Sources, jobs and skipped files."""
    return page(request, "library")


@router.get("/privacy")
def privacy(request: Request) -> str:
    """Retention, forgetting, the audit and connections."""
    return page(request, "privacy")


@router.get("/model")
def model(request: Request) -> str:
    """The model and its limits."""
    return page(request, "model")


@router.get("/login")
def login(request: Request) -> str:
    """The form for name and password."""
    return _render(request, "login.html", problem="")


def page(request: Request, name: str, *, place: str = "", **values: Any) -> str:
    """Write a page inside the frame of navigation and help.

    Args:
        request: The request, which knows the theme and who asks.
        name: Name of the template and of the script.
        place: Entry of the navigation that is current; that of the page itself by default.
        values: Further values of the template.
    """
    script = f"{name}_page"
    user: User | None = getattr(request.state, "user", None)

    def may(least: str) -> bool:
        return user is not None and user.role >= role_of(least)

    values |= {
        "page": name,
        "place": place or name,
        "places": PLACES,
        "scripts": [script],
        "preloaded": modules_of("shell.js", f"{script}.js"),
        "user": user.name if user and request.app.state.door.has_users else "",
        "role": user.role.name.lower() if user else "",
        "may": may,
    }
    return _render(request, f"{name}.html", **values)


def error_page(request: Request, problem: Problem) -> str:
    """Write the page of a problem: what happened, and the way out.

    A refused password is told above the form, where the next attempt is made.
    """
    told = problem.body()
    detail = "" if told["detail"] in ("", told["title"]) else sentence(told["detail"])
    if request.url.path == "/login":
        return _render(request, "login.html", problem=detail)
    of_status = f"error.{problem.status}"
    known = of_status if f"{of_status}.title" in messages() else "error.other"
    return _render(
        request,
        "error.html",
        status=problem.status,
        title=text(f"{known}.title"),
        detail=detail or text(f"{known}.detail"),
        hint=sentence(told["hint"]) or text(f"{known}.hint"),
    )


def sentence(words: str) -> str:
    """Return the words of an error as a sentence.

    Example:
        >>> sentence("there is no such case")
        'There is no such case.'
    """
    if not words:
        return ""
    return words[0].upper() + words[1:] + ("" if words[-1] in ".!?:" else ".")


@cache
def messages() -> Mapping[str, str | Mapping[str, str]]:
    """Return the catalogue: a text, or its forms for one and for several, by key."""
    loaded: dict[str, str | Mapping[str, str]] = json.loads(
        (STATIC / f"messages.{LANGUAGE}.json").read_text(encoding="utf-8")
    )
    return loaded


def text(key: str, **values: object) -> str:
    """Return a text of the catalogue with values in place of ``{name}``.

    Raises:
        KeyError: The catalogue has no such text, or a value is missing.
    """
    found = messages()[key]
    form = found if isinstance(found, str) else found["one" if values["n"] == 1 else "other"]
    return re.sub(r"\{(\w+)\}", lambda match: str(values[match[1]]), form)


@cache
def modules_of(*scripts: str) -> tuple[str, ...]:
    """Return all modules that scripts import, so that a browser fetches them at once."""
    seen = dict.fromkeys(scripts)
    waiting = [*scripts]
    while waiting:
        for name in _imported(waiting.pop()):
            if name not in seen:
                seen[name] = None
                waiting.append(name)
    return tuple(name for name in seen if name not in scripts)


def _imported(script: str) -> Iterator[str]:
    source = (STATIC / "js" / script).read_text(encoding="utf-8")
    yield from _IMPORT.findall(source)


def _render(request: Request, template: str, **values: Any) -> str:
    theme = request.cookies.get(THEME_COOKIE, "")
    values |= {"theme": theme if theme in _THEMES else "", "language": LANGUAGE}
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    environment = new_environment("fdps.serve")
    environment.globals["t"] = text
    return environment
