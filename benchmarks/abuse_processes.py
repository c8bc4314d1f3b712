"""Processes under test, forked from one that has imported what all of them need.

That one has not yet started JAX, whose threads would not survive a fork. Each is a
process of its own, which signals reach and kill like any other, a second after it was
asked for instead of after five. Threads may start them and wait for them side by side.
"""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable
from typing import Any

# What the processes import, but for the binaries, whose flags are defined when they
# start, and for blackjax, which starts JAX.
_PRELOADED = (
    "benchmarks.abuse_inputs",
    "dipgp.command.work",
    "dipgp.figures",
    "experiments.architectures_cases",
    "experiments.image_tasks",
    "scipy.optimize",
    "skimage.metrics",
)
CONTEXT = multiprocessing.get_context("forkserver")
# Starting one looks after those that have ended, which may be done in one thread only.
_LOOKING = threading.Lock()


class Forked:
    """A process.

    Attributes:
      pid: its number.
    """

    def __init__(self, target: Callable[..., None], *arguments: Any) -> None:
        """Starts it.

        Args:
          target: what it does; importable.
          arguments: of that.
        """
        CONTEXT.set_forkserver_preload([*_PRELOADED])
        self._process = CONTEXT.Process(target=target, args=arguments)
        with _LOOKING:
            self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def wait(self, seconds: float | None = None) -> int | None:
        """Its exit status, a signal's number less than 0, or None where it goes on.

        Args:
          seconds: to wait at most.
        """
        if not multiprocessing.connection.wait([self._process.sentinel], seconds):
            return None
        with _LOOKING:
            return self._process.exitcode

    def signal(self, number: int) -> None:
        """Sends it a signal, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
