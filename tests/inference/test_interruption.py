import contextlib
import signal
import threading

import pytest

from dipgp.inference.interruption import Clock, Interruption


@pytest.fixture(autouse=True)
def _signals_as_at_a_terminal():
    """Processes in the background start with SIGINT ignored."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


def send(number):
    signal.raise_signal(number)


class TestInterruption:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_becomes_a_request(self, number):
        with Interruption() as interruption:
            assert not interruption.requested
            send(number)
            assert interruption.requested
        assert interruption.requested

    def test_a_second_one_from_the_keyboard_interrupts_at_once(self):
        with Interruption() as interruption:
            send(signal.SIGTERM)
            send(signal.SIGTERM)
            send(signal.SIGINT)
            assert interruption.requested
            with pytest.raises(KeyboardInterrupt):
                send(signal.SIGINT)

    def test_afterwards_signals_mean_what_they_meant(self):
        received = []
        previous = signal.signal(signal.SIGTERM, lambda *_: received.append("mine"))
        try:
            keyboard = signal.getsignal(signal.SIGINT)
            with contextlib.suppress(RuntimeError), Interruption():
                assert signal.getsignal(signal.SIGINT) is not keyboard
                raise RuntimeError("the run failed")
            send(signal.SIGTERM)
            assert received == ["mine"]
            assert signal.getsignal(signal.SIGINT) is keyboard
        finally:
            signal.signal(signal.SIGTERM, previous)

    def test_a_signal_that_is_ignored_stays_ignored(self):
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with Interruption() as interruption:
                send(signal.SIGINT)
                assert not interruption.requested
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        finally:
            signal.signal(signal.SIGINT, previous)

    def test_in_another_thread_it_does_nothing(self):
        before = signal.getsignal(signal.SIGINT)
        seen = []

        def work():
            with Interruption() as interruption:
                seen.append(
                    (interruption.requested, signal.getsignal(signal.SIGINT) is before)
                )

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert seen == [(False, True)]


class TestClock:
    def test_it_is_due_every_so_many_steps_whatever_the_stride(self):
        clock = Clock(every_steps=10, start=5)
        assert [step for step in range(5, 50, 4) if clock.due(step)] == [17, 29, 41]

    def test_it_is_due_every_so_many_minutes(self):
        times = iter([1000.0, 1100.0, 1119.0, 1120.0, 1130.0, 1240.0])
        clock = Clock(every_minutes=2, now=lambda: next(times))
        assert [clock.due(step) for step in range(5)] == [
            False,
            False,
            True,
            False,
            True,
        ]

    def test_whichever_comes_first_begins_both_periods_anew(self):
        times = iter([0.0, 10.0, 59.0, 61.0, 69.0])
        clock = Clock(every_steps=3, every_minutes=1, now=lambda: next(times))
        assert [clock.due(step) for step in (1, 3, 4, 5)] == [False, True, False, False]

    def test_with_no_period_it_is_never_due(self):
        assert not any(Clock().due(step) for step in range(100))

    @pytest.mark.parametrize("named", ["every_steps", "every_minutes"])
    def test_a_period_is_positive(self, named):
        with pytest.raises(ValueError, match=f"^{named}: expected a positive"):
            Clock(**{named: 0})
