from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fake.coco import write_coco
from fake.commands import read_lines
from fake.runs import tiny_recipe, write_scenes
from fdps.config import Recipe, Source
from fdps.data import load_scenes
from fdps.engine.predict import predict
from fdps.engine.train import train
from fdps.engine.validation import Validation, search_figures
from fdps.errors import ConfigError
from fdps.evaluation import evaluate
from fdps.models import PersonSearchNet, build_model
from fdps.query import Searcher
from fdps.searcher import PersonSearcher
from fdps.structures import SceneSet


@pytest.fixture
def validation(tmp_path: Path) -> SceneSet:
    write_coco(tmp_path / "validation", person_ids=(1, 2), size=(96, 72))
    return load_scenes("coco", tmp_path / "validation", "test")


@pytest.fixture
def net() -> PersonSearchNet:
    recipe = tiny_recipe()
    torch.manual_seed(1)
    return build_model(recipe.model).eval()


def validating(every: int) -> Recipe:
    recipe = tiny_recipe(validate_every=0, epochs=3)
    data = replace(recipe.data, validation=Source("coco", "elsewhere", "test"))
    return replace(recipe, data=data, train=replace(recipe.train, validate_every=every))


def test_the_figures_are_those_of_predicting_and_evaluating(
    net: PersonSearchNet, validation: SceneSet
) -> None:
    searcher = PersonSearcher(net, "net", min_score=0.0)
    report = evaluate(predict(searcher, validation), validation)
    assert search_figures(searcher, validation) == {
        "recall": report.detection.recall,
        "ap": report.detection.ap,
        "mAP": report.search.mean_ap,
        "top1": report.search.top(1),
    }


def test_figures_that_are_undefined_are_left_out(
    net: PersonSearchNet, validation: SceneSet
) -> None:
    nobody_asked = replace(validation, queries=())
    assert search_figures(PersonSearcher(net, "net"), nobody_asked).keys() == {"recall", "ap"}


@pytest.mark.long
@pytest.mark.parametrize(("every", "due"), [(1, [1, 2, 3, 4, 5, 6]), (3, [3, 6]), (7, [])])
def test_it_is_searched_when_that_is_due(
    every: int, due: list[int], net: PersonSearchNet, validation: SceneSet
) -> None:
    look, searcher = Validation(validation, every=every), PersonSearcher(net, "net")
    assert [epoch for epoch in range(1, 7) if look(searcher, epoch)] == due


@pytest.mark.long
def test_a_training_from_python_validates(validation: SceneSet, tmp_path: Path) -> None:
    scenes, run = write_scenes(tmp_path / "data"), tmp_path / "run"
    seen: list[int] = []

    def inspect(searcher: Searcher, epoch: int) -> dict[str, float]:
        seen.append(epoch)
        return {"seen": float(epoch)}

    train(validating(2), scenes, run, validate=validation, inspect=inspect)
    epochs = read_lines(run / "epochs.jsonl")
    assert ["mAP" in record for record in epochs] == [False, True, False]
    assert [record["seen"] for record in epochs] == seen == [1, 2, 3]
    assert (run / "ckpt" / "best").exists()


def test_scenes_without_queries_are_refused_before_anything_is_written(
    validation: SceneSet, tmp_path: Path
) -> None:
    scenes = write_scenes(tmp_path / "data")
    with pytest.raises(ConfigError, match="has no queries, so nothing can be validated"):
        train(validating(1), scenes, tmp_path / "run", validate=replace(validation, queries=()))
    assert not (tmp_path / "run").exists()


def test_what_would_never_be_searched_is_refused(validation: SceneSet, tmp_path: Path) -> None:
    scenes = write_scenes(tmp_path / "data")
    with pytest.raises(ConfigError, match="validate_every is 0") as caught:
        train(tiny_recipe(), scenes, tmp_path / "run", validate=validation)
    assert "train.validate_every" in caught.value.hint
    with pytest.raises(ConfigError, match="no scenes were given to validate on"):
        train(validating(1), scenes, tmp_path / "run")
    assert not (tmp_path / "run").exists()
