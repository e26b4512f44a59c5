"""`super_vertex/`: the affinity graph and the cluster proposals of every round of merging.

Readers check everything they rely on: size, dtype, shape, range, and the digests in the manifest. Nothing is
ever unpickled.
"""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import InputError

import numpy as np

from pipeline.files.arrays import head_of, open_array
from pipeline.files.atomic import digest_file
from pipeline.files.features import FEATURE_DTYPE, SCAN_ROWS, Features
from pipeline.files.json_object import (
    check_fields,
    is_count,
    is_finite,
    is_text,
    list_of,
    read_json,
    write_json,
)
from pipeline.groups import MEMBER_DTYPE, OFFSET_DTYPE, Groups
from pipeline.rows import Numbering, blocks

PROPOSAL_COMMAND = "sh run_proposal.sh"
SUPER_VERTEX_FORMAT = 3
GRAPH_FILES = (("neighbors", MEMBER_DTYPE), ("similarities", FEATURE_DTYPE))
SEARCHED = "searched_"  # of a graph from before near-copies fell out of it
SUPER_VERTEX_FILES = (
    "manifest.json",
    *(f"{kind}{name}.npy" for kind in ("", SEARCHED) for name, _ in GRAPH_FILES),
    "stands_for.npy",
    "round_*",
    "round_*/members.npy",
    "round_*/offsets.npy",
    "round_*/repeats.npy",
)


@dataclass(frozen=True)
class Round:
    """The proposals that one hierarchy forms at one threshold.

    `proposals`, of rows of the graph by number, are those that no earlier round has; `repeats` int64
    are the numbers, counted over all rounds, of proposals of earlier rounds that this round forms as well.
    """

    hierarchy: str
    threshold: float
    proposals: Groups
    repeats: np.ndarray


@dataclass(frozen=True)
class SuperVertex:
    """`super_vertex/` opened for reading.

    `neighbors` int32 and `similarities` float32 (cosines) are memory maps (N, k), best first, -1 and
    0 where there is no neighbor. `stands_for` int32 (N,) is the row that represents each row in the affinity
    graph, usually itself: one of the copies of a picture represents all, and only such rows are neighbors
    and members of proposals; -1 for a row that could not be read. `numbering` numbers the representing
    rows. Proposal p is the p-th counted over `rounds`.
    """

    path: Path
    manifest: dict[str, Any]
    neighbors: np.ndarray
    similarities: np.ndarray
    stands_for: np.ndarray
    numbering: Numbering
    rounds: list[Round]


@dataclass(frozen=True)
class KeptGraph:
    """A graph that an earlier run made: `neighbors` int32 and `cosines` float32, (N, k), of the N rows of its
    file, among those that stand: `stands_for`, int32 (N,), is their own."""

    stands_for: np.ndarray
    neighbors: np.ndarray
    cosines: np.ndarray

    @property
    def standing(self) -> np.ndarray:
        """Which rows stand, bool (N,)."""
        return self.stands_for == np.arange(len(self.stands_for))


