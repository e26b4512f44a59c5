"""`feature.bin` and `feature.json`: one feature per row, and what describes them. `.npy` is read as well."""

import hashlib
import os
import string
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.inputs import is_there, require_file, watch_size

import numpy as np

from pipeline.files.arrays import NPY_MAGIC, head_of, open_array
from pipeline.files.json_object import check_fields, is_count, is_text, list_of, optional, read_json
from pipeline.rows import Numbering, blocks

FEATURE_DTYPE = np.dtype("<f4")
SCAN_ROWS = 65536
COMMAND = "sh run_preprocess.sh FILELIST"
# Bounds of the sum of a row's magnitudes: float64 or integers read as float32 lie beyond them.
SMALLEST_ROW, LARGEST_ROW = 1e-30, 1e30
SAMPLE_ROWS = 1000
MOST = 0.5  # share of odd rows that is no accident
TEXT_BYTES = string.printable.encode()
# Median magnitude of a row over its largest one: above 0.01 for features of any network, below 1e-6 for
# float16 read as float32, where the upper of two values becomes the exponent.
MIN_MEDIAN = 1e-4
# How a file of another kind begins, its name, and the expression that reads it.
OTHER_KINDS = (
    (b"PK\x03\x04", ".npz or another zip archive", "numpy.load('{0}')['NAME']"),
    (b"\x89HDF\r\n\x1a\n", "HDF5", "h5py.File('{0}')['NAME'][:]"),
    (b"MATLAB 5.0 MAT-file", "MATLAB", "scipy.io.loadmat('{0}')['NAME']"),
    (b"PAR1", "Parquet", "pandas.read_parquet('{0}').to_numpy()"),
    (b"ARROW1", "Arrow", "pandas.read_feather('{0}').to_numpy()"),
    (b"\x1f\x8b\x08", "gzip", "numpy.load(gzip.open('{0}'))"),
    (b"\x80\x02", "pickle", None),
    (b"\x80\x03", "pickle", None),
    (b"\x80\x04\x95", "pickle", None),
    (b"\x80\x05\x95", "pickle", None),
)


