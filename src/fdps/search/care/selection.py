"""Choose scenes of an archive by name, file, camera or time."""

from collections.abc import Sequence

from fdps.errors import UsageError
from fdps.search.sql.filters import filter_conditions
from fdps.search.sql.store import SqlStore
from fdps.search.store import Filters


def chosen_scenes(
    store: SqlStore,
    *,
    scenes: Sequence[str] = (),
    source: str = "",
    cameras: Sequence[str] = (),
    before: str = "",
) -> list[str]:
    """Return the names of the scenes that fulfil every given condition, in the order of addition.

    Args:
        store: The archive.
        scenes: Names, or patterns for names, one of which has to fit. Where one is literally the
            name of a scene, it means that scene and no other.
        source: Path of a file, or a pattern for paths, likewise.
        cameras: Names of cameras, one of which has to be that of the scene.
        before: Time before which the scene was taken; a scene of unknown time never fits.

    Raises:
        UsageError: No condition is given, or a time is malformed.
    """
    if not (scenes or source or cameras or before):
        raise UsageError("no scene is named", hint="give --scene, --source, --camera or --before")
    patterns = scenes or ("",)
    found: dict[int, str] = {}
    for pattern in patterns:
        filters = Filters(tuple(cameras), pattern, before=before, source=source)
        with store.reading() as database:
            demands, values = filter_conditions(database, filters.literal(store.find))
            rows = database.execute(f"SELECT id, name FROM scenes WHERE {demands}", values)
            found |= dict(rows.fetchall())
    return [found[scene_id] for scene_id in sorted(found)]
