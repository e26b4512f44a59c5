"""Progress: shown after two seconds of silence, on a terminal, never with --quiet.

Elsewhere, as in a log file, each step that took a minute is told of.
"""

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")

BOLD, RED = 1, 31
DELAY = 2  # seconds of a stage, or of a bar, before anything shows
SOON = 0.3  # seconds of a step that shows later in a stage
LONG = 60  # seconds of a step that a log file should tell of

_quiet = False
_began: float | None = None  # when this process or its latest stage did, by the monotonic clock
_bar_shows = float("inf")  # when a bar takes the line of the step over, by the monotonic clock


def set_quiet(quiet: bool) -> None:
    """Turn progress bars and `log` off (or on again) for this process."""
    global _quiet
    _quiet = quiet


def begin() -> None:
    """Note that a stage begins: with its process, where that has had no other one."""
    global _began
    now = time.monotonic()
    _began = now - (_age_of_process() if _began is None else 0)


def elapsed() -> float:
    """Seconds since the stage began, the start of the interpreter among them; 0 where none has."""
    return 0.0 if _began is None else time.monotonic() - _began


def _age_of_process() -> float:
    with suppress(OSError, AttributeError, ValueError, IndexError):  # on Linux alone
        # From the boot to its start.
        ticks = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(ticks) / os.sysconf("SC_CLK_TCK")
    return 0.0


def printable(text: str) -> str:
    """The text with everything escaped that a terminal might obey, except line breaks.

    File names may hold anything: control sequences, or bytes that are not text.
    """
    return "".join(
        letter if letter.isprintable() or letter == "\n" else letter.encode("unicode_escape").decode()
        for letter in text
    )


def painted(text: str, part: str, style: int, stream: TextIO | None) -> str:
    """The text with a part of it in an ANSI style, where a terminal shows it and NO_COLOR is not set."""
    if not part or os.environ.get("NO_COLOR") or not (stream and stream.isatty()):
        return text
    return text.replace(part, f"\x1b[{style}m{part}\x1b[0m", 1)


def count(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun: `1 face`, `1,204 faces`."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def log(line: str) -> None:
    """Print one line for the user, unless --quiet was given; the next command is bold."""
    if not _quiet:
        text = printable(line)
        print(painted(text, text.partition("next: ")[2], BOLD, sys.stdout), flush=True)


def warn(line: str) -> None:
    """Print one line on stderr that the user should read even with --quiet."""
    print(painted(printable(line), "error:", RED, sys.stderr), file=sys.stderr, flush=True)


def bar(total: int | None, description: str, unit: str = "it") -> "tqdm":
    """A progress bar to update by hand; a context manager."""
    from tqdm import tqdm  # not needed for --help

    global _bar_shows
    _bar_shows = time.monotonic() + DELAY
    return tqdm(
        total=total,
        desc=description,
        unit=f" {unit}",
        delay=max(DELAY - elapsed(), SOON) if elapsed() < DELAY else DELAY,
        disable=not _is_shown(),
        ascii=bool(os.environ.get("NO_COLOR")),
        smoothing=0.1,
    )


@contextmanager
def named(step: str) -> Iterator[None]:
    """Show what is being done while the body runs, and for how long; a bar in it takes the line over.

    Where that is no terminal, say so once it has taken long.
    """
    global _bar_shows
    _bar_shows = float("inf")
    ended, started = threading.Event(), time.monotonic()
    lines: list[str] = []

    def show() -> None:
        wait = max(DELAY - elapsed(), SOON)
        while not ended.wait(wait) and time.monotonic() < _bar_shows:
            lines.append(f"{step} ... {time.monotonic() - started:.0f} s")
            print(lines[-1], end="\r", file=sys.stderr, flush=True)
            wait = 1

    shower = threading.Thread(target=show, daemon=True)
    if _is_shown():
        shower.start()
    try:
        yield
    finally:
        ended.set()
        if lines:
            print(" " * len(lines[-1]), end="\r", file=sys.stderr, flush=True)
        elif not _quiet and not _is_shown() and time.monotonic() - started >= LONG:
            warn(f"{step}: {time.monotonic() - started:.0f} s")


def _is_shown() -> bool:
    return not _quiet and bool(sys.stderr and sys.stderr.isatty())


def track(items: Iterable[T], description: str, unit: str = "it") -> Iterator[T]:
    """Iterate over `items` behind a progress bar."""
    total = len(items) if isinstance(items, Sized) else None
    with bar(total, description, unit) as progress:
        for item in items:
            yield item
            progress.update()
