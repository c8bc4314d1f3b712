"""Letting several programs run in turn, each on a clock that stands while it waits.

On a machine that has other work to do, programs that are timed one after the other meet
different loads; pieces of them in turn meet the same.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")
#: Seconds since some moment: `time.perf_counter`, or `time.process_time` for those that
#: processors spent on this process.
Seconds = Callable[[], float]


class _Over(Exception):
    """All is to end."""


class _Order:
    """Whose turn it is."""

    def __init__(self, count: int) -> None:
        self._changed = threading.Condition()
        self._waiting = list(range(count))
        self._over = False

    def wait_for(self, number: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._waiting[0] == number)
            if self._over:
                raise _Over

    def hand_on(self, back: bool) -> None:
        with self._changed:
            number = self._waiting.pop(0)
            if back:
                self._waiting.append(number)
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()


class Turns:
    """One program's turns, and its clock.

    Args:
      order: that all programs share.
      number: of this one.
      clock: what it is timed by.
    """

    def __init__(self, order: _Order, number: int, clock: Seconds) -> None:
        self._order, self._number, self._clock = order, number, clock
        self._spent, self._since = 0.0, 0.0

    @property
    def seconds(self) -> float:
        """Spent so far, of its own."""
        return self._spent + self._clock() - self._since

    def pass_on(self) -> None:
        """Lets each of the others run until it passes on; comes back after them."""
        with self.uncounted():
            self._order.hand_on(back=True)
            self._order.wait_for(self._number)

    @contextlib.contextmanager
    def uncounted(self) -> Iterator[None]:
        """What is done inside takes no time of the clock's."""
        self._spent = self.seconds
        try:
            yield
        finally:
            self._since = self._clock()

    def run(self, work: Callable[["Turns"], T]) -> T:
        """Waits for the first turn, works, and leaves the others to themselves."""
        self._order.wait_for(self._number)
        self._since = self._clock()
        try:
            found = work(self)
        except _Over:  # without a turn to hand on
            raise
        except BaseException:
            self._order.hand_on(back=False)
            raise
        self._order.hand_on(back=False)
        return found


def run_in_turn(
    works: Mapping[str, Callable[[Turns], T]], clock: Seconds = time.perf_counter
) -> dict[str, T]:
    """Runs functions in threads of which one moves at a time.

    Args:
      works: by name; each is given its turns, and calls `pass_on` now and then.
      clock: what they are timed by.

    Returns:
      By name, what each returned. What one of them raises is raised here, when all
      have come to their end.

    Raises:
      ValueError: where there is nothing to run.
    """
    if not works:
        raise ValueError("works: expected at least one, got none")
    order = _Order(len(works))
    with ThreadPoolExecutor(len(works)) as pool:
        running = {
            name: pool.submit(Turns(order, number, clock).run, work)
            for number, (name, work) in enumerate(works.items())
        }
        try:
            wait(running.values())
        except BaseException:  # asked to end: threads would go on without us
            order.end()
            raise
    return {name: future.result() for name, future in running.items()}
