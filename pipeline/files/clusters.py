"""`clusters.txt` and `clusters.json`: one person per line, and what is predicted of each."""

from pathlib import Path
from typing import Any

from common.errors import InputError
from common.inputs import is_there, require_file

import numpy as np

from pipeline.files.atomic import digest_file, whole_file
from pipeline.files.json_object import (
    check_fields,
    dump_json,
    is_count,
    is_finite,
    is_text,
    list_of,
    optional,
    read_json,
)
from pipeline.files.text import is_int64, read_text
from pipeline.groups import MEMBER_DTYPE, OFFSET_DTYPE, Groups

MARK = b'"clusters_sha256"'  # at the head of the JSON beside clusters that this tool wrote


def write_clusters(
    path: Path,
    groups: Groups,
    made_from: dict[str, str | None],
    predicted_iou: np.ndarray,
    names: dict[int, str] | None = None,
    hidden: list[int] | None = None,
) -> None:
    """Write canonical groups, one cluster per line, and the JSON beside them, both or neither.

    Ids are ascending and separated by one space. `predicted_iou` is float (G,); `made_from` are
    digests of what the clusters were made from, by name; that of the clusters' own file is added.
    `names` are those of the people who have one, by number; `hidden` are the numbers of hidden people.
    """
    members, offsets = groups.members.tolist(), groups.offsets.tolist()
    # The JSON gets its name first: clusters without it would be taken for another tool's.
    with whole_file(path) as part, whole_file(path.with_suffix(".json")) as json_part:
        with open(part, "w", encoding="ascii", newline="\n") as file:
            for start, end in zip(offsets, offsets[1:], strict=False):
                file.write(" ".join(map(str, members[start:end])) + "\n")
        meta = {"format": 1, "count": len(groups), "clusters_sha256": digest_file(part)}
        scores = np.round(predicted_iou.astype(float), 4).tolist()
        told: dict[str, Any] = {"names": [names.get(group) for group in range(len(groups))]} if names else {}
        told |= {"hidden": sorted(hidden)} if hidden else {}
        dump_json(json_part, {**meta, **made_from, "predicted_iou": scores, **told})


def read_clusters(path: Path, count: int | None = None, whose: Path | str = "") -> Groups:
    """Read a `clusters.txt`; no id may occur twice.

    With `count`, every id must be below it: the number of rows of the file `whose`.
    """
    lines = read_text(path).splitlines()
    try:
        rows = [np.array(line.split(), dtype=np.int64) for line in lines]
    except (ValueError, OverflowError):
        number = next(i for i, line in enumerate(lines, 1) if not all(map(is_int64, line.split())))
        raise InputError(
            f"{path}: line {number} holds something other than row ids: one cluster per line"
        ) from None
    if not rows or not all(map(len, rows)):
        number = 1 + next((i for i, row in enumerate(rows) if not len(row)), 0)
        raise InputError(f"{path}: line {number} is empty: make it again with `sh run_predict.sh`")
    members = np.concatenate(rows)
    if members.min() < 0 or members.max() > np.iinfo(np.int32).max:
        raise InputError(f"{path}: holds a row id out of range: make it again with `sh run_predict.sh`")
    if count is not None:
        refuse_other_rows(path, members, count, whose)
    ids, counts = np.unique(members, return_counts=True)
    if (counts > 1).any():
        raise InputError(f"{path}: row {ids[counts > 1][0]} stands in two clusters: make it again")
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return Groups(members.astype(MEMBER_DTYPE), offsets.astype(OFFSET_DTYPE))


PREDICT_COMMAND = "sh run_predict.sh"


def read_cluster_json(clusters_path: Path) -> dict[str, Any] | None:
    """The JSON beside a `clusters.txt`, None where there is none; `names` and `hidden` are lists in any case.

    Raises `InputError` where it is damaged or belongs to other clusters.
    """
    path = clusters_path.with_suffix(".json")
    if not is_there(path):
        return None
    values = read_json(path, PREDICT_COMMAND)
    if values.get("clusters_sha256") != digest_file(clusters_path):
        raise InputError(
            f"{path}: was not made with {clusters_path.name} as it is now: run `{PREDICT_COMMAND}` again"
        )
    check_fields(path, values, PREDICT_COMMAND, count=is_count, predicted_iou=list_of(_is_share))
    values.setdefault("names", [None] * values["count"])
    values.setdefault("hidden", [])
    check_fields(path, values, PREDICT_COMMAND, names=list_of(is_name), corrections=optional(is_text))
    check_fields(path, values, PREDICT_COMMAND, hidden=list_of(is_count))
    for name in ("predicted_iou", "names"):
        if len(values[name]) != values["count"]:
            raise InputError(f"{path}: `{name}` is damaged: run `{PREDICT_COMMAND}` again")
    if not all(number < values["count"] for number in values["hidden"]):
        raise InputError(f"{path}: `hidden` is damaged: run `{PREDICT_COMMAND}` again")
    return values


def is_name(value: Any) -> bool:
    """Whether this is a possible name of a person, or None."""
    return value is None or (isinstance(value, str) and bool(value.strip()))


def _is_share(value: Any) -> bool:
    return is_finite(value) and 0 <= value <= 1


def refuse_other_rows(path: Path, members: np.ndarray, count: int, whose: Path | str) -> None:
    """Raise `InputError` where a row id of the clusters `path` is not below the number of rows of `whose`."""
    if members.max() >= count:
        raise InputError(
            f"{path}: holds row {members.max()} but {whose} has {count} rows: "
            "give the one that these clusters came from"
        )


def found_clusters(path: Path) -> dict[str, Any]:
    """The JSON beside clusters that are there and whole, else nothing."""
    try:
        require_file(path)
        return read_cluster_json(path) or {}
    except InputError:
        return {}
