"""Corrections that a user made in the report, kept on every later run.

Three things are said: that faces are one person, who may have a name or be hidden (they stay together);
that some faces are not the person of some others (they stay apart); and that an image shows no face (it
belongs to no cluster). Images are recognized by a sketch of their features and by name, so that a list
may grow or change its order.
"""

from pathlib import Path
from typing import Any

from common.errors import InputError
from common.progress import count, warn

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pipeline.corrections.matching import find_faces, network_of, sketch_rows
from pipeline.files.atomic import digest_file
from pipeline.files.corrections import Corrections, Person, SavedCorrections, read_corrections
from pipeline.files.features import Features
from pipeline.groups import Groups, labels_from_groups


def save_corrections(
    corrections: Corrections, features: Features, names: list[str] | None, path: Path = Path()
) -> SavedCorrections:
    """Corrections as `corrections_json` takes them; `names` are those of the file list, if known."""
    rows = corrections.rows
    called = [names[row] if names else None for row in rows.tolist()]
    return SavedCorrections(
        path, network_of(features), rows, called, sketch_rows(features.rows[rows]), corrections
    )


def corrections_kept(path: Path, found: dict[str, Any]) -> Path | None:
    """The file of the corrections that the clusters `path`, whose JSON is `found`, were made with, if it is
    unchanged."""
    if not found.get("corrections_sha256"):
        return None
    kept = Path(str(found.get("corrections")))
    if kept.is_file() and digest_file(kept) == found["corrections_sha256"]:
        return kept
    warn(f"{path}: was made with corrections: give --corrections FILE to go on with them in the report")
    return None


def load_corrections(path: Path | None, features: Features, names: list[str] | None) -> Corrections:
    """The corrections in a file, for these features; none where there is no file.

    Says on stderr how many of its images have changed and how many are not among the rows, and where only
    names could tell; otherwise as `corrections_of`.
    """
    if path is None:
        return Corrections()
    saved = read_corrections(path)
    corrections, lost = corrections_of(saved, features, names)
    changed: dict[str, None] = {}
    if saved.network == network_of(features):
        usable = {
            name for name, is_usable in zip(names or [], features.usable.tolist(), strict=False) if is_usable
        }
        changed = {name: None for name in lost if name in usable}
    elif len(saved.rows):
        warn(f"{path}: was saved with another network's features: its images are known by their names alone")
    gone = [name for name in lost if name not in changed]
    if changed:
        warn(
            f"{path}: {count(len(changed), 'of its images has', 'of its images have')} changed, the first "
            f"{next(iter(changed))}: what it says of what they showed is left out"
        )
    if gone:
        warn(
            f"{path}: {len(gone)} of its faces, the first {gone[0]}, are not among "
            "the features: what it says of them is left out"
        )
    return corrections


def corrections_of(
    saved: SavedCorrections, features: Features, names: list[str] | None
) -> tuple[Corrections, list[str]]:
    """The corrections in a file, for these features, and the names of the faces that are not among them.

    `names` are those of the file list, if known. Raises `InputError` where the file contradicts itself,
    none of its faces is among the rows, or only names could tell and are not known.
    """
    if not len(saved.rows):
        return Corrections(), []
    if names is None and saved.network != network_of(features):
        raise InputError(
            f"{saved.path}: was saved with another network's features, so that only names can tell, "
            f"and those of {features.path} are not known: run `sh run_preprocess.sh` again"
        )
    found = find_faces(saved, features, names)
    called = [name or f"row {row}" for row, name in zip(saved.rows.tolist(), saved.names, strict=True)]
    if len(found) and (found < 0).all():
        raise InputError(
            f"{saved.path}: none of its {len(found)} faces, the first {called[0]}, is in {features.path}: "
            "give the corrections of this file list, or leave --corrections out"
        )
    order = np.argsort(saved.rows)

    def row_now(rows: np.ndarray) -> np.ndarray:
        return found[order[np.searchsorted(saved.rows, rows, sorter=order)]] if len(rows) else rows

    said = saved.said.renumbered(row_now)
    said = Corrections(join_people(said.people, saved), said.apart, said.not_faces)
    refuse_contradictions(said, dict(zip(found.tolist(), called, strict=True)), saved)
    return said, [name for name, row in zip(called, found, strict=True) if row < 0]


def groups_of_people(corrections: Corrections, groups: Groups, count: int) -> list[tuple[int, Person]]:
    """Each person with the number of the group of rows that holds them; `count` is that of all rows."""
    group_of = labels_from_groups(groups, count)
    found = [(int(group_of[person.rows].max()), person) for person in corrections.people]
    return [(group, person) for group, person in found if group >= 0]


def join_people(people: list[Person], saved: SavedCorrections) -> list[Person]:
    """People with a row or a name in common are one, whatever the case of the name.

    Raises `InputError` naming both names where one person would have two.
    """
    keys: list[Any] = []
    owners: list[int] = []
    for number, person in enumerate(people):
        of_person = [*person.rows.tolist(), *([person.name.casefold()] if person.name else [])]
        keys += of_person
        owners += [number] * len(of_person)
    numbers = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    shape = (len(people) + len(numbers),) * 2
    links = ([1] * len(keys), (owners, [len(people) + numbers[key] for key in keys]))
    together = connected_components(coo_matrix(links, shape), directed=False)[1][: len(people)]
    joined = []
    for number in dict.fromkeys(together.tolist()):
        group = [person for person, of in zip(people, together, strict=True) if of == number]
        spelled: dict[str, str] = {}
        for name in filter(None, (person.name for person in group)):
            spelled.setdefault(name.casefold(), name)
        names = list(spelled.values())
        if len(names) > 1:
            raise InputError(
                f"{saved.path}: the same faces are named {names[0]!r} and {names[1]!r}: "
                "decide for one in the report, and save the corrections again"
            )
        parts = [part for person in group for part in person.parts]
        hidden = any(person.hidden for person in group)
        joined.append(Person(names[0] if names else None, parts, hidden))
    return joined


def refuse_contradictions(said: Corrections, called: dict[int, str], saved: SavedCorrections) -> None:
    """Raise `InputError` naming both faces where two are said to be one person and not to be.

    Likewise where an image is said to show no face and to be a person's.
    """
    owner = {row: number for number, person in enumerate(said.people) for row in person.rows.tolist()}
    remedy = "decide in the report, and save the corrections again"
    for one, other in said.apart:
        # A face of no person counts as a person of its own.
        first = {owner.get(row, (row,)): row for row in other.tolist()}
        for row in one.tolist():
            if (same := first.get(owner.get(row, (row,)))) is not None:
                raise InputError(
                    f"{saved.path}: says of {called[row]} and {called[same]} that they are the same "
                    f"person and that they are not: {remedy}"
                )
    for row in said.not_faces.tolist():
        if row in owner:
            raise InputError(f"{saved.path}: says of {called[row]} that it is somebody and no face: {remedy}")
