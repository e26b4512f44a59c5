"""`corrections.json`: what a user said in the report, with each face as it can be known again."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import InputError

import numpy as np

from pipeline.files.clusters import (
    _is_name,
)
from pipeline.files.json_object import read_json

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
