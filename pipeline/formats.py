"""Every file format of the pipeline, reader beside writer.

Readers check everything they rely on (size, dtype, shape, range) and raise `InputError` with one
line that names the file, what is wrong and what to do. Writers go through `pipeline.files`, so a
name that exists is a file that is complete. Nothing is ever unpickled.
"""

import base64
import hashlib
import json
import mmap
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import InputError

import numpy as np

from pipeline.files import digest_file, whole_file

FEATURE_DTYPE = np.dtype("<f4")
MEMBER_DTYPE = np.dtype("<i4")
OFFSET_DTYPE = np.dtype("<i8")
SCAN_ROWS = 65536


# --- json -------------------------------------------------------------------------------------


def read_json(path: Path, made_by: str) -> dict[str, Any]:
    """Read a JSON object; `made_by` is the command to run where the file is missing or damaged."""
    refuse_special(path, made_by)
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise InputError(f"{path}: is no JSON file (truncated?): run `{made_by}` again") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds no JSON object: run `{made_by}` again")
    return value


def refuse_special(path: Path, made_by: str) -> None:
    """Raise `InputError` where `path` is no regular file: reading a FIFO or a device might never end."""
    if not path.exists():
        raise InputError(f"{path}: not found: run `{made_by}` first")
    if not path.is_file():
        raise InputError(f"{path}: is not a regular file: remove it and run `{made_by}`")


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object whole or not at all, keys in the given order."""
    with whole_file(path) as part:
        _dump_json(part, value)


def _dump_json(path: Path, value: dict[str, Any]) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    # Of a path that is not UTF-8, the odd bytes become JSON's escapes.
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


# --- feature.bin and feature.json --------------------------------------------------------------


@dataclass(frozen=True)
class Features:
    """`feature.bin` opened for reading.

    `rows` is a read-only memory map, float32 (N, D). `usable` is bool (N,): False where the row is
    all zeros, the mark of an image that could not be read. `meta` is `feature.json`, or empty.
    """

    path: Path
    rows: np.ndarray
    usable: np.ndarray
    meta: dict[str, Any] = field(default_factory=dict)


def feature_json_path(path: Path) -> Path:
    """The place of the JSON beside a feature file: `feature.bin` has `feature.json`."""
    return path.with_suffix(".json")


def read_features(path: Path, dim: int | None = None) -> Features:
    """Open a feature file and check every row.

    The dimension comes from `dim`, else from the JSON beside the file. Raises `InputError` where
    the file is missing or empty, its size is no multiple of the row or disagrees with the JSON, or
    a row holds NaN or Inf.
    """
    meta_path = feature_json_path(path)
    meta = read_json(meta_path, "sh run_preprocess.sh FILELIST") if meta_path.exists() else {}
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
    return Features(path, rows, _usable_rows(path, rows), meta)


def is_unreadable_list(value: Any) -> bool:
    """Whether this can stand as `unreadable` in `feature.json`: a row, its path and the reason, each."""
    return isinstance(value, list) and all(
        isinstance(entry, dict)
        and type(entry.get("row")) is int
        and isinstance(entry.get("path"), str)
        and isinstance(entry.get("reason"), str)
        for entry in value
    )


def release_pages(array: np.ndarray) -> None:
    """Let the system take back the memory of a memory map; it is read from disk again when needed."""
    if isinstance(array.base, mmap.mmap):
        array.base.madvise(mmap.MADV_DONTNEED)


def _usable_rows(path: Path, rows: np.ndarray) -> np.ndarray:
    usable = np.empty(len(rows), bool)
    for start in range(0, len(rows), SCAN_ROWS):
        block = np.asarray(rows[start : start + SCAN_ROWS])
        # A sum of absolutes is zero, finite or not exactly when the row is; one pass over the data.
        weight = np.abs(block).sum(axis=1, dtype=np.float64)
        if not np.isfinite(weight).all():
            row = start + int(np.flatnonzero(~np.isfinite(weight))[0])
            raise InputError(
                f"{path}: row {row} holds NaN or Inf: make that feature again or set its row to zeros"
            )
        usable[start : start + SCAN_ROWS] = weight > 0
        release_pages(rows)
    return usable


# --- labels ------------------------------------------------------------------------------------


def read_labels(path: Path, count: int | None = None) -> np.ndarray:
    """Read one integer identity a line as int64 (N,); with `count`, N must be that."""
    lines = read_text(path).splitlines()
    try:
        labels = np.array([int(line) for line in lines], np.int64)
    except (ValueError, OverflowError):
        number, line = next((i, line) for i, line in enumerate(lines, 1) if not _is_int64(line))
        raise InputError(
            f"{path}: line {number} is {line[:40]!r}, not an integer: one identity a line"
        ) from None
    if not len(labels):
        raise InputError(f"{path}: holds no label: one integer a line")
    if count is not None and len(labels) != count:
        raise InputError(f"{path}: {len(labels)} labels for {count} rows: give one integer a row")
    return labels


def _is_int64(text: str) -> bool:
    try:
        np.int64(int(text))
        return True
    except (ValueError, OverflowError):
        return False


def read_text(path: Path) -> str:
    """Read a UTF-8 text file, a BOM allowed; `InputError` where it is missing, a folder or binary."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder, not a text file: give the path of a file")
    if not path.exists():
        raise InputError(f"{path}: not found: check the path")
    if not path.is_file():
        raise InputError(f"{path}: is not a regular file: give the path of a text file")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except PermissionError:
        raise InputError(f"{path}: no permission to read it: check its mode") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no UTF-8 text (byte {error.start}): save the file as UTF-8") from None
    if "\0" in text:
        raise InputError(f"{path}: is a binary file, not text: give the path of a text file")
    return text


