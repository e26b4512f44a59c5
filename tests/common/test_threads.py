"""Work in threads: as map, and never far ahead of who takes the results."""

import threading
import time

from common.threads import AHEAD, in_threads, usable_cores

import pytest


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_the_order_of_the_items(threads):
    def slow_first(item):
        time.sleep(0.02 if item == 0 else 0)
        return item * item

    assert list(in_threads(slow_first, range(20), threads)) == [item * item for item in range(20)]


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_reaches_the_caller(threads):
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda item: 1 / (item - 5), range(20), threads))


def test_work_waits_for_who_takes_the_results():
    begun = []
    results = in_threads(begun.append, range(1000), 2)
    next(results)
    time.sleep(0.1)
    assert len(begun) <= 2 * AHEAD + 2
    results.close()
    assert threading.active_count() < 4


def test_cores_are_as_many_as_openmp_is_told(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert usable_cores() == 3
    for nonsense in ("", "0", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", nonsense)
        assert usable_cores() >= 1
