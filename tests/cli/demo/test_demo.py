import json
from dataclasses import replace

import pytest

from fdps.analysis.colour_histogram import predict_by_colour
from fdps.cli.demo import stages as demo_stages
from fdps.cli.main import main
from fdps.config import load_recipe
from fdps.data.synthetic import SyntheticConfig
from fdps.errors import UsageError

TINY = SyntheticConfig(
    n_train_persons=2,
    n_test_persons=2,
    n_train_scenes=2,
    n_test_scenes=3,
    n_cameras=1,
    people_per_scene=(1, 2),
    width=96,
    height=96,
)


def test_plan_depends_on_its_arguments_alone(tmp_path):
    first = demo_stages.plan(tmp_path, seed=3, epochs=7, quick=False)
    assert first == demo_stages.plan(tmp_path, seed=3, epochs=7, quick=False)
    config, recipe = first
    assert (config.seed, recipe.train.seed, recipe.train.epochs) == (3, 3, 7)
    assert {recipe.data.train[0].root, recipe.data.test.root} == {str(tmp_path / "scenes")}


def test_plan_trains_fdps_with_the_balanced_loss_from_nothing(tmp_path):
    _, recipe = demo_stages.plan(tmp_path, seed=0, epochs=None, quick=False)
    assert (recipe.model.system, recipe.loss.name) == ("fdps", "boim")
    assert recipe.model.backbone_weights == "none"  # the demo fetches nothing


def test_quick_draws_and_trains_less(tmp_path):
    config, recipe = demo_stages.plan(tmp_path, seed=0, epochs=None, quick=False)
    less, shorter = demo_stages.plan(tmp_path, seed=0, epochs=None, quick=True)
    assert less.n_train_scenes * less.width < config.n_train_scenes * config.width
    assert shorter.train.epochs < recipe.train.epochs


@pytest.mark.long
def test_scenes_are_drawn_once(tmp_path):
    train, test = demo_stages.draw(TINY, tmp_path, quiet=True)
    assert (len(train), len(test)) == (2, 3)
    before = train.scenes[0].path.stat().st_mtime_ns
    demo_stages.draw(TINY, tmp_path, quiet=True)
    assert train.scenes[0].path.stat().st_mtime_ns == before


@pytest.mark.long
def test_other_scenes_replace_the_old_ones_and_their_network(tmp_path):
    demo_stages.draw(TINY, tmp_path, quiet=True)
    (tmp_path / "run").mkdir()
    demo_stages.draw(replace(TINY, seed=1), tmp_path, quiet=True)
    assert not (tmp_path / "run").exists()


def test_foreign_files_are_not_replaced(tmp_path):
    (tmp_path / "scenes").mkdir()
    (tmp_path / "scenes" / "mine.jpg").write_bytes(b"mine")
    with pytest.raises(UsageError, match="scenes"):
        demo_stages.draw(TINY, tmp_path, quiet=True)


def test_network_stands_beside_the_colours(tmp_path):
    _, scenes = demo_stages.draw(TINY, tmp_path, quiet=True)
    systems = demo_stages.score(predict_by_colour(scenes), scenes)
    assert [system.name for system in systems] == ["FDPS + BOIM", "colour histogram"]
    assert systems[0].evaluation.json() == systems[1].evaluation.json()


@pytest.mark.slow
def test_demo_from_nothing_to_report_and_again(tmp_path, capsys):
    out = tmp_path / "demo"
    command = ["demo", "-o", str(out), "--quick", "--train", "--queries", "2", "--json"]
    assert main(command) == 0
    shown = capsys.readouterr()
    result = json.loads(shown.out)
    assert set(result["systems"]) == {"FDPS + BOIM", "colour histogram"}
    assert list(result["seconds"]) == ["draw", "train", "predict", "evaluate", "index", "report"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count('class="strip"') == 2
    assert "Train took" in shown.err

    weights = (out / "run" / "weights.safetensors").read_bytes()
    assert main([*command, "--quiet"]) == 0  # everything is there already
    assert capsys.readouterr().err == ""
    assert (out / "run" / "weights.safetensors").read_bytes() == weights

    assert main([*command, "--epochs", "1"]) == 0  # another recipe: trained anew
    assert load_recipe(out / "run" / "recipe.toml").train.epochs == 1


@pytest.mark.long
def test_bundled_weights_need_no_training_and_leave_a_trained_run_alone(tmp_path, capsys):
    out = tmp_path / "demo"
    config, _ = demo_stages.plan(out, seed=1, epochs=None, quick=True)
    demo_stages.draw(config, out, quiet=True)
    (out / "run").mkdir()
    (out / "run" / "weights.safetensors").write_bytes(b"trained")
    assert main(["demo", "-o", str(out), "--quick", "--queries", "1", "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert "Report" in shown
    assert "train" not in (out / "report.html").read_text().split("Seconds")[1].split("<tr")[0]

    command = shown.split("Next    fdps ")[1].splitlines()
    assert main(command[0].split()) == 0  # as it is printed
    assert main(command[1].split()[1:]) == 0
    assert (out / "run" / "weights.safetensors").read_bytes() == b"trained"


def test_epochs_without_training_are_refused(tmp_path, capsys):
    assert main(["demo", "-o", str(tmp_path / "demo"), "--epochs", "3"]) == 2
    assert "--epochs changes a training" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