# --- groups of rows (CSR) ----------------------------------------------------------------------


@dataclass(frozen=True)
class Groups:
    """Sets of rows in CSR form: group g is `members[offsets[g]:offsets[g + 1]]`, ascending.

    `members` is int32 (M,), `offsets` is int64 (G + 1,).
    """

    members: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def sizes(self) -> np.ndarray:
        """Rows in each group, int64 (G,)."""
        return np.diff(self.offsets)

    @property
    def owners(self) -> np.ndarray:
        """The group of each entry of `members`, int64 (M,)."""
        return np.repeat(np.arange(len(self)), self.sizes)


def groups_from_labels(labels: np.ndarray) -> Groups:
    """Rows with the same non-negative label, one group a label in use, by ascending label."""
    rows = np.flatnonzero(labels >= 0)
    order = rows[np.argsort(labels[rows], kind="stable")]
    sizes = np.bincount(labels[rows]) if len(rows) else np.zeros(0, np.int64)
    sizes = sizes[sizes > 0]
    return Groups(order.astype(MEMBER_DTYPE), np.concatenate([[0], np.cumsum(sizes)]).astype(OFFSET_DTYPE))


def labels_from_groups(groups: Groups, count: int) -> np.ndarray:
    """The group of each row, int64 (count,), -1 for a row in none; groups must not overlap."""
    labels = np.full(count, -1, np.int64)
    labels[groups.members] = groups.owners
    return labels


def take_groups(groups: Groups, chosen: np.ndarray) -> Groups:
    """The chosen groups, in that order."""
    sizes = groups.sizes[chosen]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(OFFSET_DTYPE)
    starts = np.repeat(groups.offsets[:-1][chosen] - offsets[:-1], sizes)
    return Groups(groups.members[np.arange(offsets[-1]) + starts], offsets)


# --- clusters.txt and clusters.json ------------------------------------------------------------


def canonical_groups(groups: Groups) -> Groups:
    """Groups in the order of `clusters.txt`: by size, then first id."""
    first = groups.members[groups.offsets[:-1]]
    return take_groups(groups, np.lexsort((first, -groups.sizes)))


