"""Corrections that a user made in the report, kept on every later run.

Two things are said: that faces are one person, who may have a name (they stay together), and that a
face is not a certain person (it stays apart from that person's faces). Images are known again by a
sketch of their features and by name, so that a list may grow or be sorted anew.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.progress import warn

import numpy as np
from scipy.fft import dct
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from pipeline.formats import (
    SKETCH,
    Features,
    Groups,
    SavedCorrections,
    labels_from_groups,
    read_corrections,
)
from pipeline.rows import unit_blocks, unit_rows

STEPS = 32  # of a sketch's number, to one standard deviation of it among random rows
SAME_SKETCH = 3  # most steps between sketches of one image whose feature was computed twice
NETWORK = ("model", "weights_sha256", "crop")


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


# --- images known again --------------------------------------------------------------------------


def sketch_rows(rows: np.ndarray) -> np.ndarray:
    """Sketches of features, float32 (M, D), none of them zeros; int8 (M, SKETCH).

    The first terms of the cosine transform of the row scaled to length one. Where one image's feature
    is computed on another machine they move a step or two, from image to image much more.
    """
    unit = unit_rows(rows, np.ones(len(rows), bool))
    terms = dct(unit, norm="ortho")[:, :SKETCH] * (STEPS * np.sqrt(unit.shape[1]))
    sketches = np.zeros((len(rows), SKETCH), np.int8)
    sketches[:, : terms.shape[1]] = np.clip(np.rint(terms), -127, 127)
    return sketches


def network_of(features: Features) -> dict[str, Any]:
    """What tells features of one network from those of another."""
    return {name: features.meta.get(name) for name in NETWORK} | {"dim": features.rows.shape[1]}


def find_faces(saved: SavedCorrections, features: Features, names: list[str] | None) -> np.ndarray:
    """The row of each face of the file, int64 (F,), -1 where its image is not among the rows.

    `names` are those of the file list, where it is known. With features of the same network the
    sketch decides: the row of the same name or number, else any row. With another network's features
    names alone can tell.
    """
    row_of_name = {name: row for row, name in reversed(list(enumerate(names or [])))}
    same_place = saved.rows < len(features.rows)
    if names is not None:
        same_place &= [
            row < len(names) and name == names[row]
            for row, name in zip(saved.rows.tolist(), saved.names, strict=True)
        ]
    named = np.array([row_of_name.get(name or "", -1) for name in saved.names], np.int64)
    likely = np.where(same_place, saved.rows, named)
    if saved.network != network_of(features):
        return np.where([name is not None for name in saved.names] & features.usable[likely], likely, -1)
    likely = np.where((likely < 0) & (saved.rows < len(features.rows)), saved.rows, likely)
    found = np.where((likely >= 0) & features.usable[likely], likely, -1)
    there = np.flatnonzero(found >= 0)
    order = there[np.argsort(found[there])]
    moved = np.abs(sketch_rows(features.rows[found[order]]).astype(int) - saved.sketches[order]).max(axis=1)
    found[order[moved > SAME_SKETCH]] = -1
    missing = np.flatnonzero(found < 0)
    if len(missing):
        found[missing] = find_sketches(saved.sketches[missing], features)
    return found


def find_sketches(sketches: np.ndarray, features: Features) -> np.ndarray:
    """The row most like each sketch, int64, -1 where none is within SAME_SKETCH."""
    tree = cKDTree(sketches.astype(np.float64))
    best, found = np.full(len(sketches), np.inf), np.full(len(sketches), -1)
    row_of = np.flatnonzero(features.usable)
    done = 0
    for block in unit_blocks(features.rows, features.usable):
        distance, place = tree.query(sketch_rows(block), p=np.inf, distance_upper_bound=SAME_SKETCH + 0.5)
        for near in np.flatnonzero(np.isfinite(distance)):
            equal = (sketches == sketches[place[near]]).all(axis=1)
            if distance[near] < best[place[near]]:
                best[equal], found[equal] = distance[near], row_of[done + near]
        done += len(block)
    return found


# --- between the file and rows -----------------------------------------------------------------------


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


def on_usable_rows(corrections: Corrections, usable: np.ndarray) -> Corrections:
    """The same corrections by place among the usable rows; `usable` is bool (N,)."""
    place = np.cumsum(usable) - 1
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


# --- from labels to labels -----------------------------------------------------------------------


def apply_corrections(labels: np.ndarray, corrections: Corrections) -> np.ndarray:
    """Clusters in which every correction holds, numbered from 0.

    `labels` int64 (N,) are clusters numbered from 0, -1 for rows in none, which stay there. The cluster
    that holds most of a part of a person joins that person with all its faces; other faces of the
    person come alone. Where faces must part, a face leaves alone, unless it is one of a person: then
    those that it is apart from leave together.
    """
    placed = labels >= 0
    people = [person.rows[placed[person.rows]] for person in corrections.people]
    foes = [apart_from(rows, corrections.apart) for rows in people]
    fresh = int(labels.max(initial=-1)) + 1
    new_label = np.arange(fresh)
    person_of = np.full(len(labels), -1)
    for number, group in enumerate(people_together(labels, corrections.people, people, foes)):
        new_label[group.clusters] = fresh + number
        for person in group.people:
            person_of[people[person]] = fresh + number
    labels = np.where(placed, new_label[labels], -1) if fresh else labels.copy()
    labels[person_of >= 0] = person_of[person_of >= 0]
    fresh += len(people)
    for face, others in corrections.apart:
        near = others[labels[others] == labels[face]]
        if placed[face] and len(near):
            labels[near if person_of[face] >= 0 else face] = fresh
            fresh += 1
    labels[placed] = np.unique(labels[placed], return_inverse=True)[1]
    return labels


def apart_from(rows: np.ndarray, apart: list[tuple[int, np.ndarray]]) -> np.ndarray:
    """The rows, int64, that are said to be apart from any of `rows`."""
    foes = [others for face, others in apart if face in rows]
    foes += [np.array([face]) for face, others in apart if np.isin(others, rows).any()]
    return np.unique(np.concatenate([np.zeros(0, np.int64), *foes]))


@dataclass(frozen=True)
class Together:
    """People, by number, who share a cluster, and the clusters that they take whole."""

    people: list[int]
    clusters: list[int]


def people_together(
    labels: np.ndarray, people: list[Person], rows: list[np.ndarray], foes: list[np.ndarray]
) -> list[Together]:
    """Each person with the clusters that hold most of each part; those who claim the same one join.

    They do not where they have two names or are said to be apart: then who has most faces in it takes
    it. Nobody takes a cluster in which more faces are said to be somebody else than are the person.
    """
    sizes = np.bincount(labels[labels >= 0])
    claims = []
    for number, person in enumerate(people):
        own = Counter(labels[rows[number]].tolist())
        against = Counter(labels[foes[number]].tolist())
        for part in person.parts:
            shared = Counter(labels[part[labels[part] >= 0]].tolist())
            home = max(shared, key=lambda label: (shared[label], -sizes[label], -label), default=-1)
            if home >= 0 and own[home] >= against[home]:
                claims.append((own[home], home, number))
    together = [Together([number], []) for number in range(len(people))]
    owner: dict[int, int] = {}
    for _, home, number in sorted(set(claims), key=lambda claim: (-claim[0], claim[2], claim[1])):
        first = owner.setdefault(home, number)
        one, other = together[first], together[number]
        if home not in one.clusters and first == number:
            one.clusters.append(home)
        elif one is not other and may_join(one, other, people, rows, foes):
            joined = Together(one.people + other.people, one.clusters + other.clusters)
            for member in joined.people:
                together[member] = joined
    return list({id(group): group for group in together}.values())


def may_join(
    one: Together, other: Together, people: list[Person], rows: list[np.ndarray], foes: list[np.ndarray]
) -> bool:
    """Whether nothing that was said keeps the people of both apart."""
    names = {people[person].name for person in one.people + other.people} - {None}
    return len(names) < 2 and not any(
        np.isin(foes[a], rows[b]).any() for a in one.people for b in other.people
    )
