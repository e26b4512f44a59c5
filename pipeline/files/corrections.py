"""`corrections.json`: what a user said in the report, with what identifies each face in later runs."""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.inputs import require_file

import numpy as np

from pipeline.files.clusters import is_name
from pipeline.files.json_object import is_text, optional, read_json

FORMAT = 2  # format 1 had no pairs of people, hidden people or images that show no face
SKETCH = 12  # numbers, one byte each, by which a feature is recognized


@dataclass(frozen=True)
class Person:
    """Faces said to be one person: `parts` are int64 rows, each those of a cluster as it was shown.

    A `hidden` person is neither shown nor exported.
    """

    name: str | None
    parts: list[np.ndarray]
    hidden: bool = False

    @property
    def rows(self) -> np.ndarray:
        """All rows of the person, int64, ascending."""
        return np.unique(np.concatenate(self.parts))


@dataclass(frozen=True)
class Corrections:
    """What was said of rows, int64, however they are numbered.

    `people` share no row and no name. `apart` are pairs of rows: none of the first is the person of any
    of the second. `not_faces` are rows whose image shows no face.
    """

    people: list[Person] = field(default_factory=list)
    apart: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    not_faces: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.people) + len(self.apart) + len(self.not_faces)

    @property
    def rows(self) -> np.ndarray:
        """All rows that anything is said of, int64, ascending."""
        parts = [part for person in self.people for part in person.parts]
        return np.unique(
            np.concatenate([*parts, *(rows for pair in self.apart for rows in pair), self.not_faces])
        )

    def renumbered(self, number_of: Callable[[np.ndarray], np.ndarray]) -> "Corrections":
        """The corrections with rows renumbered; rows whose new number is negative are left out."""

        def new(rows: np.ndarray) -> np.ndarray:
            numbers = number_of(rows)
            return numbers[numbers >= 0]

        people = [
            Person(person.name, [part for part in map(new, person.parts) if len(part)], person.hidden)
            for person in self.people
        ]
        apart = [(new(one), new(other)) for one, other in self.apart]
        return Corrections(
            [person for person in people if person.parts],
            [(one, other) for one, other in apart if len(one) and len(other)],
            new(self.not_faces),
        )


@dataclass(frozen=True)
class SavedCorrections:
    """What the report saved: `said` of faces by the row they had then.

    `network` says what made their features; `rows` int64 (F,), `names` and `sketches` int8 (F, SKETCH)
    describe the faces.
    """

    path: Path
    network: dict[str, Any]
    rows: np.ndarray
    names: list[str | None]
    sketches: np.ndarray
    said: Corrections


def encode_sketches(sketches: np.ndarray) -> list[str]:
    """Sketches, int8 (M, SKETCH), as text."""
    return [base64.b64encode(sketch).decode() for sketch in sketches]


def corrections_json(saved: SavedCorrections) -> dict[str, Any]:
    """The content of a corrections file."""
    faces = zip(saved.rows.tolist(), saved.names, encode_sketches(saved.sketches), strict=True)
    return {
        "format": FORMAT,
        "network": saved.network,
        "faces": [{"row": row, "name": name, "sketch": sketch} for row, name, sketch in faces],
        "people": [
            {"name": person.name, "hidden": person.hidden, "parts": [part.tolist() for part in person.parts]}
            for person in saved.said.people
        ],
        "apart": [[one.tolist(), other.tolist()] for one, other in saved.said.apart],
        "not_faces": saved.said.not_faces.tolist(),
    }


def read_corrections(path: Path) -> SavedCorrections:
    """Read a corrections file, of this format or the one before.

    Raises `InputError` where it is missing or damaged.
    """
    require_file(path, "give --corrections the file that the report saved")
    values = read_json(path, "sh run_report.sh")
    try:
        values = _in_this_format(values)
        faces = values["faces"]
        rows, names = [face["row"] for face in faces], [face["name"] for face in faces]
        sketches = [base64.b64decode(face["sketch"], validate=True) for face in faces]
        people = [
            Person(one["name"], list(map(_rows, one["parts"])), one["hidden"]) for one in values["people"]
        ]
        said = Corrections(
            people,
            [(_rows(one), _rows(other)) for one, other in values["apart"]],
            _rows(values["not_faces"], may_be_empty=True),
        )
        sound = (
            isinstance(values["network"], dict)
            and len(set(rows)) == len(rows) == len(_rows(rows, may_be_empty=True))
            and set(rows).issuperset(said.rows.tolist())
            and all(map(optional(is_text), names))
            and all(person.parts and is_name(person.name) for person in people)
            and all(isinstance(person.hidden, bool) for person in people)
            and all(len(sketch) == SKETCH for sketch in sketches)
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        sound = False
    if not sound:
        raise InputError(f"{path}: is no whole corrections file: save it from the report again")
    array = np.frombuffer(b"".join(sketches), np.int8).reshape(-1, SKETCH)
    return SavedCorrections(path, values["network"], np.array(rows, np.int64), names, array, said)


def _in_this_format(values: dict[str, Any]) -> dict[str, Any]:
    if values["format"] == FORMAT:
        return values
    if values["format"] != 1:
        raise ValueError
    return values | {
        "people": [person | {"hidden": False} for person in values["people"]],
        "apart": [([pair["face"]], pair["person"]) for pair in values["apart"]],
        "not_faces": [],
    }


def _rows(numbers: list[int], may_be_empty: bool = False) -> np.ndarray:
    rows = np.array(numbers or np.zeros(0, np.int64))
    if rows.ndim != 1 or rows.dtype != np.int64 or not (len(rows) or may_be_empty) or (rows < 0).any():
        raise ValueError
    return rows
