import json

import pytest

from fake.found import perfect, predictions, query, scene
from fdps.errors import PredictionsError, UsageError
from fdps.evaluation import evaluate
from fdps.structures import SceneSet

A = (0.0, 0.0, 20.0, 50.0)


def pair(frame: int | None = None) -> SceneSet:
    scenes = (scene("a", [(A, 0)], "c", 0), scene("b", [(A, 0)], "c", frame))
    return SceneSet("pair", scenes, (query(scenes[0], 0),))


def test_json_has_the_promised_keys_and_no_others() -> None:
    scenes = pair()
    assert evaluate(perfect(scenes, 1), scenes).json() == {
        "detection": {"recall": 1.0, "ap": 1.0},
        "search": {"mAP": 1.0, "top1": 1.0, "top5": 1.0, "top10": 1.0, "n_queries": 1},
        "protocol": "reference",
        "gallery_size": 1,
    }


def test_what_is_undefined_is_null() -> None:
    scenes = SceneSet("empty", (scene("a", []),))
    report = evaluate(predictions(scenes, [[(A, 1.0, [1.0])]], []), scenes)
    assert report.json()["detection"] == {"recall": None, "ap": None}
    assert report.json()["search"]["mAP"] is None
    json.dumps(report.record(), allow_nan=False)


def test_the_record_tells_how_it_was_scored() -> None:
    scenes = pair(frame=5)
    record = evaluate(perfect(scenes, 1), scenes, min_frame_gap=9, score_threshold=0.3).record()
    assert record["options"]["min_frame_gap"] == 9
    assert record["options"]["score_threshold"] == 0.3
    assert (record["n_dropped"], record["search"]["n_queries"]) == (1, 0)
    assert (record["data"], record["n_scenes"], record["n_people"]) == ("pair", 2, 2)


def test_the_score_threshold_holds_for_detection_and_search() -> None:
    scenes = pair()
    found = [[(A, 0.4, [1.0])], [(A, 0.4, [1.0])]]
    file = predictions(scenes, found, [[1.0]])
    strict, loose = evaluate(file, scenes), evaluate(file, scenes, score_threshold=0.4)
    assert (strict.detection.recall, strict.search.mean_ap) == (0, 0)
    assert (loose.detection.recall, loose.search.mean_ap) == (1, 1)


def test_mistakes_are_named() -> None:
    scenes = pair()
    with pytest.raises(UsageError, match="unknown protocol"):
        evaluate(perfect(scenes, 1), scenes, protocol="lenient")
    with pytest.raises(PredictionsError, match="data hash"):
        evaluate(perfect(pair(frame=5), 1), SceneSet("other", scenes.scenes))
