"""Label files: one identity per line."""

from pathlib import Path

from common.errors import InputError

import numpy as np

from pipeline.files.text import is_int64, read_text

UNKNOWN = -1  # the label of an unknown person


def read_labels(path: Path, count: int | None = None) -> np.ndarray:
    """Read one identity per line as int64 (N,); with `count`, N must be that.

    Identities are integers; where any line holds something else, all are names, numbered in sorted order.
    A line of -1 is UNKNOWN. Blank lines at the end are ignored. Raises `InputError`.
    """
    # Not splitlines(): it also breaks at characters that a name may hold.
    lines = [line.strip() for line in read_text(path).rstrip().split("\n")]
    if lines == [""]:
        raise InputError(f"{path}: holds no label: one identity per line")
    if "" in lines:
        raise InputError(f"{path}: line {lines.index('') + 1} is empty: one identity per line, -1 if unknown")
    if count is not None and len(lines) != count:
        raise InputError(f"{path}: {len(lines)} labels for {count} rows: give one identity per row")
    if all(map(is_int64, lines)):
        return np.array(list(map(int, lines)), np.int64)
    labels = np.unique(lines, return_inverse=True)[1].astype(np.int64)
    labels[np.array(lines) == str(UNKNOWN)] = UNKNOWN
    return labels
