"""When a long run should write down where it is: asked to end, or now and then."""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Self


class Interruption:
    """Turns a request to end (SIGTERM, or SIGINT from the keyboard) into a flag.

        with Interruption() as interruption:
            while not done and not interruption.requested:
                ...                              # one compiled period
        checkpoints.save(step, state)

    A second SIGINT raises KeyboardInterrupt, for those who cannot wait. On leaving, the
    signals mean again what they meant before. Signals that the process ignores stay
    ignored. Only the main thread is told of signals; elsewhere this does nothing.
    """

    def __init__(self) -> None:
        self._received: list[int] = []
        self._previous: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether to end as soon as it is convenient."""
        return bool(self._received)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                previous = signal.getsignal(number)
                # None: set by code that is not Python, which could not be put back.
                if previous is not None and previous is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        self._previous.clear()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        del frame
        if number == signal.SIGINT and number in self._received:
            raise KeyboardInterrupt
        self._received.append(number)


class Clock:
    """Says when something that is done now and then is due again.

    Args:
      every_steps: due when so many steps have passed, or None.
      every_minutes: due when so many minutes have passed, or None.
      start: the step that the clock starts at.
      now: seconds on a clock that is never set back.

    Raises:
      ValueError: on numbers that are not positive.
    """

    def __init__(
        self,
        every_steps: int | None = None,
        every_minutes: float | None = None,
        start: int = 0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        periods = {"every_steps": every_steps, "every_minutes": every_minutes}
        for name, value in periods.items():
            if value is not None and not value > 0:
                raise ValueError(f"{name}: expected a positive number, got {value}")
        self._every_steps, self._every_minutes = every_steps, every_minutes
        self._now = now
        self._step, self._time = start, now()

    def due(self, step: int) -> bool:
        """Whether a period has passed at a step; if so, the next one begins."""
        time_now = self._now()
        by_steps = (
            self._every_steps is not None and step - self._step >= self._every_steps
        )
        by_time = (
            self._every_minutes is not None
            and time_now - self._time >= 60 * self._every_minutes
        )
        if by_steps or by_time:
            self._step, self._time = step, time_now
        return by_steps or by_time
