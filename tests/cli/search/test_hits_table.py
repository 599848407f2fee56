import json

import numpy as np
import pytest

from fdps.cli.search.hits_table import appearance_rows, show_appearances
from fdps.search import Appearance, SceneRecord
from fdps.search.results.calibration import Level
from fdps.structures import Hit


def scene(name: str, time: str | None = None, offset_s: float | None = None) -> SceneRecord:
    return SceneRecord(name, f"/in/{name}", "a" * 64, 9, 9, "gate", time, 0, offset_s)


def found(
    first: SceneRecord, last: SceneRecord, n: int = 3, similarity: float = 0.9, item: int = 7
) -> Appearance:
    box = np.array([1.26, 2, 30, 40], dtype=np.float32)
    best = Hit(last.name, box, similarity - 0.1, 0.75, item=item)
    return Appearance(similarity, best, tuple(range(item, item + n)), first, last)


FROM_A_VIDEO = found(
    scene("in/gate.mp4@00:44:10.500", "2026-05-02T14:31:07.250+02:00", 2650.5),
    scene("in/gate.mp4@00:44:15.000", "2026-05-02T14:31:11.750+02:00", 2655.0),
)
FROM_A_PICTURE = found(scene("in/a.jpg"), scene("in/a.jpg"), n=1, similarity=0.5, item=11)
OVERNIGHT = found(
    scene("in/b.mp4@00:00:00.000", "2026-05-02T23:59:59+02:00", 0.0),
    scene("in/b.mp4#1234abcd@00:00:02.000", "2026-05-03T00:00:01+02:00", 2.0),
)


LEVELS: dict[int, Level] = {7: "strong", 11: "weak"}


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    show_appearances([FROM_A_VIDEO, FROM_A_PICTURE, OVERNIGHT], LEVELS)
    head, *rows = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in [head, *rows]]
    assert cells == [
        ["rank", "similarity", "item", "level", "when", "camera", "seen", "from-to", "best"],
        [
            "1", "0.900", "7", "strong", "2026-05-02 14:31:07 - 14:31:11", "gate", "3×",
            "in/gate.mp4@00:44:10.500 - 00:44:15.000", "@00:44:15.000 (1,2)-(30,40)",
        ],
        ["2", "0.500", "11", "weak", "—", "gate", "1×", "in/a.jpg", "(1,2)-(30,40)"],
        [
            "3", "0.900", "7", "strong", "2026-05-02 23:59:59 - 2026-05-03 00:00:01", "gate", "3×",
            "in/b.mp4@00:00:00.000 - in/b.mp4#1234abcd@00:00:02.000",
            "@00:00:02.000 (1,2)-(30,40)",
        ],
    ]  # fmt: skip


def test_what_nobody_knows_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    show_appearances([FROM_A_PICTURE], {})
    assert "level" not in (text := capsys.readouterr().out)
    assert "when" not in text


def test_rows_for_json() -> None:
    first, second = json.loads(json.dumps(appearance_rows([FROM_A_VIDEO, FROM_A_PICTURE], {})))
    assert first == {
        "rank": 1,
        "similarity": 0.9,
        "level": None,
        "n_sightings": 3,
        "items": [7, 8, 9],
        "camera": "gate",
        "first": {
            "scene": "in/gate.mp4@00:44:10.500",
            "path": "/in/in/gate.mp4@00:44:10.500",
            "offset_s": 2650.5,
            "time": "2026-05-02T14:31:07.250+02:00",
        },
        "last": {
            "scene": "in/gate.mp4@00:44:15.000",
            "path": "/in/in/gate.mp4@00:44:15.000",
            "offset_s": 2655.0,
            "time": "2026-05-02T14:31:11.750+02:00",
        },
        "best": {
            "scene": "in/gate.mp4@00:44:15.000",
            "box": [1.3, 2.0, 30.0, 40.0],
            "similarity": pytest.approx(0.8),
            "score": 0.75,
            "item": 7,
        },
    }
    assert (second["rank"], second["first"]["offset_s"], second["n_sightings"]) == (2, None, 1)
    rows = appearance_rows([FROM_A_VIDEO, FROM_A_PICTURE], LEVELS)
    assert [row["level"] for row in rows] == ["strong", "weak"]
