"""The pictures of scenes, decoded again from the files that an archive remembers."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from fdps.decoding.messages import DecodedFrame, Ending
from fdps.decoding.pool import Decoders
from fdps.errors import PictureError
from fdps.names import from_stored
from fdps.search.ingest.plan import content_hash
from fdps.search.store import SceneRecord
from fdps.structures import Picture


def scene_pictures(scenes: Iterable[SceneRecord]) -> dict[str, Picture | str]:
    """Decode scenes and hold them all in memory; otherwise as :func:`each_scene_picture`."""
    return dict(each_scene_picture(scenes))


def each_scene_picture(scenes: Iterable[SceneRecord]) -> Iterator[tuple[str, Picture | str]]:
    """Decode scenes, in the same restricted processes in which they were indexed.

    All frames of one video are looked up together.

    Args:
        scenes: Scenes of an archive, in any order.

    Yields:
        Once for each scene its name, and the upright picture or the reason why there is none. A
        file whose content is not what was indexed gives no picture, since the boxes would not fit.

    Raises:
        ResourceError: No decoder can be started.
    """
    files: dict[str, dict[str, SceneRecord]] = defaultdict(dict)
    for scene in scenes:
        files[scene.path][scene.name] = scene
    with Decoders() as decoders:
        for path, of_file in files.items():
            yield from pictures_of_file(decoders, path, list(of_file.values()))


def pictures_of_file(
    decoders: Decoders,
    path: str,
    scenes: Sequence[SceneRecord],
    *,
    changed: Callable[[SceneRecord], str] | None = None,
) -> Iterator[tuple[str, Picture | str]]:
    """Decode scenes of one file; otherwise as :func:`each_scene_picture`.

    Args:
        decoders: Decoders, which may be those of other files as well.
        path: The file, as its scenes name it.
        scenes: Scenes of that file, at least one.
        changed: Tells why the file is not the one that was indexed, as :func:`why_changed` does;
            a service remembers what that said.
    """
    names = {scene.frame: scene.name for scene in scenes}
    problem = (changed or why_changed)(scenes[0])
    if not problem:
        moments = [(scene.frame, scene.offset_s) for scene in scenes if scene.offset_s is not None]
        request = {"do": "moments", "moments": moments} if moments else {"do": "picture"}
        for event in decoders.submit(request | {"path": str(from_stored(path))}):
            if isinstance(event, DecodedFrame) and event.frame in names:
                yield names.pop(event.frame), event.image
            elif isinstance(event, Ending):
                problem = event.problem.removeprefix(f"{path} ")
    for name in names.values():
        yield name, problem or "the frame is not there"


def why_changed(scene: SceneRecord) -> str:
    """Say why the file is not the one that was indexed; empty if it is."""
    try:
        is_same = content_hash(from_stored(scene.path)) == scene.sha256
    except PictureError as error:
        return str(error)
    return "" if is_same else "the file has changed since it was indexed"
