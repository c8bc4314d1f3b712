"""Processes that die of what they are to do; they import this file, so it is light."""

import functools
import os
import signal

import pytest

from benchmarks import abuse_processes, abuse_workers
from benchmarks.abuse_verdict import RESULT, Verdict


@pytest.fixture
def bare_processes(monkeypatch):
    """Processes that have imported nothing, and start at once."""
    monkeypatch.setattr(abuse_processes, "_PRELOADED", ())


def fragile_judge(deadly):
    """Judges by number, and ends its process at some."""

    def judge(number):
        if number in deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return Verdict(RESULT, str(number))

    return judge


@pytest.mark.usefixtures("bare_processes")
def test_a_call_that_ends_its_process_is_told_and_costs_no_other():
    prepare = functools.partial(fragile_judge, {2, 3, 6})

    def lost(number, status):
        return Verdict("lost", f"{number}: {status}")

    found = abuse_workers.verdicts(prepare, lost, 7, jobs=2)
    ends = [verdict.told for verdict in found if not verdict.accepted]
    assert ends == ["2: -9", "3: -9", "6: -9"]
    told = [verdict.told for verdict in found if verdict.accepted]
    assert told == ["0", "1", "4", "5"]


@pytest.mark.usefixtures("bare_processes")
def test_a_process_that_has_ended_takes_no_signal():
    process = abuse_processes.Forked(os._exit, 3)
    assert process.wait() == 3
    process.signal(signal.SIGKILL)
    assert process.wait() == 3
