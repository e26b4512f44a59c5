"""Work divided among processes, one per core: for functions that spend much of their time in Python, which
lets only one thread run."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing import get_context
from threading import Thread
from typing import Any

from common.errors import EnvironmentFault
from common.inputs import refuse_any_shortened
from common.threads import Item, Result, in_pool, in_threads, usable_cores

from threadpoolctl import threadpool_limits

SECONDS_TO_LOOK = 1.0  # between looks whether the process that began this one is still there

_function: Callable[[Any], Any] | None = None  # of a process that `in_processes` began


def in_processes(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None
) -> Iterator[Result]:
    """`in_threads`, but in processes, where the system can copy this one: on Linux.

    They share the memory of what `function` refers to, and its file maps; items and results are sent
    between them. No GPU may be in use. Raises `EnvironmentFault` where a process is ended from outside.
    """
    items = iter(items)
    first = list(islice(items, workers or usable_cores()))
    if len(first) < 2 or sys.platform != "linux":
        yield from in_threads(function, chain(first, items), workers)
        return
    pool = ProcessPoolExecutor(len(first), get_context("fork"), _begin, (function, os.getpid()))
    try:
        yield from in_pool(pool, _call, chain(first, items), len(first))
    except BrokenProcessPool:
        refuse_any_shortened()
        raise EnvironmentFault(
            "a process at work was ended from outside, as systems do where memory is short: free some, or "
            "set OMP_NUM_THREADS to fewer cores, and run the same command again"
        ) from None


def _begin(function: Callable[[Any], Any], parent: int) -> None:
    """Prepare a process: it uses one core, leaves Ctrl-C to its parent, and ends with it."""
    global _function
    _function = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGBUS):
        signal.signal(number, signal.SIG_DFL)
    threadpool_limits(1)
    Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(SECONDS_TO_LOOK)
    os._exit(1)


def _call(item: Any) -> Any:
    assert _function is not None
    return _function(item)
