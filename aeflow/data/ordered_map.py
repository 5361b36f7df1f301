"""Many threads, one order: work goes on behind the one who handles its results."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from concurrent.futures import Future

A = TypeVar("A")
B = TypeVar("B")


def cores(workers: int) -> int:
    """`workers`, or the number of cores that this process may use where it is 0."""
    if workers:
        return workers
    allowed = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


def map_in_order(
    function: Callable[[A], B], arguments: Iterable[A], *, workers: int, ahead: int
) -> Generator[B]:
    """`function` of each argument, computed by `workers` threads, at most `ahead` of them before they
    are asked for: that bounds the memory. Work goes on while the caller handles a result.

    The first error of `function` is raised in its place of the order; what follows is not begun.
    """
    pending: deque[Future[B]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for argument in arguments:
                pending.append(pool.submit(function, argument))
                if len(pending) >= max(ahead, workers):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def one_ahead(items: Iterator[A]) -> Generator[A]:
    """The items in their order; a thread makes the next one while the caller handles one, so that one
    more than usual is in memory. An error of `items` is raised in its place."""
    end = object()
    with ThreadPoolExecutor(1) as thread:
        coming: Future[A | object] = thread.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, items, end)
            yield cast("A", item)
