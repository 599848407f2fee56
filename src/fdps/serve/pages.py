"""The HTML pages."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from fdps.names import printable
from fdps.serve.problems import Problem

router = APIRouter(include_in_schema=False)
templates = Environment(
    loader=PackageLoader("fdps.serve"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=lambda value: printable(value) if isinstance(value, str) else value,
)


@router.get("/", response_class=HTMLResponse)
async def home(request: Request) -> str:
    """Search."""
    return templates.get_template("home.html").render()


@router.get("/login", response_class=HTMLResponse)
async def login(request: Request) -> str:
    """The form for name and password."""
    return templates.get_template("login.html").render()


def error_page(request: Request, problem: Problem) -> str:
    """Write the page of a problem."""
    return templates.get_template("error.html").render(problem=problem.body())
