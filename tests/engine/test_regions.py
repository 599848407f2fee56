"""How few regions a network has to look at is learnt from a split in which people are sought."""

from dataclasses import replace
from pathlib import Path

import pytest

from fdps.cli.main import main
from fdps.data import load_scenes
from fdps.engine.regions import learn_regions, mean_regions
from fdps.engine.validation import search_figures
from fdps.errors import UsageError
from fdps.searcher import PersonSearcher, load
from fdps.structures import RegionLimits, SceneSet


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> SceneSet:
    root = tmp_path_factory.mktemp("drawn") / "scenes"
    sizes = ["--scenes", "1", "--persons", "2", "--test-scenes", "5", "--test-persons", "3"]
    assert main(["data", "synth", str(root), *sizes, "--quiet"]) == 0
    return load_scenes("folder", root, "test")


@pytest.fixture(scope="module")
def searcher() -> PersonSearcher:
    return load("drawn-people")


@pytest.mark.long
def test_the_fewest_regions_that_lose_little_are_taken(
    scenes: SceneSet, searcher: PersonSearcher
) -> None:
    before = searcher.regions
    trials = learn_regions(searcher, scenes, largest_loss=0.02)
    assert searcher.regions == before == trials[0].limits
    plain, *others, chosen = trials
    assert chosen.n_regions < 0.85 * plain.n_regions
    assert chosen.figures["mAP"] >= plain.figures["mAP"] - 0.02
    # Those that leave fewer were tried, and lose too much.
    assert all(trial.n_regions <= chosen.n_regions for trial in others)
    assert all(trial.figures["mAP"] < plain.figures["mAP"] - 0.02 for trial in others)
    searcher.regions = chosen.limits
    try:
        assert search_figures(searcher, scenes) == chosen.figures
    finally:
        searcher.regions = before


@pytest.mark.long
def test_where_nothing_can_be_saved_every_trial_is_told(
    scenes: SceneSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("fdps.engine.regions.MIN_SCORES", (0.0, 0.99999))
    monkeypatch.setattr("fdps.engine.regions.MAX_IOUS", (0.7,))
    searcher = load("drawn-people")
    plain, nobody, chosen = learn_regions(searcher, scenes)
    assert nobody.figures["mAP"] < plain.figures["mAP"]
    assert chosen is plain
    monkeypatch.setenv("FDPS_MODELS", str(tmp_path))
    root = str(scenes.scenes[0].path.parents[2])
    assert main(["models", "regions", "drawn-people", "--data", "folder", "--root", root]) == 0
    told = capsys.readouterr().out
    assert "     1.00     0.70      0.0" in told
    assert "Regions all stay: whatever leaves some out loses more than 0.001 of mAP" in told


def test_regions_are_counted_without_looking_at_them(
    scenes: SceneSet, searcher: PersonSearcher
) -> None:
    all_, sure, none = RegionLimits(0.0, 0.7), RegionLimits(0.5, 0.7), RegionLimits(0.9999999, 0.7)
    picture = scenes.scenes[0].path
    counts = searcher.n_regions(picture, [all_, sure, none])
    assert counts[0] > counts[1] > counts[2] == 0
    assert mean_regions(searcher, replace(scenes, scenes=scenes.scenes[:1]), [sure]) == counts[1:2]
    before, searcher.regions = searcher.regions, none
    try:
        assert len(searcher.detect(picture)) == 0
    finally:
        searcher.regions = before


def test_without_queries_nothing_can_be_learnt(scenes: SceneSet, searcher: PersonSearcher) -> None:
    with pytest.raises(UsageError, match="has no queries"):
        learn_regions(searcher, replace(scenes, queries=()))


@pytest.mark.long
def test_the_verb_writes_what_loading_follows(
    scenes: SceneSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fdps

    monkeypatch.setenv("FDPS_MODELS", str(tmp_path))
    root = str(scenes.scenes[0].path.parents[2])
    data = ["--data", "folder", "--root", root, "--loss", "1", "--quiet"]
    assert main(["models", "regions", "drawn-people", *data]) == 0
    limited = fdps.load("drawn-people")
    assert isinstance(limited, PersonSearcher)
    assert limited.regions == RegionLimits(0.9, 0.4)
    file = tmp_path / "drawn-people.regions.json"
    text = file.read_text()
    for bad in ("{}", "no JSON", text.replace("0.9", "7")):
        file.write_text(bad)
        with pytest.raises(fdps.ModelError, match=r"regions\.json"):
            fdps.load("drawn-people")
    file.write_text(text.replace(limited.model_hash, "0" * 16))  # of other weights
    assert fdps.load("drawn-people").regions.min_score == 0  # type: ignore[attr-defined]
    assert main(["models", "regions", "drawn-people", "--forget"]) == 0
    assert not file.exists()


def test_the_verb_refuses_a_card(tmp_path: Path) -> None:
    card = tmp_path / "card.toml"
    card.write_text("", encoding="utf-8")
    assert main(["models", "regions", str(card)]) == 2