def write_clusters(
    path: Path,
    groups: Groups,
    made_from: dict[str, str | None],
    predicted_iou: np.ndarray,
    names: list[str | None] | None = None,
) -> None:
    """Write canonical groups, a cluster a line, and the JSON beside them, both or neither.

    Ids are ascending and separated by one space. `predicted_iou` is float (G,); `made_from` are
    digests of what the clusters were made from, by name; that of the clusters' own file is added.
    `names` are those of the people, None where one has none.
    """
    members, offsets = groups.members.tolist(), groups.offsets.tolist()
    with whole_file(path.with_suffix(".json")) as json_part, whole_file(path) as part:
        with open(part, "w", encoding="ascii", newline="\n") as file:
            for start, end in zip(offsets, offsets[1:], strict=False):
                file.write(" ".join(map(str, members[start:end])) + "\n")
        meta = {"format": 1, "count": len(groups), "clusters_sha256": digest_file(part)}
        scores = np.round(predicted_iou.astype(float), 4).tolist()
        named = {"names": names} if names and any(names) else {}
        _dump_json(json_part, {**meta, **made_from, "predicted_iou": scores, **named})


def read_clusters(path: Path) -> Groups:
    """Read a `clusters.txt`; no id may stand twice."""
    lines = read_text(path).splitlines()
    try:
        rows = [np.array(line.split(), dtype=np.int64) for line in lines]
    except (ValueError, OverflowError):
        number = next(i for i, line in enumerate(lines, 1) if not all(map(_is_int64, line.split())))
        raise InputError(
            f"{path}: line {number} holds something other than row ids: a cluster a line"
        ) from None
    if not rows or not all(map(len, rows)):
        number = 1 + next((i for i, row in enumerate(rows) if not len(row)), 0)
        raise InputError(f"{path}: line {number} is empty: make it again with `sh run_predict.sh`")
    members = np.concatenate(rows)
    if members.min() < 0 or members.max() > np.iinfo(np.int32).max:
        raise InputError(f"{path}: holds a row id out of range: make it again with `sh run_predict.sh`")
    ids, counts = np.unique(members, return_counts=True)
    if (counts > 1).any():
        raise InputError(f"{path}: row {ids[counts > 1][0]} stands in two clusters: make it again")
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return Groups(members.astype(MEMBER_DTYPE), offsets.astype(OFFSET_DTYPE))


# --- super_vertex ------------------------------------------------------------------------------

PROPOSAL_COMMAND = "sh run_proposal.sh"
PREDICT_COMMAND = "sh run_predict.sh"
SUPER_VERTEX_FORMAT = 1
SUPER_VERTEX_FILES = ("manifest.json", "neighbors.npy", "similarities.npy", "round_*")


@dataclass(frozen=True)
class Round:
    """The proposals that one family forms at one threshold.

    `proposals` are those no earlier round has; `repeats` int64 are the numbers, counted over all
    rounds, of proposals of earlier rounds that this round forms as well.
    """

    family: str
    threshold: float
    proposals: Groups
    repeats: np.ndarray


@dataclass(frozen=True)
class SuperVertex:
    """`super_vertex/` opened for reading.

    `neighbors` int32 and `similarities` float32 (cosines) are memory maps (N, k), best first, -1 and
    0 where there is no neighbor. Proposal p is the p-th counted over `rounds`.
    """

    path: Path
    manifest: dict[str, Any]
    neighbors: np.ndarray
    similarities: np.ndarray
    rounds: list[Round]


