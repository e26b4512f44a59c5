"""Files that are read: what may be opened, and the error for one that changes while it is read."""

import os
import stat
from pathlib import Path

from common.errors import InputError

# Files read through memory maps, by their resolved names: the paths as given, and the sizes.
_read_from: dict[str, tuple[Path, int]] = {}


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
    """Whether anything is at `path`, even a broken link; false for an impossible path."""
    return os.path.lexists(path)  # Path.exists() raises for a name that is too long


def watch_size(path: Path) -> None:
    """Remember the size of a file that is from now on read through a memory map."""
    _read_from[str(path.resolve())] = path, path.stat().st_size


def refuse_shortened(resolved: str) -> None:
    """Raise `InputError` where a watched file is shorter than it was: reading on would end the process."""
    if resolved in _read_from and _is_shorter(resolved):
        raise InputError(_shortened_line(resolved))


def refuse_any_shortened() -> None:
    """Raise `InputError` where any watched file is shorter than it was."""
    for resolved in _read_from:
        refuse_shortened(resolved)


def bus_error_line() -> str:
    """The line for a bus error: names the watched file that is shorter than it was."""
    for resolved in filter(_is_shorter, _read_from):
        return _shortened_line(resolved)
    return "a file could not be read through its memory map: check the disk, and run the same command again"


def _is_shorter(resolved: str) -> bool:
    try:
        return os.stat(resolved).st_size < _read_from[resolved][1]  # noqa: PTH116  (its name is as NumPy has it)
    except OSError:  # it was removed: what was mapped stays readable
        return False


def _shortened_line(resolved: str) -> str:
    path = _read_from[resolved][0]
    return f"{path}: was cut short while it was read: make it again, and let nothing write to it meanwhile"
