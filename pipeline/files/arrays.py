"""`.npy` files opened as memory maps, every word of their header checked; nothing is ever unpickled."""

import math
import warnings
from pathlib import Path

from common.errors import InputError
from common.inputs import require_file, watch_size

import numpy as np

NPY_MAGIC = b"\x93NUMPY"


def open_array(path: Path, made_by: str) -> np.ndarray:
    """Memory-map an array for reading; one without entries is made in memory.

    Raises `InputError` where the file is no whole array of numbers in C order; `made_by` is the command
    that makes it.
    """
    require_file(path, f"run `{made_by}` first")
    shape, dtype, start = _read_header(path, made_by)
    if start + math.prod(shape) * dtype.itemsize != path.stat().st_size:
        raise InputError(f"{path}: is no whole .npy array: run `{made_by}` again")
    if math.prod(shape) == 0:
        return np.empty(shape, dtype)
    watch_size(path)
    return np.memmap(path, dtype, "r", start, shape)


def _read_header(path: Path, made_by: str) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, dtype and where the data begin."""
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("error")  # of a header as Python 2 wrote it, which is then refused
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, columns_first, dtype = read(file)
            start = file.tell()
    except OSError:
        raise
    except Exception:  # the header is Python's text, and its reader raises whatever Python's does
        raise InputError(f"{path}: is no whole .npy array: run `{made_by}` again") from None
    if dtype.kind not in "biuf" or columns_first or any(length < 0 for length in shape):
        raise InputError(
            f"{path}: is not an array of numbers in C order: run `{made_by}` again, or write it with "
            "numpy.save(FILE, numpy.ascontiguousarray(ARRAY))"
        )
    return shape, dtype, start


def head_of(path: Path, array: np.ndarray) -> bytes:
    """The bytes of the file `path` before the data of its memory map, to begin a digest with."""
    with open(path, "rb") as file:
        return file.read(array.offset if isinstance(array, np.memmap) else -1)
