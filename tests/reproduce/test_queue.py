"""Many runs at a time: their order, their failures, and an interruption."""

from multiprocessing import Pipe
from pathlib import Path

import pytest

from fake.reproduced import Events, note_order, tiny_bench, tiny_choice, wait_for_ever
from fdps.errors import ModelError, ResourceError
from fdps.reproduce.one_run import Order
from fdps.reproduce.queue import perform_all, tell_parent
from fdps.reproduce.reproduction import Machine, Reproduction
from fdps.reproduce.targets import find_targets


@pytest.fixture
def orders(tmp_path: Path) -> list[Order]:
    bench = tiny_bench(tmp_path)
    machine = Machine(jobs=2)
    work = Reproduction(
        find_targets("table3"), bench, tiny_choice(), tmp_path / "out", seeds=1, machine=machine
    )
    kept = ("nae", "nae_plus", "fdps")
    return [order for order in work.orders() if order.run.variant.key in kept]


@pytest.mark.slow
def test_a_failure_stops_what_begins_from_it_and_nothing_else(orders: list[Order]) -> None:
    events = Events()
    failed = perform_all(orders, 2, events, work=note_order)
    errors = {order.run.variant.key: failed.get(order.run.address) for order in orders}
    assert isinstance(errors["nae"], ModelError)
    assert errors["nae"].hint == "as it should"
    assert isinstance(errors["nae_plus"], ResourceError)
    assert "which has failed" in str(errors["nae_plus"])
    assert errors["fdps"] is None
    assert sorted(events.begun) == ["fdps-seed0", "nae-seed0"]
    worked = {order.run.variant.key for order in orders if (order.run.folder / "worked").exists()}
    assert worked == {"nae", "fdps"}


@pytest.mark.slow
def test_an_interruption_asks_every_process_to_stop_and_waits_for_it(orders: list[Order]) -> None:
    chosen = [order for order in orders if order.run.variant.key != "nae_plus"]
    with pytest.raises(KeyboardInterrupt):
        perform_all(chosen, 2, Events(interrupt_at=1), work=wait_for_ever)
    # The first step of either run interrupts; the other one may not have begun to work yet.
    assert any((order.run.folder / "stopped").exists() for order in chosen)


def test_nothing_to_do_is_done_at_once() -> None:
    assert perform_all([], 1, Events()) == {}


def test_progress_of_a_run_whose_parent_is_gone_is_heard_by_nobody() -> None:
    answers, answer = Pipe(duplex=False)
    tell_parent(answer, ("train", 1, 2))
    assert answers.recv() == ("train", 1, 2)
    answers.close()
    tell_parent(answer, ("train", 2, 2))
