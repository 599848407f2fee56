"""Choose scenes of an archive by name, file, camera or time."""

from collections.abc import Sequence

from fdps.errors import UsageError
from fdps.search.sqlite.filters import filter_conditions
from fdps.search.sqlite.store import SqliteStore
from fdps.search.store import Filters, Store, has_wildcards


def chosen_scenes(
    store: Store,
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
        UsageError: No condition is given, a time is malformed, or an archive on a server is asked
            for more than names without wildcards.
    """
    if not (scenes or source or cameras or before):
        raise UsageError("no scene is named", hint="give --scene, --source, --camera or --before")
    patterns = scenes or ("",)
    if not isinstance(store, SqliteStore):
        named = [name for name in patterns if store.find(name=name)]
        unknown = [name for name in patterns if name not in named]
        if source or cameras or before or any(map(has_wildcards, unknown)):
            raise UsageError(
                "an archive on a server takes the names of scenes, without wildcards",
                hint="fdps search --json names the scenes of what it finds",
            )
        return named
    found: dict[int, str] = {}
    for pattern in patterns:
        filters = Filters(tuple(cameras), pattern, before=before, source=source)
        demands, values = filter_conditions(filters.literal(store.find))
        with store.reading() as connection:
            rows = connection.execute(f"SELECT id, name FROM scenes WHERE {demands}", values)
            found |= dict(rows.fetchall())
    return [found[scene_id] for scene_id in sorted(found)]
