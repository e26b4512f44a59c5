"""Work divided among threads, one per core."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
AHEAD = 2  # pieces of work per worker that are queued or wait for their turn: bounds the memory


def usable_cores() -> int:
    """Cores this process may use: OMP_NUM_THREADS where set, as the libraries here obey it, too."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    if said.isdigit() and int(said) > 0:
        return int(said)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None
) -> Iterator[Result]:
    """`map`, with the calls divided among threads, one per core; results in the order of the items.

    NumPy, torch and Pillow let other threads run while they work. Each call should use one core.
    """
    threads = threads or usable_cores()
    if threads == 1:
        yield from map(function, items)
        return
    yield from in_pool(ThreadPoolExecutor(threads), function, items, threads)


def in_pool(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Result]:
    """The results of a pool of so many workers in the order of the items, then the pool is closed."""
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
