"""Label files: an identity a line."""

from pathlib import Path

from common.errors import InputError

import numpy as np

from pipeline.files.text import is_int64, read_text


def read_labels(path: Path, count: int | None = None) -> np.ndarray:
    """Read one integer identity a line as int64 (N,); with `count`, N must be that."""
    lines = read_text(path).splitlines()
    try:
        labels = np.array([int(line) for line in lines], np.int64)
    except (ValueError, OverflowError):
        number, line = next((i, line) for i, line in enumerate(lines, 1) if not is_int64(line))
        raise InputError(
            f"{path}: line {number} is {line[:40]!r}, not an integer: one identity a line"
        ) from None
    if not len(labels):
        raise InputError(f"{path}: holds no label: one integer a line")
    if count is not None and len(labels) != count:
        raise InputError(f"{path}: {len(labels)} labels for {count} rows: give one integer a row")
    return labels
