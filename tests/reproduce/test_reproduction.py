"""A whole reproduction of drawn scenes: trained, interrupted, continued, never trained twice."""

from pathlib import Path

import pytest

from fake.reproduced import TINY, Events, tiny_bench, tiny_choice
from fdps.engine.train import train
from fdps.errors import UsageError
from fdps.predictions import data_hash, load_predictions
from fdps.reproduce.bench import Bench
from fdps.reproduce.cost import estimate
from fdps.reproduce.one_run import DONE_FILE, PREDICTIONS, Order, is_finished, perform, read_done
from fdps.reproduce.plan import Choice, Planner
from fdps.reproduce.reproduction import Machine, Reproduction
from fdps.reproduce.targets import find_targets
from fdps.reproduce.variants import VARIANTS


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return tiny_bench(tmp_path)


def make(bench: Bench, out: Path, name: str = "table2", *settings: str) -> Reproduction:
    return Reproduction(find_targets(name), bench, tiny_choice(*settings), out, seeds=1)


def told(steps: list[tuple[str, int, int]], stage: str) -> list[int]:
    return [done for name, done, _ in steps if name == stage]


@pytest.mark.long
def test_a_run_is_trained_and_predicted_once(bench: Bench, tmp_path: Path) -> None:
    work = make(bench, tmp_path / "out")
    order, steps = work.orders()[0], []
    assert not is_finished(order)
    perform(order, lambda *progress: steps.append(progress))
    assert told(steps, "train") == [0, 1, 2, 3, 4]
    assert told(steps, "predict")[-1] == len(work.test)
    assert is_finished(order)
    found = load_predictions(order.run.folder / "predictions.safetensors")
    assert found.data_hash == data_hash(work.test)
    # Another plan finds it, and has nothing to do.
    again, steps = make(bench, tmp_path / "out").orders()[0], []
    perform(again, lambda *progress: steps.append(progress))
    assert (steps, again.run.folder) == ([], order.run.folder)


@pytest.mark.long
def test_a_training_goes_on_where_it_stopped(bench: Bench, tmp_path: Path) -> None:
    order, steps = make(bench, tmp_path / "out").orders()[0], []

    def stop(stage: str, done: int, total: int) -> None:
        if done == 2:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        perform(order, stop)
    assert not is_finished(order)
    perform(order, lambda *progress: steps.append(progress))
    assert told(steps, "train") == [2, 3, 4]
    assert is_finished(order)
    whole = make(bench, tmp_path / "other").orders()[0]
    perform(whole, lambda *progress: None)
    weights = [o.run.folder / "weights.safetensors" for o in (order, whole)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.long
def test_other_test_scenes_are_predicted_and_not_trained_for(bench: Bench, tmp_path: Path) -> None:
    order = make(bench, tmp_path / "out").orders()[0]
    perform(order, lambda *progress: None)
    queries = bench.root / "queries.csv"
    lines = queries.read_text().splitlines()
    queries.write_text("\n".join(lines[:-1]) + "\n")
    changed, steps = make(bench, tmp_path / "out").orders()[0], []
    assert not is_finished(changed)
    perform(changed, lambda *progress: steps.append(progress))
    assert told(steps, "train") == []
    assert told(steps, "predict")


def test_a_torn_note_counts_as_nothing(tmp_path: Path) -> None:
    (tmp_path / DONE_FILE).write_text('{"train_sec')
    assert read_done(tmp_path) == {}


def test_fdps_under_oim_is_one_run_for_all_tables(bench: Bench, tmp_path: Path) -> None:
    work = Reproduction(find_targets("all"), bench, tiny_choice(), tmp_path, seeds=1)
    runs = [work.runs[name]["fdps"][0].address for name in ("table1", "table2", "table3", "fig4")]
    assert len(set(runs)) == 1
    folders = [order.run.folder for order in work.orders()]
    assert len(set(folders)) == len(folders) == 22
    fdps = next(order for order in work.orders() if order.run.address == runs[0])
    assert set(fdps.files) == {"predictions.safetensors", "ground_truth.safetensors"}


@pytest.mark.long
def test_seeds_are_as_each_target_asks(bench: Bench, tmp_path: Path) -> None:
    work = Reproduction(find_targets("all"), bench, tiny_choice(), tmp_path)
    asked = {name: {len(seeds) for seeds in runs.values()} for name, runs in work.runs.items()}
    assert asked == {
        "table1": {5},
        "table2": {5},
        "table3": {3},
        "fig3": set(),
        "fig4": {1},
        "fig5": {3},
    }
    # 7 systems of tables 1 and 2 with five seeds, 15 more of table 3 with three.
    assert len(work.orders()) == 7 * 5 + 15 * 3


def test_counts_that_make_no_sense_are_refused(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--seeds must be at least 1, got 0"):
        Reproduction(find_targets("table1"), bench, tiny_choice(), tmp_path, seeds=0)
    with pytest.raises(UsageError, match="--jobs must be at least 1, got 0"):
        Reproduction(find_targets("fig3"), None, Choice(), tmp_path, machine=Machine(jobs=0))


def test_unknown_targets_are_refused() -> None:
    with pytest.raises(UsageError) as raised:
        find_targets("tabel1")
    assert "did you mean 'table1'" in raised.value.hint


@pytest.mark.slow
def test_a_reproduction_that_is_interrupted_goes_on(bench: Bench, tmp_path: Path) -> None:
    work = make(bench, tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        work.perform(Events(interrupt_at=3))
    first = work.orders()[0].run
    assert not read_done(first.folder)
    assert (first.folder / "ckpt" / "latest").is_file()
    events = Events()
    assert make(bench, tmp_path / "out").perform(events) == {}
    assert events.steps[first.recipe.name][0] >= 3  # it went on
    assert len(events.ended) == 4
    nothing = Events()
    assert make(bench, tmp_path / "out").perform(nothing) == {}
    assert nothing.begun == []
    page, problems = work.write({}, command="")
    assert problems == []
    assert page.is_file()
    # The weights are those of the same recipe trained by the verb.
    alone = tmp_path / "alone"
    weights = train(first.recipe, bench.training(), alone)
    assert weights.read_bytes() == (first.folder / "weights.safetensors").read_bytes()


@pytest.mark.long
@pytest.mark.parametrize("system", ["tcts", "igpn"])  # IGPN asks its detector for the query
def test_the_cost_of_two_steps_is_known_before_their_detector_is_trained(
    bench: Bench, tmp_path: Path, system: str
) -> None:
    planner = Planner(bench, tiny_choice(), tmp_path / "out", bench.training())
    run = planner.run(VARIANTS[system], 0)
    order = Order(run, bench, "cpu", 1, (PREDICTIONS,), data_hash(bench.test()))
    found = estimate([order], bench.training(), len(bench.test()), 1, planner.out)
    assert found.hours > 0
    assert found.measured == {"three steps each": 1}
    assert not run.folder.exists()


def test_the_tiny_settings_are_known_fields() -> None:
    assert all(setting.count("=") == 1 for setting in TINY)
