import os
import signal
import threading

import pytest

from fdps.engine.interrupt import stop_between_steps

BOTH = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("number", BOTH)
def test_a_signal_raises_the_flag_and_nothing_else(number: signal.Signals) -> None:
    with stop_between_steps() as stop:
        assert not stop
        os.kill(os.getpid(), number)
        assert stop
        assert stop.signal == number


@pytest.mark.parametrize("number", BOTH)
def test_the_second_signal_acts_at_once(number: signal.Signals) -> None:
    def interrupt(*_: object) -> None:
        raise InterruptedError

    old = signal.signal(number, interrupt)
    try:
        with stop_between_steps() as stop:
            os.kill(os.getpid(), number)
            with pytest.raises(InterruptedError):
                os.kill(os.getpid(), number)
            assert stop
    finally:
        signal.signal(number, old)


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in BOTH]
    with stop_between_steps():
        assert [signal.getsignal(number) for number in BOTH] != before
    assert [signal.getsignal(number) for number in BOTH] == before

    with pytest.raises(ZeroDivisionError), stop_between_steps():
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in BOTH] == before


def test_outside_the_main_thread_the_flag_stays_down() -> None:
    before = signal.getsignal(signal.SIGINT)
    flags = []

    def work() -> None:
        with stop_between_steps() as stop:
            flags.append(bool(stop))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert flags == [False]
    assert signal.getsignal(signal.SIGINT) is before
