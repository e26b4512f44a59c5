"""Sets to train on, drawn from labelled features: other people, other sizes, other feature spaces.

A labelled set has one distribution of cluster sizes and one feature space. To generalize to unseen sets,
training draws many variants: fewer people, fewer faces per person, people with hundreds of faces, wrong
labels, and the features that better, worse and differently built networks would give.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.calibration import Calibration, calibrate_to_impostors

LARGE = 15  # faces from which a person shows how one person's features spread
WRONG_LABELS = 0.02  # share of faces, where labels are noisy
REFERENCE = 1500  # faces by which the prior of a feature space is measured, where it has one
# Standard deviation of the error of a prior, measured on people other than the set's own: of the middle in
# spreads, and of the logs of both spreads.
PRIOR_ERROR = 0.15
ALIKE = 0.3  # share of albums whose people look alike
# Distance of frames of one shot, as a share of that of impostor pairs: from those that become one node
# (pipeline/proposals/copies.py) to those that do not.
FRAME_DISTANCES = 0.02, 0.2


@dataclass(frozen=True)
class Drawn:
    """A set to train on: rows float32 (N, D) of length one, labels int64 (N,), people numbered
    within this set, and the prior of its feature space, or None."""

    rows: np.ndarray
    labels: np.ndarray
    prior: Calibration | None


def draw_set(rows: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Drawn:
    """A large random set, of hundreds to thousands of faces, drawn from rows float32 (N, D), labels (N,)."""
    return drawn_by(RECIPES, rows, labels, rng)


def draw_album(rows: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Drawn:
    """A small random set, of two to some hundreds of faces; arguments as `draw_set`."""
    return drawn_by(ALBUMS, rows, labels, rng)


def drawn_by(
    recipes: Mapping[Any, float], rows: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> Drawn:
    """A random set by one of the recipes, given with their shares, in a random feature space."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    recipe = rng.choice(np.array(list(recipes)), p=list(recipes.values()))
    known = rng.choice(len(unit), min(REFERENCE, len(unit)), replace=False)
    drawn, persons = recipe(unit, labels, rng)
    unit, every = np.concatenate([drawn, unit[known]]), np.concatenate([persons, labels[known]])
    for change, share in SPACES.items():
        if rng.random() < share:
            unit = change(unit, every, rng)
            unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    unit = unit.astype(np.float32)
    prior = roughly(calibrate_to_impostors(unit[len(drawn) :]), rng) if rng.random() < 0.5 else None
    if rng.random() < 0.25:
        wrong = rng.random(len(persons)) < WRONG_LABELS
        persons = np.where(wrong, rng.choice(persons, len(persons)), persons)
    return Drawn(unit[: len(drawn)], np.unique(persons, return_inverse=True)[1], prior)


def roughly(known: Calibration, rng: np.random.Generator) -> Calibration:
    """A prior as a set of other people would have given it."""
    middle, spread, upper = PRIOR_ERROR * rng.standard_normal(3)
    return Calibration(
        known.middle + middle * known.spread, known.spread * np.exp(spread), known.upper * np.exp(upper)
    )