def create_graph(folder: Path, count: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """New neighbors.npy and similarities.npy in `folder`, (count, k), as memory maps to be filled.

    Their space on disk is taken at once: a disk that is full later would end the process. Of graphs that
    are there, the first is kept beside them as `searched_`, so that a later run can add rows to it.
    """
    arrays = []
    for name, dtype in GRAPH_FILES:
        path, kept = folder / f"{name}.npy", folder / f"{SEARCHED}{name}.npy"
        if path.exists():
            path.unlink() if kept.exists() else path.rename(kept)
        if count * k == 0:  # nothing to map
            np.save(path, np.empty((count, k), dtype), allow_pickle=False)
            arrays.append(np.empty((count, k), dtype))
            continue
        header = np.lib.format.open_memmap(path, "w+", dtype, (count, k))
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        arrays.append(header)
    return arrays[0], arrays[1]


def write_rounds(
    folder: Path,
    manifest: dict[str, Any],
    rounds: list[Round],
    numbering: Numbering,
    stands_for: np.ndarray,
) -> None:
    """Write the representing rows and the rounds into a folder that has its graph, and then the manifest.

    `manifest` must hold `count`, `k`, `features_sha256` and `calibration`; the rounds are added to it.
    """
    np.save(folder / "stands_for.npy", stands_for.astype(MEMBER_DTYPE), allow_pickle=False)
    entries = []
    for number, round_ in enumerate(rounds):
        name = f"round_{number:03d}"
        (folder / name).mkdir()
        for field_, array in _round_arrays(round_, numbering).items():
            np.save(folder / name / f"{field_}.npy", array, allow_pickle=False)
        entries.append(
            {
                "name": name,
                "hierarchy": round_.hierarchy,
                "threshold": round(round_.threshold, 6),
                "proposals": len(round_.proposals),
                "members": len(round_.proposals.members),
                "repeats": len(round_.repeats),
            }
        )
    digests = {str(path.relative_to(folder)): digest_file(path) for path in sorted(folder.rglob("*.npy"))}
    write_json(
        folder / "manifest.json",
        {"format": SUPER_VERTEX_FORMAT, **manifest, "rounds": entries, "sha256": digests},
    )


def _round_arrays(round_: Round, numbering: Numbering) -> dict[str, np.ndarray]:
    return {
        "members": numbering.row_of[round_.proposals.members].astype(MEMBER_DTYPE),
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
    if manifest.get("features_sha256") != features.digest:
        raise InputError(
            f"{path}: was made from other features than {features.path}: run `{PROPOSAL_COMMAND}` again"
        )
    count = len(features.rows)
    check_fields(
        manifest_path,
        manifest,
        PROPOSAL_COMMAND,
        k=lambda k: is_count(k) and k < max(count, 1),
        calibration=_is_calibration,
        rounds=lambda entries: entries and list_of(_is_round_entry)(entries),
        sha256=lambda digests: isinstance(digests, dict) and all(map(is_text, digests.values())),
    )
    digests, shape = manifest["sha256"], (count, manifest["k"])
    neighbors = read_array(path / "neighbors.npy", MEMBER_DTYPE, shape, PROPOSAL_COMMAND)
    similarities = read_array(path / "similarities.npy", FEATURE_DTYPE, shape, PROPOSAL_COMMAND)
    stands_for = np.asarray(read_array(path / "stands_for.npy", MEMBER_DTYPE, (count,), PROPOSAL_COMMAND))
    _check_digest(path, "stands_for.npy", digest_file(path / "stands_for.npy"), digests)
    numbering = _numbering_of(path, stands_for, features.usable)
    _check_graph(path, neighbors, similarities, features.usable, numbering.usable, digests)
    rounds: list[Round] = []
    for entry in manifest["rounds"]:
        earlier = sum(len(round_.proposals) for round_ in rounds)
        rounds.append(_read_round(path / entry["name"], entry, numbering, earlier, digests))
    return SuperVertex(path, manifest, neighbors, similarities, stands_for, numbering, rounds)


def read_array(path: Path, dtype: np.dtype, shape: tuple[int | None, ...], made_by: str) -> np.ndarray:
    """Memory-map a .npy file and check dtype and shape (None: any length)."""
    array = open_array(path, made_by)
    if array.dtype != dtype or array.ndim != len(shape):
        raise InputError(f"{path}: is not {dtype} with {len(shape)} dimensions: run `{made_by}` again")
    if any(want is not None and got != want for got, want in zip(array.shape, shape, strict=True)):
        raise InputError(f"{path}: shape is {array.shape}, not {shape}: run `{made_by}` again")
    return array


def _is_round_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and is_text(entry.get("name"))
        and re.fullmatch(r"round_\d{3,}", entry["name"]) is not None
        and is_text(entry.get("hierarchy"))
        and is_finite(entry.get("threshold"))
    )


def _is_calibration(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"middle", "spread", "upper"}
        and all(map(is_finite, value.values()))
        and value["spread"] > 0
        and value["upper"] > 0
    )


def _check_digest(folder: Path, name: str, digest: str, digests: dict[str, str]) -> None:
    """Raise `InputError` where the manifest has another digest of a file of the folder, or none."""
    if digests.get(name) != digest:
        raise InputError(f"{folder / name}: is not as it was written: run `{PROPOSAL_COMMAND}` again")


def _numbering_of(path: Path, stands_for: np.ndarray, usable: np.ndarray) -> Numbering:
    """The representing rows; each usable row must have one, and no other row may."""
    standing = usable & (stands_for == np.arange(len(usable)))
    sound = stands_for.min(initial=0) >= -1 and stands_for.max(initial=0) < len(usable)
    if not sound or not ((stands_for >= 0) == usable).all() or not standing[stands_for[usable]].all():
        raise InputError(
            f"{path / 'stands_for.npy'}: does not fit the readable rows: run `{PROPOSAL_COMMAND}` again"
        )
    return Numbering(standing)


def _check_graph(
    path: Path,
    neighbors: np.ndarray,
    similarities: np.ndarray,
    usable: np.ndarray,
    standing: np.ndarray,
    digests: dict[str, str],
) -> None:
    """Check values and digests of the graph, in one pass over each of its arrays."""
    if not neighbors.size:
        return
    digest = hashlib.sha256(head_of(path / "neighbors.npy", neighbors))
    for part, near in blocks(neighbors, SCAN_ROWS):
        digest.update(near.data)
        here = usable[part]
        if near.max() >= len(usable) or near.min() < -1 or not standing[near[near >= 0]].all():
            raise InputError(
                f"{path / 'neighbors.npy'}: holds a row out of range: run `{PROPOSAL_COMMAND}` again"
            )
        if (near[here] < 0).any() or (near[~here] >= 0).any():
            raise InputError(
                f"{path / 'neighbors.npy'}: does not fit the readable rows: run `{PROPOSAL_COMMAND}` again"
            )
    _check_digest(path, "neighbors.npy", digest.hexdigest(), digests)
    digest = hashlib.sha256(head_of(path / "similarities.npy", similarities))
    for _, cosines in blocks(similarities, SCAN_ROWS):
        digest.update(cosines.data)
        if not (np.abs(cosines) < 1.01).all():
            raise InputError(
                f"{path / 'similarities.npy'}: holds what is no cosine: run `{PROPOSAL_COMMAND}` again"
            )
    _check_digest(path, "similarities.npy", digest.hexdigest(), digests)


