"""`feature.bin` and `feature.json`: one feature a row, and what is known of them."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import InputError

import numpy as np

from pipeline.files.json_object import read_json
from pipeline.rows import Numbering, blocks

FEATURE_DTYPE = np.dtype("<f4")
SCAN_ROWS = 65536


@dataclass(frozen=True)
class Features:
    """`feature.bin` opened for reading.

    `rows` is a read-only memory map, float32 (N, D). Usable is every row that is not all zeros, the
    mark of an image that could not be read. `digest` is the SHA-256 of the file, `meta` is
    `feature.json`, or empty.
    """

    path: Path
    rows: np.ndarray
    numbering: Numbering
    digest: str
    meta: dict[str, Any] = field(default_factory=dict)

    def refuse_unusable(self, rows: np.ndarray, path: Path) -> None:
        """Raise `InputError` where one of the rows that the file `path` holds is not usable."""
        if not self.usable[rows].all():
            row = rows[~self.usable[rows]][0]
            raise InputError(
                f"{path}: holds row {row}, whose feature is zeros: run `sh run_predict.sh` again"
            )

    @property
    def usable(self) -> np.ndarray:
        """Which rows are usable, bool (N,)."""
        return self.numbering.usable


def feature_json_path(path: Path) -> Path:
    """The place of the JSON beside a feature file: `feature.bin` has `feature.json`."""
    return path.with_suffix(".json")


def read_feature_json(path: Path) -> dict[str, Any]:
    """The JSON beside the feature file `path`, empty where there is none."""
    meta_path = feature_json_path(path)
    return read_json(meta_path, "sh run_preprocess.sh FILELIST") if meta_path.exists() else {}


def read_features(path: Path, dim: int | None = None) -> Features:
    """Open a feature file and check every row.

    The dimension comes from `dim`, else from the JSON beside the file. Raises `InputError` where
    the file is missing or empty, its size is no multiple of the row, it is not the file that the JSON
    tells of, or a row holds NaN or Inf.
    """
    meta_path, meta = feature_json_path(path), read_feature_json(path)
    if not path.exists():
        raise InputError(
            f"{path}: not found: run `sh run_preprocess.sh FILELIST` first, or give --features FILE"
        )
    if not path.is_file():
        raise InputError(f"{path}: is not a regular file: give --features the path of a feature file")
    known = meta.get("dim")
    if meta and not (isinstance(known, int) and known > 0):
        raise InputError(f"{meta_path}: has no valid `dim`: run `sh run_preprocess.sh FILELIST` again")
    if dim is not None and known is not None and dim != known:
        raise InputError(f"{path}: --dim is {dim} but {meta_path.name} says {known}: leave --dim out")
    dim = dim or known
    if dim is None:
        raise InputError(f"{path}: has no {meta_path.name} beside it: give its row length with --dim")
    size, row_bytes = path.stat().st_size, dim * FEATURE_DTYPE.itemsize
    if size == 0:
        raise InputError(f"{path}: is empty: run `sh run_preprocess.sh FILELIST` again")
    if size % row_bytes:
        raise InputError(
            f"{path}: {size} bytes are no multiple of {row_bytes} (a row of {dim} float32): "
            "check --dim, or make the file again"
        )
    count = size // row_bytes
    if meta and meta.get("count") != count:
        raise InputError(
            f"{path}: holds {count} rows but {meta_path.name} says {meta.get('count')}: "
            "run `sh run_preprocess.sh FILELIST` again"
        )
    rows = np.memmap(path, FEATURE_DTYPE, mode="r", shape=(count, dim))
    usable, digest = _scan(path, rows)
    if meta.get("feature_sha256", digest) != digest:
        raise InputError(
            f"{meta_path}: is of another file than {path.name} as it is now: "
            "run `sh run_preprocess.sh FILELIST` again, or remove it and give --dim"
        )
    return Features(path, rows, Numbering(usable), digest, meta)


def is_unreadable_list(value: Any) -> bool:
    """Whether this can stand as `unreadable` in `feature.json`: a row, its path and the reason, each."""
    return isinstance(value, list) and all(
        isinstance(entry, dict)
        and type(entry.get("row")) is int
        and isinstance(entry.get("path"), str)
        and isinstance(entry.get("reason"), str)
        for entry in value
    )


def _scan(path: Path, rows: np.ndarray) -> tuple[np.ndarray, str]:
    """Which rows are usable, bool (N,), and the SHA-256 of all; `InputError` where a row is not finite."""
    usable, digest = np.empty(len(rows), bool), hashlib.sha256()
    for part, block in blocks(rows, SCAN_ROWS):
        digest.update(block.data)
        # A sum of absolutes is zero, finite or not exactly when the row is; one pass over the data.
        weight = np.abs(block).sum(axis=1, dtype=np.float64)
        if not np.isfinite(weight).all():
            row = part.start + int(np.flatnonzero(~np.isfinite(weight))[0])
            raise InputError(
                f"{path}: row {row} holds NaN or Inf: make that feature again or set its row to zeros"
            )
        usable[part] = weight > 0
    return usable, digest.hexdigest()
