"""Files that are read: what may be opened, and what to say of one that changes under the reader."""

import os
import stat
from pathlib import Path

from common.errors import InputError

_read_from: dict[str, int] = {}  # files read through memory maps, and their sizes


def require_file(path: Path, remedy: str = "check the path") -> None:
    """Raise `InputError` unless `path` leads to a regular file: opening a FIFO or device might never end."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: not found: {remedy}") from None
    except (OSError, ValueError) as error:  # no permission, a loop of links, too long, a NUL in it
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{path}: cannot be opened ({reason.lower()}): check the path and its modes"
        ) from None
    if stat.S_ISDIR(mode):
        raise InputError(f"{path}: is a folder, so is not a regular file: give the path of a file")
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: is not a regular file: give the path of one")


def is_there(path: Path) -> bool:
    """Whether anything is at `path`, be it a link that leads nowhere; a path that cannot be is not there."""
    return os.path.lexists(path)  # Path.exists() raises for a name that is too long


def watch_size(path: Path) -> None:
    """Remember the size of a file that is from now on read through a memory map."""
    _read_from[str(path)] = path.stat().st_size


def refuse_shortened(path: str) -> None:
    """Raise `InputError` where a watched file is shorter than it was: to read on would end the process."""
    if path in _read_from and os.stat(path).st_size < _read_from[path]:  # noqa: PTH116
        raise InputError(shortened_line(path))


def shortened_line(path: str) -> str:
    return f"{path}: was cut short while it was read: make it again, and let nothing write to it meanwhile"


def bus_error_line() -> str:
    """What to say of a bus error: of the watched files, that which is shorter than it was."""
    for path, size in _read_from.items():
        if not os.path.exists(path) or os.stat(path).st_size < size:  # noqa: PTH110, PTH116
            return shortened_line(path)
    return "a file could not be read through its memory map: check the disk, and run the same command again"
