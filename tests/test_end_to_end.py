"""From nothing to a person found again, by the commands that the README shows."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fake.runs import tiny_recipe
from fdps.cli.main import main
from fdps.config import DataConfig, Source, to_toml


@pytest.mark.long
def test_draw_train_predict_evaluate_index_search(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fdps(*arguments: object) -> Any:
        assert main([*map(str, arguments), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    data, run, archive = tmp_path / "scenes", tmp_path / "run", tmp_path / "people.fdps"
    counts = {"scenes": 4, "test-scenes": 3, "persons": 3, "test-persons": 2, "cameras": 1}
    options = [word for name, n in counts.items() for word in (f"--{name}", n)]
    fdps("data", "synth", data, *options, "--size", "128x96")

    recipe = tiny_recipe(epochs=1)
    sources = DataConfig((Source("folder", str(data)),), Source("folder", str(data), "test"))
    eager = replace(recipe.model, score_threshold=0.0, max_detections=3)
    (tmp_path / "r.toml").write_text(to_toml(replace(recipe, data=sources, model=eager)))
    weights = fdps("train", tmp_path / "r.toml", "--out", run)["weights"]
    assert Path(weights) == run / "weights.safetensors"

    predicted = fdps("predict", run)
    assert (predicted["n_scenes"], predicted["n_detections"]) == (3, 9)
    report = fdps("evaluate", run, "--score-threshold", 0)
    assert report["search"]["n_queries"] == predicted["n_queries"] > 0
    assert 0 <= report["search"]["mAP"] <= 1
    assert 0 <= report["detection"]["recall"] <= 1

    pictures = sorted((data / "images" / "test").iterdir())[:2]
    assert fdps("index", *pictures, "-o", archive, "--model", run)["n_added"] == 2
    found = fdps("search", archive, "--query", pictures[0], "--person", 1, "--top", 6)
    assert found["n_people"] == 6
    # After three steps other people may be as similar as the person is to itself.
    alike = [Path(hit["path"]) for hit in found["hits"] if hit["similarity"] > 1 - 1e-4]
    assert pictures[0] in alike
