"""A stage's steps: named on a terminal when they take long; time and peak memory for --profile."""

import ctypes
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from common.progress import named

_CLEAR = Path("/proc/self/clear_refs")
_steps: list[tuple[str, float, float]] = []


@contextmanager
def step(name: str) -> Iterator[None]:
    """Measure the body as a step of this name, after trimming the heap; steps do not nest."""
    trim_heap()
    reset_peak()
    started = time.monotonic()
    with named(name):
        yield
    _steps.append((name, time.monotonic() - started, memory("VmHWM")))


def trim_heap() -> None:
    """Let the system take back what this process has freed; does nothing where the C library is not glibc.

    Small and medium arrays come from the heaps of their threads, which keep freed memory.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


def reset_peak() -> None:
    """Reset the peak of memory, VmHWM; only on Linux."""
    with suppress(OSError):
        _CLEAR.write_text("5")


def memory(field: str, process: int | str = "self") -> float:
    """A field of a process's /proc/PID/status in MB; NaN where there is none.

    VmHWM is the most memory held since the peak was reset, RssAnon what is held now without mapped
    files.
    """
    try:
        lines = Path("/proc", str(process), "status").read_text().splitlines()
    except OSError:
        return float("nan")
    kibibytes = (line.split()[1] for line in lines if line.startswith(f"{field}:"))
    return float(next(kibibytes, "nan")) * 1024 / 1e6


def profile_lines() -> list[str]:
    """The steps measured so far as lines of a table."""
    lines = [f"{'step':24} {'seconds':>9} {'peak MB':>9}"]
    return lines + [f"{name:24} {seconds:9.2f} {peak:9.0f}" for name, seconds, peak in _steps]


def forget_steps() -> None:
    """Forget the steps so far, for a process that runs several stages."""
    _steps.clear()
