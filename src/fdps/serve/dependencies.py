"""What routes ask for: the archive that is meant, the user, the parts of the service.

All of these are coroutines although none of them waits for anything: FastAPI sends a plain function
to a thread of its own, which costs more than what it does.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Query, Request

from fdps.serve.archives import Archives, ServedArchive
from fdps.serve.looking.queries import Queries
from fdps.serve.looking.scenes import ScenePictures
from fdps.serve.looking.uploads import Uploads
from fdps.serve.problems import problem
from fdps.serve.security.users import Role, User
from fdps.serve.settings import ServeSettings


async def settings_of(request: Request) -> ServeSettings:
    """Return the settings of the service."""
    settings: ServeSettings = request.app.state.settings
    return settings


async def archives_of(request: Request) -> Archives:
    """Return all archives that are served."""
    archives: Archives = request.app.state.archives
    return archives


async def queries_of(request: Request) -> Queries:
    """Return the query pictures."""
    queries: Queries = request.app.state.queries
    return queries


async def uploads_of(request: Request) -> Uploads:
    """Return what looks at query pictures."""
    uploads: Uploads = request.app.state.uploads
    return uploads


async def scene_pictures_of(request: Request) -> ScenePictures:
    """Return what decodes scenes."""
    pictures: ScenePictures = request.app.state.scene_pictures
    return pictures


QueryPictures = Annotated[Queries, Depends(queries_of)]
Looking = Annotated[Uploads, Depends(uploads_of)]
Scenes = Annotated[ScenePictures, Depends(scene_pictures_of)]
Settings = Annotated[ServeSettings, Depends(settings_of)]
AllArchives = Annotated[Archives, Depends(archives_of)]
ArchiveKey = Annotated[
    str | None, Query(description="Id of the archive, where several are served.", max_length=200)
]


async def archive_of(archives: AllArchives, archive: ArchiveKey = None) -> ServedArchive:
    """Return the archive that the parameter ``archive`` names, or the only one."""
    return archives.get(archive)


Archive = Annotated[ServedArchive, Depends(archive_of)]


def require(role: Role) -> Callable[[Request], Awaitable[User]]:
    """Make a dependency that lets in users of at least this role, and returns who it is."""

    async def entered(request: Request) -> User:
        user: User | None = getattr(request.state, "user", None)
        if user is None:
            raise problem(401, "this service does not know you")
        if user.role < role:
            needed = role.name.lower()
            raise problem(
                403,
                f"this needs the role {needed}, {user.name} is {user.role.name.lower()}",
                hint="ask whoever runs this service",
                code="wrong_role",
            )
        return user

    return entered


Viewer = Annotated[User, Depends(require(Role.VIEWER))]
Editor = Annotated[User, Depends(require(Role.EDITOR))]
Admin = Annotated[User, Depends(require(Role.ADMIN))]