def _read_round(
    folder: Path, entry: dict[str, Any], numbering: Numbering, earlier: int, digests: dict[str, str]
) -> Round:
    members = np.asarray(read_array(folder / "members.npy", MEMBER_DTYPE, (None,), PROPOSAL_COMMAND))
    offsets = np.asarray(read_array(folder / "offsets.npy", OFFSET_DTYPE, (None,), PROPOSAL_COMMAND))
    repeats = np.asarray(read_array(folder / "repeats.npy", OFFSET_DTYPE, (None,), PROPOSAL_COMMAND))
    for name in ("members.npy", "offsets.npy", "repeats.npy"):
        _check_digest(folder.parent, f"{folder.name}/{name}", digest_file(folder / name), digests)
    in_file = len(offsets) and offsets.min() == offsets[0] == 0 and offsets.max() == len(members)
    if not (in_file and offsets[-1] == len(members) and (np.diff(offsets) > 1).all()):
        raise InputError(
            f"{folder / 'offsets.npy'}: does not fit members.npy: run `{PROPOSAL_COMMAND}` again"
        )
    if len(members):
        standing = numbering.usable
        in_range = members.min() >= 0 and members.max() < len(standing) and standing[members].all()
        if not in_range or np.bincount(members).max() > 1:
            raise InputError(
                f"{folder / 'members.npy'}: holds a row out of range, twice, or that does not stand: "
                f"run `{PROPOSAL_COMMAND}` again"
            )
    if len(repeats) and not (repeats.min() >= 0 and repeats.max() < earlier):
        raise InputError(
            f"{folder / 'repeats.npy'}: holds a number out of range: run `{PROPOSAL_COMMAND}` again"
        )
    numbers = members if numbering.is_identity else numbering.number_of[members]
    return Round(entry["hierarchy"], float(entry["threshold"]), Groups(numbers, offsets), repeats)


def read_kept(
    path: Path, features: Features, parameters: dict[str, Any]
) -> tuple[list[KeptGraph], dict[str, Any]]:
    """The graphs of an earlier run by the same `parameters`, last one first, and how they were searched for.

    Nothing where there is no such run. Raises `InputError` where it was made from other rows than the first
    ones of `features`, or is damaged.
    """
    try:
        manifest = read_json(path / "manifest.json", PROPOSAL_COMMAND)
    except InputError:
        return [], {}
    made_by, search, count = manifest.get("parameters"), manifest.get("search"), manifest.get("count", -1)
    if manifest.get("format") != SUPER_VERTEX_FORMAT or not is_count(count) or not manifest.get("k"):
        return [], {}
    if not isinstance(made_by, dict) or not isinstance(search, dict):
        return [], {}
    if any(made_by.get(name) != value for name, value in parameters.items()):
        return [], {}
    if not begins_with(features, count, manifest.get("features_sha256")):
        raise InputError(
            f"{path}: was made from {count} rows that are not the first of {features.path} any more, "
            "so none of its neighbors can be kept"
        )
    digests = manifest.get("sha256") or {}
    stands_for = np.asarray(read_array(path / "stands_for.npy", MEMBER_DTYPE, (count,), PROPOSAL_COMMAND))
    _check_digest(path, "stands_for.npy", digest_file(path / "stands_for.npy"), digests)
    kept = []
    for kind in ("", SEARCHED):
        names = [f"{kind}{name}.npy" for name, _ in GRAPH_FILES]
        if not (path / names[0]).exists():
            continue
        for name in names:
            _check_digest(path, name, digest_file(path / name), digests)
        neighbors, cosines = (
            read_array(path / name, dtype, (count, None), PROPOSAL_COMMAND)
            for name, (_, dtype) in zip(names, GRAPH_FILES, strict=True)
        )
        if kind:
            stands_for = np.where(neighbors[:, 0] >= 0, np.arange(count), -1)
        kept.append(KeptGraph(stands_for, neighbors, cosines))
    return kept, search


def begins_with(features: Features, count: int, digest: Any) -> bool:
    """Whether the first rows of a raw feature file are what a file of that SHA-256 held."""
    if count > len(features.rows) or features.path.suffix == ".npy":
        return digest == features.digest
    seen = hashlib.sha256()
    for _, block in blocks(features.rows[:count], SCAN_ROWS):
        seen.update(block.data)
    return seen.hexdigest() == digest


def is_done(path: Path, features: Features, run: dict[str, Any]) -> bool:
    """Whether `path` holds whole proposals of the same features, whose manifest says the same as `run`."""
    if not path.exists():
        return False
    try:
        manifest = read_super_vertex(path, features).manifest
    except InputError:
        return False
    return all(manifest.get(name) == value for name, value in run.items())