def create_graph(folder: Path, count: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """New neighbors.npy and similarities.npy in `folder`, (count, k), as memory maps to be filled.

    Their space on disk is taken at once: a disk that is full later would end the process.
    """
    arrays = []
    for name, dtype in (("neighbors", MEMBER_DTYPE), ("similarities", FEATURE_DTYPE)):
        path = folder / f"{name}.npy"
        if count * k == 0:  # nothing to map
            np.save(path, np.empty((count, k), dtype), allow_pickle=False)
            arrays.append(np.empty((count, k), dtype))
            continue
        header = np.lib.format.open_memmap(path, "w+", dtype, (count, k))
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        arrays.append(header)
    return arrays[0], arrays[1]


def write_rounds(folder: Path, manifest: dict[str, Any], rounds: list[Round]) -> None:
    """Write the rounds into a folder that has its graph, and then the manifest.

    `manifest` must hold `count`, `k`, `features_sha256` and `calibration`; the rounds are added to it.
    """
    entries = []
    for number, round_ in enumerate(rounds):
        name = f"round_{number:03d}"
        (folder / name).mkdir()
        for field_, array in _round_arrays(round_).items():
            np.save(folder / name / f"{field_}.npy", array, allow_pickle=False)
        entries.append(
            {
                "name": name,
                "family": round_.family,
                "threshold": round(round_.threshold, 6),
                "proposals": len(round_.proposals),
                "members": len(round_.proposals.members),
                "repeats": len(round_.repeats),
            }
        )
    write_json(folder / "manifest.json", {"format": SUPER_VERTEX_FORMAT, **manifest, "rounds": entries})


def _round_arrays(round_: Round) -> dict[str, np.ndarray]:
    return {
        "members": round_.proposals.members.astype(MEMBER_DTYPE, copy=False),
        "offsets": round_.proposals.offsets.astype(OFFSET_DTYPE, copy=False),
        "repeats": round_.repeats.astype(OFFSET_DTYPE, copy=False),
    }


def read_super_vertex(path: Path, features: Features) -> SuperVertex:
    """Open the folder and check that it is whole, sound, and made from `features`.

    Raises `InputError` naming the file at fault.
    """
    if not path.is_dir():
        raise InputError(f"{path}: not found: run `{PROPOSAL_COMMAND}` first, or give --proposals FOLDER")
    manifest_path = path / "manifest.json"
    manifest = read_json(manifest_path, PROPOSAL_COMMAND)
    if manifest.get("format") != SUPER_VERTEX_FORMAT:
        raise InputError(
            f"{manifest_path}: format is not {SUPER_VERTEX_FORMAT}: run `{PROPOSAL_COMMAND}` again"
        )
    if manifest.get("features_sha256") != feature_digest(features):
        raise InputError(
            f"{path}: was made from other features than {features.path}: run `{PROPOSAL_COMMAND}` again"
        )
    count, k = len(features.rows), manifest.get("k")
    if not isinstance(k, int) or isinstance(k, bool) or not 0 <= k < max(count, 1):
        raise InputError(f"{manifest_path}: has no valid `k`: run `{PROPOSAL_COMMAND}` again")
    _check_calibration(manifest_path, manifest.get("calibration"))
    neighbors = read_array(path / "neighbors.npy", MEMBER_DTYPE, (count, k), PROPOSAL_COMMAND)
    similarities = read_array(path / "similarities.npy", FEATURE_DTYPE, (count, k), PROPOSAL_COMMAND)
    _check_graph(path, neighbors, similarities, features.usable)
    entries = manifest.get("rounds")
    if not isinstance(entries, list) or not all(map(_is_round_entry, entries)):
        raise InputError(f"{manifest_path}: `rounds` is damaged: run `{PROPOSAL_COMMAND}` again")
    rounds: list[Round] = []
    for entry in entries:
        rounds.append(
            _read_round(path / entry["name"], entry, features.usable, sum(len(r.proposals) for r in rounds))
        )
    return SuperVertex(path, manifest, neighbors, similarities, rounds)


def feature_digest(features: Features) -> str:
    """SHA-256 of the feature file's bytes; `InputError` where its JSON is of another file."""
    digest = hashlib.sha256()
    for start in range(0, len(features.rows), SCAN_ROWS):
        digest.update(features.rows[start : start + SCAN_ROWS].tobytes())
        release_pages(features.rows)
    described = features.meta.get("feature_sha256", digest.hexdigest())
    if described != digest.hexdigest():
        raise InputError(
            f"{feature_json_path(features.path)}: is of another file than {features.path.name} as it is now: "
            "run `sh run_preprocess.sh FILELIST` again, or remove it and give --dim"
        )
    return described


def read_array(path: Path, dtype: np.dtype, shape: tuple[int | None, ...], made_by: str) -> np.ndarray:
    """Memory-map a .npy file and check dtype and shape (None: any length)."""
    refuse_special(path, made_by)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError):
        try:  # an empty array cannot be mapped
            array = np.load(path, allow_pickle=False)
        except (ValueError, EOFError):
            raise InputError(f"{path}: is no whole .npy array: run `{made_by}` again") from None
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != len(shape):
        raise InputError(f"{path}: is not {dtype} with {len(shape)} dimensions: run `{made_by}` again")
    if any(want is not None and got != want for got, want in zip(array.shape, shape, strict=True)):
        raise InputError(f"{path}: shape is {array.shape}, not {shape}: run `{made_by}` again")
    return array


