"""`clusters.txt` and `clusters.json`: one person per line, and what is predicted of each."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.inputs import is_there, require_file

import numpy as np

from pipeline.files.arrays import open_array
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

FORMAT = 2  # since people have ids; of format 1 they have none
MARK = b'"clusters_sha256"'  # at the head of the JSON beside clusters that this tool wrote
FACES_MARK = b"'descr': '<u8'"  # at the head of an array like that of `People.faces`


@dataclass(frozen=True)
class People:
    """Who the people of clusters are from run to run: `ids`, int64 (G,), the `next_id` that nobody had yet,
    and `faces`, uint64 (N, 2), what the image of each row is known by (`pipeline/identity.py`)."""

    ids: np.ndarray
    next_id: int
    faces: np.ndarray


def faces_path(path: Path) -> Path:
    """The place of what the images of clusters are known by: `clusters.txt` has `clusters.faces.npy`."""
    return path.with_suffix(".faces.npy")


def write_clusters(
    path: Path,
    groups: Groups,
    made_from: dict[str, str | None],
    predicted_iou: np.ndarray,
    names: dict[int, str] | None = None,
    hidden: list[int] | None = None,
    people: People | None = None,
) -> None:
    """Write canonical groups, one cluster per line, the JSON and what `people` tells beside them.

    Ids are ascending and separated by one space. `predicted_iou` is float (G,); `made_from` are
    digests of what the clusters were made from, by name; that of the clusters' own file is added.
    `names` are those of the people who have one, by number; `hidden` are the numbers of hidden people.
    """
    members, offsets = groups.members.tolist(), groups.offsets.tolist()
    # The JSON gets its name first: clusters without it would be taken for another tool's.
    with ExitStack() as parts:
        part = parts.enter_context(whole_file(path))
        json_part = parts.enter_context(whole_file(path.with_suffix(".json")))
        with open(part, "w", encoding="ascii", newline="\n") as file:
            for start, end in zip(offsets, offsets[1:], strict=False):
                file.write(" ".join(map(str, members[start:end])) + "\n")
        meta = {"format": FORMAT, "count": len(groups), "clusters_sha256": digest_file(part)}
        scores = np.round(predicted_iou.astype(float), 4).tolist()
        told: dict[str, Any] = {"names": [names.get(group) for group in range(len(groups))]} if names else {}
        told |= {"hidden": sorted(hidden)} if hidden else {}
        if people:
            faces_part = parts.enter_context(whole_file(faces_path(path)))
            with open(faces_part, "wb") as file:
                np.save(file, people.faces.astype("<u8"), allow_pickle=False)
            told |= {
                "ids": people.ids.tolist(),
                "next_id": people.next_id,
                "faces_sha256": digest_file(faces_part),
            }
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
    """The JSON beside a `clusters.txt`, None where there is none.

    `names` and `hidden` are lists in any case, `ids` is None where people have none.

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
    check_fields(
        path,
        values,
        PREDICT_COMMAND,
        ids=optional(list_of(is_count)),
        next_id=optional(is_count),
        faces_sha256=optional(is_text),
    )
    values.setdefault("ids", None)
    values.setdefault("names", [None] * values["count"])
    values.setdefault("hidden", [])
    check_fields(path, values, PREDICT_COMMAND, names=list_of(is_name), corrections=optional(is_text))
    check_fields(path, values, PREDICT_COMMAND, hidden=list_of(is_count))
    for name in ("predicted_iou", "names", "ids"):
        if values[name] is not None and len(values[name]) != values["count"]:
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


def found_people(path: Path, found: dict[str, Any]) -> tuple[Groups, People] | None:
    """The clusters that are there, whose JSON is `found`, and who their people are, where that is known."""
    if not found or found["ids"] is None or not found.get("next_id"):
        return None
    try:
        faces = np.asarray(open_array(faces_path(path), PREDICT_COMMAND))
        sound = faces.dtype == np.uint64 and faces.ndim == 2 and faces.shape[1] == 2
        if not sound or digest_file(faces_path(path)) != found.get("faces_sha256"):
            return None
        groups = read_clusters(path, len(faces), faces_path(path))
    except InputError:
        return None
    return groups, People(np.array(found["ids"], np.int64), found["next_id"], faces)
