"""Several pictures at a time, in processes of their own."""

import concurrent.futures
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dipgp.command.options import Order
from dipgp.command.plans import Plan

if TYPE_CHECKING:
    from dipgp.command.work import Outcome


def restore_each(
    order: Order, plans: Sequence[Plan]
) -> Iterator[tuple[Plan, "Outcome"]]:
    """Restores pictures, as many at a time as the order says.

    Where it is left early, by the keyboard or otherwise, pictures that have not begun
    are dropped and those under way are asked to end; chains are kept for a resumption.

    Args:
      order: what was asked for.
      plans: of all pictures.

    Yields:
      Plan and outcome, as soon as each is there.
    """
    # A fresh interpreter each: JAX's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    executor = concurrent.futures.ProcessPoolExecutor(
        order.jobs, mp_context=context, initializer=_begin
    )
    with executor:
        futures = {executor.submit(_attempt, order, plan): plan for plan in plans}
        try:
            for future in concurrent.futures.as_completed(futures):
                plan = futures[future]
                yield plan, _outcome(future, plan)
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def _begin() -> None:
    """Leaves the keyboard to the main process, and others their share of a GPU."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def _attempt(order: Order, plan: Plan) -> "Outcome":
    # Here and not above, so that the main process answers at once.
    from dipgp import compilation_cache
    from dipgp.command import work

    compilation_cache.choose_folder()
    return work.attempt(order, plan, lambda news, fraction=None: None, _tell)


def _outcome(future: "concurrent.futures.Future[Outcome]", plan: Plan) -> "Outcome":
    """The future's, also where its process was killed, as for want of memory."""
    from dipgp.command.work import Outcome

    try:
        return future.result()
    except concurrent.futures.process.BrokenProcessPool:
        words = "its process, or one beside it, was killed; try fewer --jobs"
        return Outcome(plan.source, "failed", (words,))


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
