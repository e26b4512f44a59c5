"""Work in processes: as in threads, and none of them stays when this one is gone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from common.errors import EnvironmentFault, InputError
from common.processes import in_processes
from common.threads import AHEAD

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
WORKERS = 3

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads do the work")


def test_results_come_in_the_order_of_the_items_and_from_other_processes():
    def slow_first(item):
        time.sleep(0.05 if item == 0 else 0)
        return item * item, os.getpid()

    results, processes = zip(*in_processes(slow_first, range(20), WORKERS), strict=True)
    assert list(results) == [item * item for item in range(20)]
    assert os.getpid() not in processes
    assert 2 <= len(set(processes)) <= WORKERS


@pytest.mark.parametrize("count", [0, 1])
def test_for_one_item_no_process_begins(count):
    assert list(in_processes(lambda item: os.getpid(), range(count), WORKERS)) == [os.getpid()] * count


def test_what_the_function_refers_to_is_not_sent(tmp_path):
    kept = np.memmap(tmp_path / "kept", np.float32, "w+", shape=(1000,))
    kept[:] = np.arange(1000)
    assert sum(in_processes(lambda part: float(kept[part].sum()), np.split(np.arange(1000), 10), 2)) == 499500


def test_an_error_reaches_the_caller():
    def refuse(item):
        if item == 5:
            raise InputError(f"row {item}: is bad")
        return item

    with pytest.raises(InputError, match="row 5: is bad"):
        list(in_processes(refuse, range(20), WORKERS))


def test_a_process_that_is_ended_from_outside_is_a_fault():
    def end(item):
        if item == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return item

    with pytest.raises(EnvironmentFault, match="ended from outside"):
        list(in_processes(end, range(20), WORKERS))


def test_work_waits_for_who_takes_the_results(tmp_path):
    results = in_processes(lambda item: (tmp_path / str(item)).touch(), range(1000), 2)
    next(results)
    time.sleep(0.2)
    assert len(list(tmp_path.iterdir())) <= 2 * AHEAD + 3
    results.close()


def test_processes_end_with_the_one_that_began_them():
    code = (
        "import os, time\n"
        "from common.processes import in_processes\n"
        "def work(item):\n"
        "    os.write(1, b'%d\\n' % os.getpid())\n"
        "    time.sleep(0.1)\n"
        "list(in_processes(work, range(1000), 2))\n"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as began:
        assert began.stdout is not None
        pids = {int(began.stdout.readline()) for _ in range(4)}
        began.kill()
    until = time.monotonic() + 10
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < until
        time.sleep(0.1)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
