"""Where a network runs, and on how many cores."""

import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from common.errors import EnvironmentFault, UsageError

import torch


def choose_device(name: str) -> torch.device:
    """`auto` is the first GPU where there is one, else the CPU; or a device by torch's name.

    Raises `UsageError` for a name torch does not know, `EnvironmentFault` for a GPU that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {name}: is not auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise EnvironmentFault(f"--device {name}: this machine has no such GPU: use --device cpu or auto")
    return device


def keep_to_one_thread() -> None:
    """In a thread or process of workers, let torch use one core: together they use all cores, and none waits
    for another at the end of each layer."""
    if threading.current_thread() is not threading.main_thread() or multiprocessing.parent_process():
        torch.set_num_threads(1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one core while the body runs: the last bits of results depend on the number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
