"""Calls judged side by side, in processes that may die of them."""

import concurrent.futures
from collections.abc import Callable
from multiprocessing.connection import Connection

from benchmarks.abuse_processes import CONTEXT, Forked
from benchmarks.abuse_verdict import Verdict

Judge = Callable[[int], Verdict]


def verdicts(
    prepare: Callable[[], Judge],
    lost: Callable[[int, int | None], Verdict],
    count: int,
    jobs: int,
) -> list[Verdict]:
    """What becomes of each of so many calls.

    Args:
      prepare: gives, in each process anew, what judges a call by its number;
        importable.
      lost: what to think of a call, by its number, whose process ended with a status.
      count: of the calls.
      jobs: processes at a time. Each judges every jobs-th call; another takes its place
        where one dies.
    """
    found: dict[int, Verdict] = {}

    def judge_share(first: int) -> None:
        while first < count:
            receiver, sender = CONTEXT.Pipe(duplex=False)
            numbers = range(first, count, jobs)
            process = Forked(_judge_each, prepare, numbers, sender)
            sender.close()
            try:
                for number in numbers:
                    found[number] = receiver.recv()
            except EOFError:
                found[number] = lost(number, process.wait())
            process.wait()
            first = number + jobs

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        list(pool.map(judge_share, range(jobs)))
    return [found[number] for number in range(count)]


def _judge_each(
    prepare: Callable[[], Judge], numbers: range, sender: Connection
) -> None:
    judge = prepare()
    for number in numbers:
        sender.send(judge(number))
