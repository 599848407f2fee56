"""Which scenes of an archive are meant: by name, file, camera or time."""

from collections.abc import Sequence

from fdps.errors import UsageError
from fdps.search.sqlite.filters import filter_conditions
from fdps.search.sqlite.store import SqliteStore
from fdps.search.store import Filters, Store


def chosen_scenes(
    store: Store,
    *,
    scenes: Sequence[str] = (),
    source: str = "",
    cameras: Sequence[str] = (),
    before: str = "",
) -> list[str]:
    """Names of the scenes that fulfil every condition given, in the order of addition.

    Args:
        store: The archive.
        scenes: Patterns for names, one of which has to fit.
        source: Pattern for paths of files.
        cameras: One of these cameras.
        before: Taken before this time; a scene of unknown time is not.

    Raises:
        UsageError: No condition is given, a time is malformed, or an archive on a server is asked
            for more than names without wildcards.
    """
    if not (scenes or source or cameras or before):
        raise UsageError("no scene is named", hint="give --scene, --source, --camera or --before")
    patterns = scenes or ("",)
    if not isinstance(store, SqliteStore):
        if source or cameras or before or any(set(pattern) & set("*?[") for pattern in patterns):
            raise UsageError(
                "an archive on a server takes the names of scenes, without wildcards",
                hint="fdps search --json names the scenes of what it finds",
            )
        return [name for name in patterns if store.find(name=name)]
    found: dict[int, str] = {}
    for pattern in patterns:
        demands, values = filter_conditions(
            Filters(tuple(cameras), pattern, 0.0, "", before, "", source)
        )
        with store.reading() as connection:
            rows = connection.execute(f"SELECT id, name FROM scenes WHERE {demands}", values)
            found |= dict(rows.fetchall())
    return [found[scene_id] for scene_id in sorted(found)]
