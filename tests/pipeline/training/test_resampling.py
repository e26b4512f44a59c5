"""Sets drawn to train on are of the people given, in many shapes."""

import numpy as np
import pytest
from conftest import make_people

from pipeline.training.resampling import (
    RECIPES,
    SPACES,
    blur,
    capped,
    draw_set,
    few_people,
    offset,
    project,
    sharpen,
    transplant_people,
)


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


@pytest.mark.parametrize("images", [2, 30])
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_makes_a_set_whether_all_people_are_small_or_large(recipe, images):
    people = make_people(people=20, images=images, dim=32)
    usable = people.labels >= 0
    for seed in range(5):
        rows, labels = recipe(people.rows[usable], people.labels[usable], np.random.default_rng(seed))
        assert len(rows) == len(labels) > 1


def test_few_people_are_three_at_most_with_many_faces(labelled):
    for seed in range(12):
        _, persons = few_people(*labelled, np.random.default_rng(seed))
        sizes = np.bincount(persons)
        assert 1 <= np.count_nonzero(sizes) <= 3 and sizes[sizes > 0].min() >= 15


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


def own_and_others(rows, labels):
    """Mean cosine of pairs of one person, and of strangers."""
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = rows @ rows.T
    same = labels[:, None] == labels
    pairs = ~np.eye(len(rows), dtype=bool)
    return cosines[same & pairs].mean(), cosines[~same].mean()


@pytest.mark.parametrize("change", SPACES, ids=lambda change: change.__name__)
def test_other_feature_spaces_keep_who_is_who(labelled, change):
    unit, labels = labelled
    rows = change(unit, labels, np.random.default_rng(0))
    assert len(rows) == len(unit)
    own, others = own_and_others(rows, labels)
    assert own > others + 0.1


def test_better_worse_and_shifted_spaces_are_so(labelled):
    unit, labels = labelled
    own, others = own_and_others(unit, labels)
    sharper, blurred, shifted = (
        own_and_others(change(unit, labels, np.random.default_rng(3)), labels)
        for change in (sharpen, blur, offset)
    )
    assert sharper[0] > own and blurred[0] < own
    assert shifted[1] > others + 0.05
    assert project(unit, labels, np.random.default_rng(0)).shape[1] < unit.shape[1]


def test_some_sets_have_wrong_labels(labelled):
    unit, labels = labelled
    people = {tuple(np.round(row, 4)): label for row, label in zip(unit, labels, strict=True)}
    wrong = []
    for seed in range(40):
        rows, drawn = draw_set(unit, labels, np.random.default_rng(seed))
        known = [people.get(tuple(np.round(row, 4))) for row in rows]
        if None in known:  # another feature space
            continue
        pairs = set(zip(known, drawn.tolist(), strict=True))
        wrong.append(len(pairs) > len(set(known)))
    assert 0 < sum(wrong) < len(wrong)
