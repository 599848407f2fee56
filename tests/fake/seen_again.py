"""Training scenes that are searched for their own people, to see what was learnt by heart."""

from dataclasses import replace

from fdps.structures import Query, SceneSet


def with_queries(scenes: SceneSet) -> SceneSet:
    """Ask for everybody with an identity who is seen in another scene as well."""
    seen_in = {
        person_id: {scene.name for scene in scenes.scenes if person_id in scene.person_ids}
        for person_id in scenes.person_ids
    }
    queries = [
        Query(scene.name, box, person_id)
        for scene in scenes.scenes
        for box, person_id in zip(scene.boxes, scene.person_ids.tolist(), strict=True)
        if len(seen_in.get(person_id, ())) > 1
    ]
    return replace(scenes, queries=tuple(queries))
