import pytest

from benchmarks import baton
from benchmarks.baton import run_in_turn


class Hands:
    """A clock that moves when it is told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def worker(name, seconds, pieces, clock, log):
    def work(turns):
        for _ in range(pieces):
            clock.now += seconds
            log.append(name)
            turns.pass_on()
        return turns.seconds

    return work


def test_programs_take_turns_and_are_charged_for_their_own_only():
    clock, log = Hands(), []
    works = {
        "short": worker("short", 1.0, 2, clock, log),
        "long": worker("long", 10.0, 3, clock, log),
    }
    assert run_in_turn(works, clock) == {"short": 2.0, "long": 30.0}
    assert log == ["short", "long", "short", "long", "long"]


def test_what_does_not_count_is_left_out():
    clock = Hands()

    def work(turns):
        clock.now += 1.0
        with turns.uncounted():
            clock.now += 5.0
        clock.now += 2.0
        return turns.seconds

    assert run_in_turn({"one": work}, clock) == {"one": 3.0}


def test_one_that_fails_lets_the_others_end():
    clock, log = Hands(), []

    def failing(turns):
        turns.pass_on()
        raise RuntimeError("out of memory")

    works = {"failing": failing, "other": worker("other", 1.0, 3, clock, log)}
    with pytest.raises(RuntimeError, match="out of memory"):
        run_in_turn(works, clock)
    assert log == ["other"] * 3


def test_asked_to_end_all_do_at_their_next_turn(monkeypatch):
    def interrupted(futures):
        raise KeyboardInterrupt

    def endless(turns):
        while True:
            turns.pass_on()

    monkeypatch.setattr(baton, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_in_turn({"one": endless, "other": endless})


def test_nothing_to_run_is_refused():
    with pytest.raises(ValueError, match="works: expected at least one, got none"):
        run_in_turn({})
