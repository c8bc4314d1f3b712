"""Trials side by side, each with a random generator of its own."""

import concurrent.futures
import traceback
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

Row = dict[str, object]


class Trial(NamedTuple):
    """Something that is mistreated.

    Attributes:
      name: of its row in the report.
      run: does it; is given the random generator of its moments and of its damage.
    """

    name: str
    run: Callable[[np.random.Generator], Row]


def row(trial: str, times: int, outcome: str, failures: Sequence[str]) -> Row:
    """What a trial has found.

    Args:
      trial: its name.
      times: how often something was tried.
      outcome: in words.
      failures: a sentence each, on what did not end as it should.
    """
    return {
        "trial": trial,
        "times": times,
        "outcome": outcome,
        "failures": list(failures),
    }


def each(trials: Sequence[Trial], jobs: int, seed: int) -> Iterator[Row]:
    """Rows as they come, which do not depend on how many trials run side by side.

    Args:
      trials: whose names differ.
      jobs: at a time.
      seed: of their random generators.
    """
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        begun = [pool.submit(_run, trial, seed) for trial in trials]
        try:
            for done in concurrent.futures.as_completed(begun):
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _run(trial: Trial, seed: int) -> Row:
    """A trial's row; one that breaks off is a failure, and costs no other's."""
    # By its name, so that its draws do not depend on which others run.
    random = np.random.default_rng([seed, zlib.crc32(trial.name.encode())])
    try:
        return trial.run(random)
    except Exception:
        told = f"the trial broke off: {traceback.format_exc()[-2000:]}"
        return row(trial.name, 0, "not tried", [told])
