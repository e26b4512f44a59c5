"""Sets drawn to train on are of the people given, in many shapes."""

import numpy as np
import pytest
from conftest import make_people

from pipeline.resample import capped, draw_set, project, transplant_people


@pytest.fixture
def labelled():
    people = make_people(people=40, images=30, dim=32)
    usable = people.labels >= 0
    sizes = np.random.default_rng(0).integers(1, 31, 41)
    keep = np.zeros(len(people.labels), bool)
    for person, size in enumerate(sizes):
        keep[np.flatnonzero(people.labels == person)[:size]] = True
    rows = people.rows[usable & keep]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), people.labels[usable & keep]


def test_draws_are_sound_differ_and_repeat_with_their_seed(labelled):
    counts = set()
    for seed in range(12):
        rows, labels = draw_set(*labelled, np.random.default_rng(seed))
        assert rows.dtype == np.float32 and len(rows) == len(labels) and np.isfinite(rows).all()
        np.testing.assert_array_equal(np.unique(labels), np.arange(labels.max() + 1))
        counts.add((len(rows), rows.shape[1], labels.max()))
        again = draw_set(*labelled, np.random.default_rng(seed))
        np.testing.assert_array_equal(again[0], rows)
    assert len(counts) > 6


def test_capped_takes_no_more_than_there_are_and_nobody_else(labelled):
    _, labels = labelled
    kept = capped(labels, np.array([3, 7]), 5, 8, np.random.default_rng(0))
    assert set(labels[kept].tolist()) == {3, 7}
    assert len(np.unique(kept)) == len(kept)
    assert np.bincount(labels[kept]).max() <= 8


def test_transplanted_people_keep_their_spread_around_another_mean(labelled):
    unit, labels = labelled
    rows, persons = transplant_people(unit, labels, np.random.default_rng(2))
    sizes = np.bincount(labels)
    large = [p for p in np.unique(persons) if (persons == p).sum() > sizes[p]]
    assert large
    for person in large[:3]:
        mean, place = rows[persons == person].mean(0), unit[labels == person].mean(0)
        assert mean @ place / np.linalg.norm(mean) / np.linalg.norm(place) > 0.9


def test_projection_has_fewer_dimensions_and_keeps_who_is_near(labelled):
    unit, labels = labelled
    rows = project(unit, np.random.default_rng(0))
    assert rows.shape[1] < unit.shape[1]
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -2)
    shared = np.bincount(labels)[labels] > 1
    assert (labels[cosines.argmax(1)] == labels)[shared].mean() > 0.9
