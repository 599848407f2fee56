"""The door: who sends a request, by a session, a token or a password."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fdps.serve.problems import Problem, ProblemError, problem
from fdps.serve.security.tokens import Failures, Sessions, cookie_name, is_equal
from fdps.serve.security.users import Role, User, UsersFile
from fdps.serve.settings import ServeSettings

_MOST_PASSWORD = 1000
_WINDOW_S = 15 * 60.0


@dataclass(frozen=True, slots=True)
class Entry:
    """How somebody came in.

    Args:
        user: Who it is.
        is_bearer: Whether the request itself carries the token, which no page of another site can
            make a browser do.
    """

    user: User
    is_bearer: bool = False


class Door:
    """Tells who sends a request.

    Args:
        settings: The settings of the service.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self._cookie = cookie_name(settings.port)
        self._users = UsersFile(settings.users) if settings.users else None
        self.sessions = Sessions(settings.limits.session_s)
        self._by_address = Failures(20, _WINDOW_S)
        self._by_name = Failures(10, _WINDOW_S)
        # Whoever has the token of a service with users may look, such as a monitor.
        self._of_token = User("token", Role.VIEWER) if self._users else User("local", Role.ADMIN)

    @property
    def has_users(self) -> bool:
        """Whether users come in by a name and a password."""
        return self._users is not None

    def who(self, request: Request) -> Entry | None:
        """Return who sends a request, or ``None`` for a stranger."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and is_equal(token.strip(), self._settings.token):
            return Entry(self._of_token, is_bearer=True)
        secret = request.cookies.get(self._cookie)
        session = self.sessions.find(secret) if secret else None
        if session is None:
            return None
        if not session.name:
            return Entry(self._of_token)
        known = self._users.find(session.name) if self._users else None
        if known is None or known.password != session.stamp:
            return None
        return Entry(User(known.name, known.role))

    def by_token(self, request: Request) -> Response:
        """Let in whoever brings the start token in the address, and take it out of there.

        Raises:
            ProblemError: The token is wrong.
        """
        given = request.query_params.get("token", "")
        if self.has_users or not is_equal(given, self._settings.token):
            self.check_wait(request)  # the right token opens after any number of wrong ones
            self._by_address.note(_address(request))
            raise problem(
                401,
                "this is not the token of this service",
                hint="open the whole address that fdps serve printed",
            )
        # Not a 302 to the address asked for: it would carry the token on.
        response = RedirectResponse("/", 303)
        self._set_cookie(response, self.sessions.begin(""))
        return response

    def by_password(self, request: Request, name: str, password: str) -> Response:
        """Let in a user with a password. It takes some 50 ms of a processor.

        Raises:
            ProblemError: The name or the password is wrong, or was too often.
        """
        self.check_wait(request, name)
        known = None
        if self._users and len(password) <= _MOST_PASSWORD:
            known = self._users.verify(name, password)
        if known is None:
            self._by_address.note(_address(request))
            self._by_name.note(name)
            raise problem(401, "the name or the password is wrong")
        self._by_name.forget(name)
        response = RedirectResponse("/", 303)
        self._set_cookie(response, self.sessions.begin(known.name, known.password))
        return response

    def leave(self, request: Request) -> Response:
        """End the session of a request."""
        self.sessions.end(request.cookies.get(self._cookie, ""))
        response = RedirectResponse("/login" if self.has_users else "/", 303)
        response.delete_cookie(self._cookie, path="/")
        return response

    def check_wait(self, request: Request, name: str = "") -> None:
        """Refuse whoever has failed too often lately, before anything is compared.

        Raises:
            ProblemError: They have to wait.
        """
        wait_s = self._by_address.wait_s(_address(request))
        wait_s = max(wait_s, self._by_name.wait_s(name) if name else 0.0)
        if wait_s:
            headers = {"Retry-After": str(int(wait_s) + 1)}
            raise ProblemError(
                Problem(429, "too many wrong attempts", code="too_many_attempts", headers=headers)
            )

    def _set_cookie(self, response: Response, secret: str) -> None:
        response.set_cookie(
            self._cookie,
            secret,
            max_age=int(self._settings.limits.session_s),
            path="/",
            secure=self._settings.is_secure,
            httponly=True,
            samesite="strict",
        )


def is_own_page(request: Request, settings: ServeSettings, *, is_bearer: bool) -> bool:
    """Tell whether a request that changes something comes from a page of ours, or from no page.

    A browser tells where the page of a request comes from by ``Origin`` and ``Sec-Fetch-Site``,
    and no page can change these. Programs send neither; they prove by the token itself that no
    page of another site made them.
    """
    origin = request.headers.get("origin")
    if origin is not None:
        return origin.lower() in settings.origins
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return is_bearer


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"
