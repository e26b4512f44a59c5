"""Corrections applied: from clusters to clusters in which every correction holds."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from pipeline.files.corrections import Corrections, Person


def apply_corrections(labels: np.ndarray, corrections: Corrections) -> np.ndarray:
    """Clusters in which every correction holds, numbered from 0.

    `labels` int64 (N,) are clusters numbered from 0, -1 for rows in none, which stay -1; images said
    to show no face become -1. The cluster that holds most of a part of a person joins that person with
    all its faces; other faces of the person come alone. Where faces must part, those leave together
    that belong to no person in the corrections; failing that, the smaller part. The page follows the same
    rules (corrections.js).
    """
    labels = labels.copy()
    labels[corrections.not_faces] = -1
    placed = labels >= 0
    people = [person.rows[placed[person.rows]] for person in corrections.people]
    foes = foes_of(people, corrections.apart)
    fresh = int(labels.max(initial=-1)) + 1
    new_label = np.arange(fresh)
    person_of = np.full(len(labels), -1)
    for number, group in enumerate(people_together(labels, corrections.people, people, foes)):
        new_label[group.clusters] = fresh + number
        for person in group.people:
            person_of[people[person]] = fresh + number
    labels[placed] = new_label[labels[placed]]
    labels[person_of >= 0] = person_of[person_of >= 0]
    fresh += len(people)
    for one, other in corrections.apart:
        for label in np.intersect1d(labels[one], labels[other]):
            if label >= 0:
                near, far = one[labels[one] == label], other[labels[other] == label]
                labels[leaving(near, far, person_of >= 0)] = fresh
                fresh += 1
    placed = labels >= 0
    labels[placed] = np.unique(labels[placed], return_inverse=True)[1]
    return labels


def leaving(near: np.ndarray, far: np.ndarray, of_person: np.ndarray) -> np.ndarray:
    """Of faces that must part, those that leave: of no person in the corrections, else the smaller part."""
    if of_person[near].any():
        return far
    if of_person[far].any():
        return near
    return near if len(near) <= len(far) else far


def foes_of(people: list[np.ndarray], apart: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    """For each person, given as rows, the rows int64 that are said to be somebody else."""
    person_of = {row: number for number, rows in enumerate(people) for row in rows.tolist()}
    foes: list[list[np.ndarray]] = [[] for _ in people]
    for one, other in [*apart, *((other, one) for one, other in apart)]:
        for number in {person_of[row] for row in one.tolist() if row in person_of}:
            foes[number].append(other)
    return [np.unique(np.concatenate([np.zeros(0, np.int64), *rows])) for rows in foes]


@dataclass(frozen=True)
class Together:
    """People, by number, who share a cluster, and the clusters that they take whole."""

    people: list[int]
    clusters: list[int]


def people_together(
    labels: np.ndarray, people: list[Person], rows: list[np.ndarray], foes: list[np.ndarray]
) -> list[Together]:
    """Each person with the clusters that hold most of each part; those who claim the same one join.

    Unless they have two names or are said to be apart: then the one with most faces in it takes the cluster.
    Nobody takes a cluster with more faces that are said to be somebody else than faces of the person.
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
    """Whether no correction keeps the people of both apart."""
    names = {people[person].name for person in one.people + other.people} - {None}
    return len(names) < 2 and not any(
        np.isin(foes[a], rows[b]).any() for a in one.people for b in other.people
    )
