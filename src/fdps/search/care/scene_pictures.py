"""The pictures of scenes, decoded again from the files that an archive remembers."""

from collections import defaultdict
from collections.abc import Iterable

from fdps.decoding.messages import DecodedFrame, Ending
from fdps.decoding.pool import Decoders
from fdps.errors import PictureError
from fdps.names import from_stored
from fdps.search.ingest.plan import content_hash
from fdps.search.store import SceneRecord
from fdps.structures import Picture


def scene_pictures(scenes: Iterable[SceneRecord]) -> dict[str, Picture | str]:
    """Decode scenes, in the same restricted processes in which they were indexed.

    All frames of one video are looked up together.

    Args:
        scenes: Scenes of an archive.

    Returns:
        For each name of a scene its upright picture, or the reason why there is none. A file whose
        content is not what was indexed gives no picture, since the boxes would not fit.

    Raises:
        ResourceError: No decoder can be started.
    """
    files: dict[str, dict[str, SceneRecord]] = defaultdict(dict)
    for scene in scenes:
        files[scene.path][scene.name] = scene
    pictures: dict[str, Picture | str] = {}
    with Decoders() as decoders:
        for path, of_file in files.items():
            pictures |= _of_file(decoders, path, list(of_file.values()))
    return pictures


def _of_file(decoders: Decoders, path: str, scenes: list[SceneRecord]) -> dict[str, Picture | str]:
    problem = _changed(scenes[0])
    if problem:
        return {scene.name: problem for scene in scenes}
    moments = [(scene.frame, scene.offset_s) for scene in scenes if scene.offset_s is not None]
    request = {"do": "moments", "moments": moments} if moments else {"do": "picture"}
    images: dict[int, Picture] = {}
    for event in decoders.submit(request | {"path": str(from_stored(path))}):
        if isinstance(event, DecodedFrame):
            images[event.frame] = event.image
        elif isinstance(event, Ending):
            problem = event.problem.removeprefix(f"{path} ")
    reason = problem or "the frame is not there"
    return {scene.name: images.get(scene.frame, reason) for scene in scenes}


def _changed(scene: SceneRecord) -> str:
    """Say why the file is not the one that was indexed; empty if it is."""
    try:
        is_same = content_hash(from_stored(scene.path)) == scene.sha256
    except PictureError as error:
        return str(error)
    return "" if is_same else "the file has changed since it was indexed"
