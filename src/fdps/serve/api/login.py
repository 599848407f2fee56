"""Come in by a password, and leave."""

from typing import Annotated

from fastapi import APIRouter, Form
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from fdps.serve.security.door import Door

router = APIRouter(tags=["login"])


@router.post("/login", response_class=Response)
async def login(
    request: Request,
    username: Annotated[str, Form(max_length=64)],
    password: Annotated[str, Form(max_length=1000)],
) -> Response:
    """Begin a session by a name and a password."""
    door: Door = request.app.state.door
    return await run_in_threadpool(door.by_password, request, username, password)


@router.post("/logout", response_class=Response)
async def logout(request: Request) -> Response:
    """End the session."""
    door: Door = request.app.state.door
    return door.leave(request)
