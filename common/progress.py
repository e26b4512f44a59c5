"""Progress: shown for steps over two seconds, only on a terminal, never with --quiet."""

import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")

BOLD, RED = 1, 31
DELAY = 2  # seconds before a step shows its progress

_quiet = False


def set_quiet(quiet: bool) -> None:
    """Turn progress bars and `log` off (or on again) for this process."""
    global _quiet
    _quiet = quiet


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

    return tqdm(
        total=total,
        desc=description,
        unit=f" {unit}",
        delay=DELAY,
        disable=not _is_shown(),
        ascii=bool(os.environ.get("NO_COLOR")),
        smoothing=0.1,
    )


@contextmanager
def named(step: str) -> Iterator[None]:
    """Show what is being done while the body runs; a bar in it replaces the line."""
    line = f"{step} ..."
    shown = []

    def show() -> None:
        print(line, end="\r", file=sys.stderr, flush=True)
        shown.append(line)

    timer = threading.Timer(DELAY, show)
    timer.daemon = True
    if _is_shown():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if shown:
            print(" " * len(line), end="\r", file=sys.stderr, flush=True)


def _is_shown() -> bool:
    return not _quiet and bool(sys.stderr and sys.stderr.isatty())


def track(items: Iterable[T], description: str, unit: str = "it") -> Iterator[T]:
    """Iterate over `items` behind a progress bar."""
    total = len(items) if isinstance(items, Sized) else None
    with bar(total, description, unit) as progress:
        for item in items:
            yield item
            progress.update()