def _is_round_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("name"), str)
        and re.fullmatch(r"round_\d{3,}", entry["name"]) is not None
        and isinstance(entry.get("family"), str)
        and _is_finite(entry.get("threshold"))
    )


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def _check_calibration(path: Path, calibration: Any) -> None:
    values = calibration if isinstance(calibration, dict) else {}
    middle, spread = values.get("middle"), values.get("spread")
    if not (_is_finite(middle) and _is_finite(spread) and values["spread"] > 0):
        raise InputError(f"{path}: `calibration` is damaged: run `{PROPOSAL_COMMAND}` again")


def _check_graph(path: Path, neighbors: np.ndarray, similarities: np.ndarray, usable: np.ndarray) -> None:
    for start in range(0, len(neighbors), SCAN_ROWS):
        near = np.asarray(neighbors[start : start + SCAN_ROWS])
        if not near.size:
            return
        here = usable[start : start + SCAN_ROWS]
        if near.max() >= len(usable) or near.min() < -1 or not usable[near[near >= 0]].all():
            raise InputError(
                f"{path / 'neighbors.npy'}: holds a row out of range: run `{PROPOSAL_COMMAND}` again"
            )
        if (near[here] < 0).any() or (near[~here] >= 0).any():
            raise InputError(
                f"{path / 'neighbors.npy'}: does not fit the readable rows: run `{PROPOSAL_COMMAND}` again"
            )
        if not (np.abs(similarities[start : start + SCAN_ROWS]) < 1.01).all():
            raise InputError(
                f"{path / 'similarities.npy'}: holds what is no cosine: run `{PROPOSAL_COMMAND}` again"
            )
        release_pages(neighbors)
        release_pages(similarities)


def _read_round(folder: Path, entry: dict[str, Any], usable: np.ndarray, earlier: int) -> Round:
    members = np.asarray(read_array(folder / "members.npy", MEMBER_DTYPE, (None,), PROPOSAL_COMMAND))
    offsets = np.asarray(read_array(folder / "offsets.npy", OFFSET_DTYPE, (None,), PROPOSAL_COMMAND))
    repeats = np.asarray(read_array(folder / "repeats.npy", OFFSET_DTYPE, (None,), PROPOSAL_COMMAND))
    sound = len(offsets) and offsets[0] == 0 and offsets[-1] == len(members) and (np.diff(offsets) > 1).all()
    if not sound:
        raise InputError(
            f"{folder / 'offsets.npy'}: does not fit members.npy: run `{PROPOSAL_COMMAND}` again"
        )
    if len(members):
        in_range = members.min() >= 0 and members.max() < len(usable) and usable[members].all()
        if not in_range or np.bincount(members).max() > 1:
            raise InputError(
                f"{folder / 'members.npy'}: holds a row out of range, unreadable or twice: "
                f"run `{PROPOSAL_COMMAND}` again"
            )
    if len(repeats) and not (repeats.min() >= 0 and repeats.max() < earlier):
        raise InputError(
            f"{folder / 'repeats.npy'}: holds a number out of range: run `{PROPOSAL_COMMAND}` again"
        )
    return Round(entry["family"], float(entry["threshold"]), Groups(members, offsets), repeats)


# --- clusters.json -----------------------------------------------------------------------------


