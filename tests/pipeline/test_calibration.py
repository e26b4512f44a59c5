"""Strangers' similarity, found without knowing who is who."""

import numpy as np
import pytest
from conftest import make_people

from pipeline.calibration import calibrate_to_impostors
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
