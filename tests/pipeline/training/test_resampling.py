"""Sets drawn to train on are of the people given, in many shapes."""

import numpy as np
import pytest
from conftest import make_people

from pipeline.calibration import calibrate_to_impostors
from pipeline.training.resampling import (
    ALBUMS,
    LARGE,
    RECIPES,
    SPACES,
    album,
    blur,
    capped,
    draw_album,
    draw_set,
    few_people,
    offset,
    one_in_front,
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


@pytest.mark.parametrize("draw", [draw_set, draw_album])
def test_draws_are_sound_differ_and_repeat_with_their_seed(labelled, draw):
    counts, known = set(), set()
    for seed in range(12):
        drawn = draw(*labelled, np.random.default_rng(seed))
        rows, labels = drawn.rows, drawn.labels
        assert rows.dtype == np.float32 and len(rows) == len(labels) and np.isfinite(rows).all()
        np.testing.assert_array_equal(np.unique(labels), np.arange(labels.max() + 1))
        counts.add((len(rows), rows.shape[1], labels.max()))
        again = draw(*labelled, np.random.default_rng(seed))
        np.testing.assert_array_equal(again.rows, rows)
        assert again.prior == drawn.prior
        known.add(drawn.prior is None)
    assert len(counts) > 6 and known == {True, False}


def test_albums_are_of_every_shape(labelled):
    shapes = []
    for seed in range(60):
        _, persons = album(*labelled, np.random.default_rng(seed))
        sizes = np.unique(persons, return_counts=True)[1]
        assert len(sizes) >= 2
        shapes.append((len(sizes), (sizes > 1).mean(), sizes.max()))
    people, recurring, most = map(np.array, zip(*shapes, strict=True))
    assert people.min() <= 3 and people.max() >= 30
    assert (recurring == 0).any() and (recurring == 1).any() and ((recurring > 0) & (recurring < 0.3)).any()
    assert most.max() > 15


def test_one_is_in_front_of_an_album(labelled):
    for seed in range(10):
        _, persons = one_in_front(*labelled, np.random.default_rng(seed))
        sizes = np.sort(np.unique(persons, return_counts=True)[1])
        assert sizes[-1] >= LARGE and len(sizes) >= 2


def test_what_is_known_of_a_space_is_that_of_the_faces_drawn(labelled):
    checked = 0
    for seed in range(30):
        drawn = draw_set(*labelled, np.random.default_rng(seed))
        if drawn.prior and drawn.labels.max() > 5:
            own = calibrate_to_impostors(drawn.rows)
            checked += 1
            assert abs(drawn.prior.middle - own.middle) < 2.5 * max(drawn.prior.spread, own.spread)
    assert checked > 5


@pytest.mark.parametrize("images", [2, 30])
@pytest.mark.parametrize("recipe", {**RECIPES, **ALBUMS})
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
        found = draw_set(unit, labels, np.random.default_rng(seed))
        rows, drawn = found.rows, found.labels
        known = [people.get(tuple(np.round(row, 4))) for row in rows]
        if None in known:  # another feature space
            continue
        pairs = set(zip(known, drawn.tolist(), strict=True))
        wrong.append(len(pairs) > len(set(known)))
    assert 0 < sum(wrong) < len(wrong)