def read_cluster_json(clusters_path: Path) -> dict[str, Any] | None:
    """The JSON beside a `clusters.txt`, None where there is none; `names` is a list in any case.

    Raises `InputError` where it is damaged or belongs to other clusters.
    """
    path = clusters_path.with_suffix(".json")
    if not path.exists():
        return None
    values = read_json(path, PREDICT_COMMAND)
    if values.get("clusters_sha256") != digest_file(clusters_path):
        raise InputError(
            f"{path}: was not made with {clusters_path.name} as it is now: run `{PREDICT_COMMAND}` again"
        )
    scores = values.get("predicted_iou")
    if not isinstance(scores, list) or len(scores) != values.get("count") or not all(map(_is_share, scores)):
        raise InputError(f"{path}: `predicted_iou` is damaged: run `{PREDICT_COMMAND}` again")
    names = values.setdefault("names", [None] * len(scores))
    if not isinstance(names, list) or len(names) != len(scores) or not all(map(_is_name, names)):
        raise InputError(f"{path}: `names` is damaged: run `{PREDICT_COMMAND}` again")
    return values


def _is_name(value: Any) -> bool:
    return value is None or (isinstance(value, str) and bool(value.strip()))


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


# --- corrections.json --------------------------------------------------------------------------

SKETCH = 12  # numbers, one byte each, by which a feature is known again


@dataclass(frozen=True)
class SavedCorrections:
    """What the report saved, with faces by the row they had then.

    `network` says what made their features; `rows` int64 (F,), `names` and `sketches` int8 (F, SKETCH)
    are the faces spoken of. `people` are names, or None, with the rows of each part; `apart` are pairs
    of a face and the faces of the person that it is not.
    """

    path: Path
    network: dict[str, Any]
    rows: np.ndarray
    names: list[str | None]
    sketches: np.ndarray
    people: list[tuple[str | None, list[list[int]]]]
    apart: list[tuple[int, list[int]]]


def encode_sketches(sketches: np.ndarray) -> list[str]:
    """Sketches, int8 (M, SKETCH), as text."""
    return [base64.b64encode(sketch).decode() for sketch in sketches]


def corrections_json(saved: SavedCorrections) -> dict[str, Any]:
    """The content of a corrections file."""
    faces = zip(saved.rows.tolist(), saved.names, encode_sketches(saved.sketches), strict=True)
    return {
        "format": 1,
        "network": saved.network,
        "faces": [{"row": row, "name": name, "sketch": sketch} for row, name, sketch in faces],
        "people": [{"name": name, "parts": parts} for name, parts in saved.people],
        "apart": [{"face": face, "person": person} for face, person in saved.apart],
    }


def read_corrections(path: Path) -> SavedCorrections:
    """Read a corrections file. Raises `InputError` where it is missing or damaged."""
    if not path.exists():
        raise InputError(f"{path}: not found: give --corrections the file that the report saved")
    values = read_json(path, "sh run_report.sh")
    try:
        if values["format"] != 1 or not isinstance(values["network"], dict):
            raise ValueError
        faces, rows = values["faces"], [face["row"] for face in values["faces"]]
        names = [face["name"] for face in faces]
        people = [(person["name"], person["parts"]) for person in values["people"]]
        apart = [(pair["face"], pair["person"]) for pair in values["apart"]]
        sketches = [base64.b64decode(face["sketch"], validate=True) for face in faces]
        parts = [part for _, parts in people for part in parts] + [[face, *rest] for face, rest in apart]
        sound = (
            all(type(row) is int and 0 <= row <= np.iinfo(np.int32).max for row in rows)
            and len(set(rows)) == len(rows)
            and all(part and set(rows).issuperset(part) for part in parts)
            and all(parts for _, parts in people)
            and all(rest for _, rest in apart)
            and all(name is None or isinstance(name, str) for name in names)
            and all(_is_name(name) for name, _ in people)
            and all(len(sketch) == SKETCH for sketch in sketches)
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        sound = False
    if not sound:
        raise InputError(f"{path}: is no whole corrections file: save it from the report again")
    array = np.frombuffer(b"".join(sketches), np.int8).reshape(-1, SKETCH)
    return SavedCorrections(path, values["network"], np.array(rows, np.int64), names, array, people, apart)
