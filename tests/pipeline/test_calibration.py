"""Strangers' similarity, found without knowing who is who."""

import numpy as np
import pytest
from conftest import make_people

from pipeline.calibration import PRIOR_FACES, Calibration, calibrate_to_impostors, some_pairs
from pipeline.rows import unit_rows


def strangers(unit, labels):
    cosines = unit @ unit.T
    return cosines[labels[:, None] != labels[None, :]].astype(float)


def unit_and_labels(**options):
    people = make_people(**options)
    usable = people.labels >= 0
    return unit_rows(people.rows, usable), people.labels[usable]


@pytest.mark.parametrize("mean", [0.0, 2.0])
@pytest.mark.parametrize(("count", "images"), [(2, 150), (5, 60), (100, 6)])
def test_middle_and_spread_are_those_of_strangers(mean, count, images):
    unit, labels = unit_and_labels(people=count, images=images, dim=128, noise=0.8, mean=mean)
    true = strangers(unit, labels)
    found = calibrate_to_impostors(unit)
    assert found.middle == pytest.approx(true.mean(), abs=2 * true.std())
    assert 0.3 * true.std() < found.spread < 2 * true.std()


def test_order_of_the_rows_does_not_matter():
    unit, _ = unit_and_labels(people=40)
    shuffled = unit[np.random.default_rng(1).permutation(len(unit))]
    assert calibrate_to_impostors(shuffled) == calibrate_to_impostors(unit)


def test_rows_that_are_nearly_equal_have_a_spread():
    rows = np.tile(np.random.default_rng(0).standard_normal(32), (33, 1)).astype(np.float32)
    rows[0, 0] *= 1 + 1e-6
    unit = unit_rows(rows, np.ones(33, bool))
    found = calibrate_to_impostors(unit)
    assert found.middle == pytest.approx(1, abs=1e-5) and found.spread > 0


def test_equal_rows_and_a_single_row_have_a_spread():
    same = np.tile(np.float32([[0.6, 0.8]]), (5, 1))
    assert calibrate_to_impostors(same).spread > 0
    assert calibrate_to_impostors(same[:1]).spread > 0


def test_a_few_faces_are_drawn_towards_what_is_known_and_many_are_not():
    unit, _ = unit_and_labels(people=300, images=10)
    prior = Calibration(0.5, 0.3, 1.5)
    for faces in (PRIOR_FACES, 3000):
        own, found = calibrate_to_impostors(unit[:faces]), calibrate_to_impostors(unit[:faces], prior)
        weight = faces / (faces + PRIOR_FACES)
        assert found.middle == pytest.approx(weight * own.middle + (1 - weight) * 0.5)
        assert found.spread == pytest.approx(own.spread**weight * 0.3 ** (1 - weight))
        assert found.upper == pytest.approx(weight * own.upper + (1 - weight) * 1.5)
    assert abs(found.middle - own.middle) < 0.01
    assert calibrate_to_impostors(unit[:1], prior) == prior


def test_the_nearest_of_so_many_strangers_is_where_their_extreme_lies():
    # Among 1,000 the highest of 1,000 normal values is at 3.24 on average.
    assert Calibration(0.2, 0.1).nearest_stranger(1000) == pytest.approx(3.24, abs=0.15)
    assert Calibration(0.2, 0.1, 0.5).nearest_stranger(1000) == pytest.approx(1.62, abs=0.08)
    unit, _ = unit_and_labels(people=1000, images=1, dim=128)
    found = calibrate_to_impostors(unit)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -1)
    nearest = found.calibrate(cosines.max(1))
    assert np.median(nearest) == pytest.approx(found.nearest_stranger(len(unit)), abs=0.4)


def test_all_pairs_of_few_rows_are_looked_at_and_some_of_many():
    a, b = some_pairs(30)
    assert len(a) == 30 * 29 // 2 and len(np.unique(30 * a + b)) == len(a) and (a < b).all()
    a, b = some_pairs(10_000)
    assert len(a) == 200_000 and (a != b).all() and max(a.max(), b.max()) < 10_000