@dataclass(frozen=True)
class Features:
    """`feature.bin` opened for reading.

    `rows` is a read-only memory map (N, D) of float32, or of a `.npy` file's float16 or float64, which
    readers convert to float32. A row is usable unless it is all zeros, the mark of an image that could not
    be read. `digest` is the SHA-256 of the file, `meta` is
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
    if not is_there(meta_path):
        return {}
    meta = read_json(meta_path, COMMAND)
    check_fields(
        meta_path,
        meta,
        COMMAND,
        dim=optional(_is_dim),
        feature_sha256=optional(is_text),
        filelist=optional(is_text),
        unreadable=optional(is_unreadable_list),
        doubtful=optional(is_doubtful_list),
    )
    return meta


def read_features(path: Path, dim: int | None = None) -> Features:
    """Open a feature file and check every row.

    It is raw float32, or `.npy` in C order of float16, 32 or 64. The dimension of raw rows comes from
    `dim`, else from the JSON beside the file. Raises `InputError` where the file is missing, empty or of
    another kind, its size is no multiple of the row, it is not the file that the JSON tells of, or a row
    holds NaN, Inf or what no feature has.
    """
    meta_path, meta = feature_json_path(path), read_feature_json(path)
    require_file(path, f"run `{COMMAND}` first, or give --features FILE")
    if meta:
        check_fields(meta_path, meta, COMMAND, dim=_is_dim)
    known = meta.get("dim")
    if dim is not None and known is not None and dim != known:
        raise InputError(f"{path}: --dim is {dim} but {meta_path.name} says {known}: leave --dim out")
    with open(path, "rb") as file:
        is_npy = file.read(len(NPY_MAGIC)) == NPY_MAGIC
    rows = _open_npy(path, dim or known) if is_npy else _open_raw(path, dim or known)
    if meta and meta.get("count") != len(rows):
        raise InputError(
            f"{path}: holds {len(rows)} rows but {meta_path.name} says {meta.get('count')}: "
            f"run `{COMMAND}` again"
        )
    usable, digest = _scan(path, rows)
    if meta.get("feature_sha256", digest) != digest:
        raise InputError(
            f"{meta_path}: is of another file than {path.name} as it is now: "
            f"run `{COMMAND}` again, or remove it and give --dim"
        )
    return Features(path, rows, Numbering(usable), digest, meta)


def _is_dim(value: Any) -> bool:
    return is_count(value) and value > 0


def _open_raw(path: Path, dim: int | None) -> np.ndarray:
    size = path.stat().st_size
    if size == 0:
        raise InputError(f"{path}: is empty: run `{COMMAND}` again")
    _refuse_other_kinds(path)
    if dim is None:
        name = feature_json_path(path).name
        raise InputError(f"{path}: has no {name} beside it: give its row length with --dim")
    row_bytes = dim * FEATURE_DTYPE.itemsize
    if size % row_bytes:
        raise InputError(
            f"{path}: {size} bytes are no multiple of {row_bytes} (a row of {dim} float32): "
            "check --dim, or make the file again"
        )
    watch_size(path)
    return np.memmap(path, FEATURE_DTYPE, mode="r", shape=(size // row_bytes, dim))


def _open_npy(path: Path, dim: int | None) -> np.ndarray:
    rows = open_array(path, "numpy.save(FILE, ARRAY)")
    if rows.ndim != 2 or rows.dtype.kind != "f" or rows.dtype.itemsize > 8 or not rows.size:
        raise InputError(
            f"{path}: is {rows.dtype} {rows.shape}: give float16, float32 or float64 with one face per row"
        )
    if dim is not None and rows.shape[1] != dim:
        raise InputError(f"{path}: its rows are of {rows.shape[1]} values, not {dim}: leave --dim out")
    return rows


def _refuse_other_kinds(path: Path) -> None:
    """Raise `InputError` with the command that converts, where the file is known not to be raw float32."""
    with open(path, "rb") as file:
        head = file.read(4096)
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
    save = f"numpy.save('{path.stem}.npy', {{}})"
    for magic, kind, expression in OTHER_KINDS:
        # Two bytes alone may well begin a feature; a pickle also ends in a dot.
        if head.startswith(magic) and (expression or last == b"."):
            convert = save.format((expression or "ARRAY").format(path))
            raise InputError(f"{path}: is {kind}, not raw float32: convert it with Python's {convert}")
    if not head.translate(None, TEXT_BYTES):
        convert = save.format(f"numpy.loadtxt('{path}', numpy.float32)")
        raise InputError(f"{path}: is text, not raw float32: convert it with Python's {convert}")


def is_unreadable_list(value: Any) -> bool:
    """Whether this is a valid `unreadable` of `feature.json`: entries of a row, its path and the reason."""
    return list_of(
        lambda entry: (
            isinstance(entry, dict)
            and is_count(entry.get("row"))
            and is_text(entry.get("path"))
            and is_text(entry.get("reason"))
        )
    )(value)


def is_doubtful_list(value: Any) -> bool:
    """Whether this can stand as `doubtful` in `feature.json`: a kind in words, how many images, the first of
    them, and how many were looked at where not all were; each."""
    return list_of(
        lambda entry: (
            isinstance(entry, dict)
            and is_text(entry.get("what"))
            and is_count(entry.get("count"))
            and is_count(entry.get("of", 0))
            and list_of(is_text)(entry.get("first"))
            and len(entry["first"]) > 0
        )
    )(value)


def _scan(path: Path, rows: np.ndarray) -> tuple[np.ndarray, str]:
    """Which rows are usable, bool (N,), and the SHA-256 of the file, in one pass.

    Raises `InputError` where a row is not finite, or holds what no feature has.
    """
    usable, digest = np.empty(len(rows), bool), hashlib.sha256(head_of(path, rows))
    for part, block in blocks(rows, SCAN_ROWS):
        digest.update(block.data)
        # A sum of absolutes is zero, finite or not exactly when the row is; one pass over the data.
        with np.errstate(all="ignore"):
            weight = np.abs(block).sum(axis=1, dtype=np.float64)
        usable[part] = weight > 0
        odd = ~np.isfinite(weight) | (weight > LARGEST_ROW) | (usable[part] & (weight < SMALLEST_ROW))
        if odd.any():
            first = int(np.flatnonzero(odd)[0])
            row, values = part.start + first, block[first]
            if not np.isfinite(values).all() and odd.mean() < MOST:
                raise InputError(
                    f"{path}: row {row} holds NaN or Inf: make that feature again or set its row to zeros"
                )
            raise InputError(_no_features(path, rows, f"row {row} holds {_largest(values):.0e}"))
        if part.start == 0 and _spread(block[:SAMPLE_ROWS]) < MIN_MEDIAN:
            raise InputError(_no_features(path, rows, "in most rows, most values are nearly none"))
    return usable, digest.hexdigest()


def _spread(rows: np.ndarray) -> float:
    """Median magnitude over the largest one, among the nonzero values of a row; the median over rows."""
    shares = [np.median(row[row > 0]) / row.max() for row in np.abs(rows) if row.any()]
    return float(np.median(shares)) if shares else 1.0


def _largest(values: np.ndarray) -> float:
    return float(values[np.abs(values).argmax()])


def _no_features(path: Path, rows: np.ndarray, what: str) -> str:
    """The line for values that cannot be features."""
    if rows.dtype != FEATURE_DTYPE:
        return f"{path}: {what}, as no feature does: make the file again"
    return (
        f"{path}: {what}, as no feature does: is it float32? Of float16 (<f2) or float64 (<f8), say, "
        f"Python's numpy.save('{path.stem}.npy', numpy.fromfile('{path}', '<f2').reshape(-1, DIM)) "
        "makes a file that is read"
    )
