"""Memory maps that travel to another machine as their path, not as their bytes."""

import mmap
import socket
from typing import Any

from common.errors import EnvironmentFault

import numpy as np


def by_path(array: np.memmap) -> tuple[Any, ...]:
    """What `open_again` needs; a part of a memory map, or one without a file, travels as it is."""
    if array.filename is None or not isinstance(array.base, mmap.mmap):
        return (np.array(array),)
    return str(array.filename), array.dtype, array.shape, array.offset


def open_again(parts: tuple[Any, ...]) -> np.ndarray:
    """The array of `by_path`, read-only.

    Raises `EnvironmentFault` where this machine does not have the file.
    """
    if len(parts) == 1:
        return parts[0]
    path, dtype, shape, offset = parts
    try:
        return np.memmap(path, dtype, "r", offset, shape)
    except (OSError, ValueError) as error:
        raise EnvironmentFault(
            f"{path}: cannot be read on {socket.gethostname()} ({error}): every machine of the cluster "
            "must have the same files at the same paths"
        ) from None
