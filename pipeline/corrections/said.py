"""Corrections that a user made in the report, kept on every later run.

Two things are said: that faces are one person, who may have a name (they stay together), and that a
face is not a certain person (it stays apart from that person's faces). Images are known again by a
sketch of their features and by name, so that a list may grow or be sorted anew.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.progress import warn

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pipeline.corrections.matching import find_faces, network_of, sketch_rows
from pipeline.files.atomic import digest_file
from pipeline.files.corrections import SavedCorrections, read_corrections
from pipeline.files.features import Features
from pipeline.groups import Groups, labels_from_groups
from pipeline.rows import Numbering


@dataclass(frozen=True)
class Person:
    """Faces said to be one person: `parts` are int64 rows, each those of a cluster as it was shown."""

    name: str | None
    parts: list[np.ndarray]

    @property
    def rows(self) -> np.ndarray:
        """All rows of the person, int64, ascending."""
        return np.unique(np.concatenate(self.parts))


@dataclass(frozen=True)
class Corrections:
    """What was said, as rows of the feature file.

    `people` share no row and no name; `apart` are pairs of a row and the rows, int64, of the person
    that it is not. `lost` are the names of faces that are not among the rows, or what they were called.
    """

    people: list[Person]
    apart: list[tuple[int, np.ndarray]]
    lost: list[str]

    def __len__(self) -> int:
        return len(self.people) + len(self.apart)


def save_corrections(
    corrections: Corrections, features: Features, names: list[str] | None, path: Path = Path()
) -> SavedCorrections:
    """Corrections as `corrections_json` takes them; `names` are those of the file list, if known."""
    parts = [part for person in corrections.people for part in person.parts]
    apart = [np.append(others, face) for face, others in corrections.apart]
    rows = np.unique(np.concatenate([np.zeros(0, np.int64), *parts, *apart]))
    return SavedCorrections(
        path,
        network_of(features),
        rows,
        [names[row] if names else None for row in rows.tolist()],
        sketch_rows(features.rows[rows]),
        [(person.name, [part.tolist() for part in person.parts]) for person in corrections.people],
        [(face, others.tolist()) for face, others in corrections.apart],
    )


def corrections_kept(path: Path, found: dict[str, Any]) -> Path | None:
    """The file of the corrections that the clusters `path`, whose JSON is `found`, were made with, where it
    is as it was."""
    if not found.get("corrections_sha256"):
        return None
    kept = Path(str(found.get("corrections")))
    if kept.is_file() and digest_file(kept) == found["corrections_sha256"]:
        return kept
    warn(f"{path}: was made with corrections: give --corrections FILE to go on with them in the report")
    return None


def load_corrections(path: Path | None, features: Features, names: list[str] | None) -> Corrections:
    """What the corrections file says of these features, nothing where there is none.

    Says on stderr how many of its faces are not among the rows; otherwise as `corrections_of`.
    """
    if path is None:
        return Corrections([], [], [])
    corrections = corrections_of(read_corrections(path), features, names)
    if corrections.lost:
        warn(
            f"{path}: {len(corrections.lost)} of its faces, the first {corrections.lost[0]}, are not among "
            "the features: what it says of them is left out"
        )
    return corrections


def corrections_of(saved: SavedCorrections, features: Features, names: list[str] | None) -> Corrections:
    """What a corrections file says of these features; `names` are those of the file list, if known.

    Raises `InputError` where it contradicts itself, or none of its faces is among the rows.
    """
    found = find_faces(saved, features, names)
    called = [name or f"row {row}" for row, name in zip(saved.rows.tolist(), saved.names, strict=True)]
    if len(found) and (found < 0).all():
        raise InputError(
            f"{saved.path}: none of its {len(found)} faces, the first {called[0]}, is in {features.path}: "
            "give the corrections of this file list, or leave --corrections out"
        )
    row_of = dict(zip(saved.rows.tolist(), found.tolist(), strict=True))

    def rows(faces: list[int]) -> np.ndarray:
        return np.array([row_of[face] for face in faces if row_of[face] >= 0], np.int64)

    people = [Person(name, [part for part in map(rows, parts) if len(part)]) for name, parts in saved.people]
    apart = [
        (row_of[face], rows(person))
        for face, person in saved.apart
        if row_of[face] >= 0 and len(rows(person))
    ]
    called_of = dict(zip(found.tolist(), called, strict=True))
    people = join_people([person for person in people if person.parts], saved)
    refuse_contradictions(people, apart, called_of, saved)
    return Corrections(people, apart, [name for name, row in zip(called, found, strict=True) if row < 0])


def on_usable_rows(corrections: Corrections, numbering: Numbering) -> Corrections:
    """The same corrections by number among the usable rows."""
    place = numbering.number_of.astype(np.int64)
    people = [Person(person.name, [place[part] for part in person.parts]) for person in corrections.people]
    apart = [(int(place[face]), place[others]) for face, others in corrections.apart]
    return Corrections(people, apart, corrections.lost)


def names_of_groups(corrections: Corrections, groups: Groups, count: int) -> list[str | None]:
    """The name of each group of rows, None where it has none; `count` is that of all rows."""
    group_of = labels_from_groups(groups, count)
    names: list[str | None] = [None] * len(groups)
    for person in corrections.people:
        if person.name:
            names[group_of[person.rows[0]]] = person.name
    return names


def join_people(people: list[Person], saved: SavedCorrections) -> list[Person]:
    """People with a row or a name in common are one.

    Raises `InputError` naming both names where one person would have two.
    """
    keys: list[Any] = []
    owners: list[int] = []
    for number, person in enumerate(people):
        of_person = [*person.rows.tolist(), *([person.name] if person.name else [])]
        keys += of_person
        owners += [number] * len(of_person)
    numbers = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    shape = (len(people) + len(numbers),) * 2
    links = ([1] * len(keys), (owners, [len(people) + numbers[key] for key in keys]))
    together = connected_components(coo_matrix(links, shape), directed=False)[1][: len(people)]
    joined = []
    for number in dict.fromkeys(together.tolist()):
        group = [person for person, of in zip(people, together, strict=True) if of == number]
        names = list(dict.fromkeys(person.name for person in group if person.name))
        if len(names) > 1:
            raise InputError(
                f"{saved.path}: the same faces are named {names[0]!r} and {names[1]!r}: "
                "decide for one in the report, and save the corrections again"
            )
        joined.append(
            Person(names[0] if names else None, [part for person in group for part in person.parts])
        )
    return joined


def refuse_contradictions(
    people: list[Person], apart: list[tuple[int, np.ndarray]], called: dict[int, str], saved: SavedCorrections
) -> None:
    """Raise `InputError` naming both faces where two are said to be one person and not to be."""
    owner = {row: number for number, person in enumerate(people) for row in person.rows.tolist()}
    for face, others in apart:
        for other in others.tolist():
            if face == other or (face in owner and owner[face] == owner.get(other)):
                raise InputError(
                    f"{saved.path}: says of {called[face]} and {called[other]} that they are the same "
                    "person and that they are not: decide in the report, and save the corrections again"
                )