def cap_people(
    unit: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A share of the people, each with at most a random number of faces."""
    people = np.unique(labels)
    people = rng.choice(people, int(np.ceil(len(people) * rng.uniform(0.3, 1))), replace=False)
    kept = capped(labels, people, 5, 1000, rng)
    return unit[kept], labels[kept]


def large_people(
    unit: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A few of the people with most faces, and up to some hundreds of the others."""
    people, sizes = np.unique(labels, return_counts=True)
    by_size = people[np.argsort(-sizes, kind="stable")]
    large, small = by_size[:12], by_size[12:]
    some = rng.choice(large, min(int(rng.integers(2, 9)), len(large)), replace=False)
    few = rng.choice(small, min(int(np.exp(rng.uniform(0, np.log(400)))), len(small)), replace=False)
    kept = np.concatenate([capped(labels, some, 10, 1000, rng), capped(labels, few, 5, 1000, rng)])
    return unit[kept], labels[kept]


def few_people(
    unit: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One to three people with many faces: hardly any impostor pairs to measure similarities against."""
    people, sizes = np.unique(labels, return_counts=True)
    large = people[sizes >= LARGE]
    if not len(large):
        return cap_people(unit, labels, rng)
    some = rng.choice(large, min(int(rng.integers(1, 4)), len(large)), replace=False)
    kept = capped(labels, some, 20, 1000, rng)
    return unit[kept], labels[kept]


def transplant_people(
    unit: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The faces of people with many, moved to the means of people with few.

    There are too few people with hundreds of faces to learn from, and how a face differs from its person's
    mean depends little on who that person is.
    """
    people, sizes = np.unique(labels, return_counts=True)
    donors = people[sizes >= LARGE]
    if not len(donors):
        return cap_people(unit, labels, rng)
    few = people[sizes < LARGE]
    places = rng.permutation(few if len(few) else people)
    receivers = places[: int(np.exp(rng.uniform(np.log(3), np.log(60))))]
    others = places[len(receivers) : len(receivers) + int(np.exp(rng.uniform(0, np.log(2000))))]
    kept = np.isin(labels, others)
    rows, persons = [unit[kept]], [labels[kept]]
    for receiver in receivers:
        faces = unit[capped(labels, rng.choice(donors, 1), 20, 500, rng)]
        rows.append(moved(faces, unit[labels == receiver]))
        persons.append(np.full(len(faces), receiver))
    return np.concatenate(rows), np.concatenate(persons)


def album(unit: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two people or more with a few faces each, of whom all, some, few or none have more than one."""
    if rng.random() < ALIKE:
        share = rng.uniform(0.02, 0.3)
        near = nearest_people(unit, labels, max(2, int(share * len(np.unique(labels)))), rng)
        unit, labels = unit[near], labels[near]
    people, sizes = np.unique(labels, return_counts=True)
    count = int(np.exp(rng.uniform(np.log(2), np.log(len(people)))))
    recurring = int(np.round(count * rng.choice([0, rng.uniform(0, 0.3), rng.uniform(0.3, 1), 1])))
    again = rng.permutation(people[sizes > 1])[:recurring]
    once = rng.permutation(np.setdiff1d(people, again))[: max(count - recurring, 2 - len(again))]
    most = np.exp(rng.uniform(np.log(2), np.log(60)))
    kept = np.concatenate([capped(labels, again, 2, most, rng), capped(labels, once, 1, 1, rng)])
    return unit[kept], labels[kept]


def nearest_people(unit: np.ndarray, labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """The rows of the `count` people whose means are nearest to that of a random person, int64 (M,).

    They look more alike than those that a network is known by: a family, people of one age and descent.
    """
    people, person, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.zeros((len(people), unit.shape[1]))
    np.add.at(sums, person, unit)
    means = sums / sizes[:, None]
    apart = ((means - means[rng.integers(len(people))]) ** 2).sum(1)
    return np.flatnonzero(np.isin(person, np.argsort(apart, kind="stable")[:count]))


def one_in_front(
    unit: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """An album in which one person has many faces."""
    rows, persons = album(unit, labels, rng)
    people, sizes = np.unique(labels, return_counts=True)
    donors = people[sizes >= LARGE]
    if not len(donors):
        return rows, persons
    faces, receiver = unit[capped(labels, rng.choice(donors, 1), 20, 400, rng)], rng.choice(persons)
    return (
        np.concatenate([rows[persons != receiver], moved(faces, unit[labels == receiver])]),
        np.concatenate([persons[persons != receiver], np.full(len(faces), receiver)]),
    )


def bursts(unit: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An album in which some shots appear several times, as frames that differ a little."""
    rows, persons = album(unit, labels, rng)
    times = np.where(rng.random(len(rows)) < rng.uniform(0.2, 1), rng.integers(1, 11, len(rows)), 1)
    between = np.exp(rng.uniform(*np.log(FRAME_DISTANCES))) * (1 - (unit.mean(0) ** 2).sum())
    rows = np.repeat(rows, times, axis=0)
    noise = rng.standard_normal(rows.shape) * np.sqrt(between / rows.shape[1])
    return rows + noise, np.repeat(persons, times)


def moved(faces: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The faces of one person, float32 (M, D), moved to the mean of another."""
    mean, place = faces.mean(0), others.mean(0)
    return faces - mean + place * np.linalg.norm(mean) / np.linalg.norm(place)


def capped(
    labels: np.ndarray, people: np.ndarray, least: int, most: int, rng: np.random.Generator
) -> np.ndarray:
    """Rows of the given people in random order, of each at most `least` to `most`, log-uniformly drawn."""
    order = rng.permutation(np.flatnonzero(np.isin(labels, people)))
    _, person, sizes = np.unique(labels[order], return_inverse=True, return_counts=True)
    caps = np.exp(rng.uniform(np.log(least), np.log(most), len(sizes)))
    by_person = np.argsort(person, kind="stable")
    place = np.empty(len(order), np.int64)
    place[by_person] = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return order[place < caps[person]]


RECIPES = {cap_people: 0.225, large_people: 0.225, few_people: 0.1, transplant_people: 0.45}
"""How the people and faces of a large set are drawn, and the share of draws made this way."""
ALBUMS = {album: 0.62, one_in_front: 0.14, few_people: 0.14, bursts: 0.1}
"""The same for a small set."""


def sharpen(unit: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A better network: each face nearer to its person's mean."""
    _, person, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    order = np.argsort(person, kind="stable")
    means = np.add.reduceat(unit[order], np.cumsum(sizes) - sizes) / sizes[:, None]
    return unit + rng.uniform(0.1, 0.5) * (means[person] - unit)


def blur(unit: np.ndarray, _labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A worse network: each face plus the deviation of a random face from the mean."""
    return unit + rng.uniform(0.1, 0.8) * (rng.permutation(unit) - unit.mean(0))


def project(unit: np.ndarray, _labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random projection to between a third and three quarters of the dimensions."""
    dim = unit.shape[1]
    kept = int(dim * rng.uniform(0.35, 0.75))
    return unit @ rng.standard_normal((dim, max(kept, 2))).astype(np.float32)


def rectify(unit: np.ndarray, _labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rectified features: a random projection to twice the dimensions, clipped at zero."""
    dim = unit.shape[1]
    rotated = (unit - unit.mean(0)) @ rng.standard_normal((dim, 2 * dim)).astype(np.float32)
    return np.maximum(rotated, 0)


def offset(unit: np.ndarray, _labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Features that share a large mean."""
    direction = rng.standard_normal((1, unit.shape[1])).astype(np.float32)
    return unit + rng.uniform(0, 2) / np.linalg.norm(direction) * direction


SPACES = {sharpen: 0.15, blur: 0.15, project: 0.12, rectify: 0.1, offset: 0.1}
"""Changes of the feature space, and the share of draws in which each is made."""
