"""Search in cells against brute force."""

import numpy as np
import pytest
from conftest import LazyModule, make_people

from pipeline.calibration import Calibration
from pipeline.rows import unit_rows

ivf = LazyModule("pipeline.search.ivf")


@pytest.fixture(params=[1 << 14, 10], ids=["flat", "two levels"])
def divided(request, monkeypatch):
    """Unit rows with one of zeros left out, and their cells, found among all or in two levels."""
    monkeypatch.setattr("pipeline.search.ivf.MOST_FLAT", request.param)
    monkeypatch.setattr("pipeline.search.ivf.ROWS_A_CELL", 20)
    rows = make_people(people=60, images=20, noise=0.6).rows
    usable = rows.any(axis=1)

    def divide(probes):
        return ivf.make_cells(rows, usable, ivf.learn_centroids(rows, usable), ivf.Reach(probes))

    return unit_rows(rows, usable), divide


def every(cells, k, asking=None):
    """What is found for all rows, by number; rows that do not ask stay empty."""
    found = np.full((1 + cells.row_of.max(), k), -1)
    cosines = np.zeros(found.shape, np.float32)
    for rows, near, numbers in cells.neighbors(k, asking):
        assert (found[rows] == -1).all()
        cosines[rows], found[rows] = near, numbers
    return cosines, found


def test_cells_hold_each_row_once_and_in_the_cell_nearest_to_it(divided):
    unit, divide = divided
    cells = divide(3)
    np.testing.assert_array_equal(np.sort(cells.row_of), np.arange(len(unit)))
    np.testing.assert_allclose(cells.rows, unit[cells.row_of], atol=1e-6)
    count = len(cells.centroids.means)
    assert count > 10
    np.testing.assert_array_equal(cells.probed[:, 0], np.repeat(np.arange(count), np.diff(cells.bounds)))
    np.testing.assert_allclose(np.linalg.norm(cells.centroids.means, axis=1), 1, atol=1e-5)
    cosines = cells.rows @ cells.centroids.means.T
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :3]
    assert (nearest == cells.probed).mean() > 0.99


@pytest.mark.parametrize("probes", [3, 12])
@pytest.mark.parametrize("at_once", [None, 50])
def test_a_row_finds_the_best_of_the_cells_it_looks_into(divided, probes, at_once, monkeypatch):
    unit, divide = divided
    cells = divide(probes)
    monkeypatch.setattr("pipeline.search.ivf.PRODUCTS_AT_ONCE", at_once or ivf.PRODUCTS_AT_ONCE)
    monkeypatch.setattr("pipeline.search.ivf.QUERIES_AT_ONCE", at_once or ivf.QUERIES_AT_ONCE)
    cell = np.empty(len(unit), int)
    cell[cells.row_of] = cells.probed[:, 0]
    looked_into = np.zeros((len(unit), len(cells.centroids.means)), bool)
    np.put_along_axis(looked_into[cells.row_of], cells.probed, True, axis=1)
    looked_into[cells.row_of[:, None], cells.probed] = True
    expected = np.where(looked_into[:, cell], unit @ unit.T, -np.inf)
    k = 15
    enough = np.isfinite(expected).sum(axis=1) >= k
    assert enough.mean() > 0.5
    cosines, found = every(cells, k)
    best = -np.sort(-expected, axis=1)[:, :k]
    np.testing.assert_allclose(cosines[enough], best[enough], atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(unit @ unit.T, found, 1), cosines, atol=1e-6)
    assert all(len(set(row)) == k for row in found.tolist())  # those that found too few looked farther


def test_rows_that_fell_are_found_no_more_and_those_who_had_them_find_others(divided):
    unit, divide = divided
    k = 15
    before = every(divide(4), k)[1]
    standing = np.random.default_rng(0).random(len(unit)) < 0.9
    asking = standing & ~standing[before].all(axis=1)
    assert 0 < asking.sum() < standing.sum()
    cells = ivf.cells_without(divide(4), standing)
    cosines, found = every(cells, k, asking)
    np.testing.assert_array_equal((found >= 0).all(axis=1), asking)
    assert standing[found[asking]].all()
    np.testing.assert_allclose(
        np.take_along_axis(unit @ unit.T, np.maximum(found, 0), 1)[asking], cosines[asking], atol=1e-6
    )
    kept = np.array([np.isin(old[standing[old]], new).all() for old, new in zip(before, found, strict=True)])
    assert kept[asking].all()  # what is nearest and stands is still found


@pytest.mark.parametrize("count", [1, 2, 30, 500])
def test_rows_that_are_all_alike_can_be_divided(count):
    rows = np.tile(np.float32([[3, 4]]), (count, 1))
    usable = np.ones(count, bool)
    cells = ivf.make_cells(rows, usable, ivf.learn_centroids(rows, usable), ivf.Reach(1))
    cosines, found = every(cells, 1)
    np.testing.assert_allclose(cosines, 1, atol=1e-6)
    assert ((found >= 0) & (found < count)).all()


def test_what_is_found_counts_possible_neighbors_and_how_far_the_others_move():
    similarities = np.float32([[9, 8, 3, 2, 1, 0], [7, 3, 2.5, 2, 1, 0]])
    inside = np.array([[1, 1, 0, 1, 1, 1], [0, 1, 1, 1, 0, 1]], bool)
    either = inside.copy()
    either[1, 0] = True
    possible, own, recall, shift = ivf.what_is_found(similarities, inside, either, 4, 5.0)
    assert possible == 1
    assert own == pytest.approx(2 / 3)
    assert recall == pytest.approx(6 / 8)
    # The fourth moves from 2 to 1, and from 2 to 0; the third stranger of the second row stays.
    assert shift == pytest.approx(1.5)
    every = np.ones_like(inside)
    assert ivf.what_is_found(similarities, every, every, 4, 5.0) == (1.0, 1.0, 1.0, 0.0)


def test_more_cells_are_looked_into_until_enough_is_found(monkeypatch):
    monkeypatch.setattr("pipeline.search.ivf.ROWS_A_CELL", 20)
    rows = make_people(people=60, images=40, dim=32, noise=1.0).rows
    usable = rows.any(axis=1)
    centroids = ivf.learn_centroids(rows, usable)
    efforts = []
    for recall in (0.5, 0.9, 1.0):
        monkeypatch.setattr("pipeline.search.ivf.MIN_OWN_RECALL", recall)
        monkeypatch.setattr("pipeline.search.ivf.MIN_RECALL", recall)
        monkeypatch.setattr("pipeline.search.ivf.MAX_SHIFT", 9.0)
        efforts.append(ivf.least_effort(rows, usable, centroids, 20, Calibration(0.0, 0.15)))
        assert efforts[-1].recall_possible >= efforts[-1].own_recall >= recall
    assert efforts[0].reach.cells < efforts[1].reach.cells < efforts[2].reach.cells
    assert efforts[0].compared < efforts[2].compared <= 1
    monkeypatch.setattr("pipeline.search.ivf.MIN_RECALL", 0.5)
    monkeypatch.setattr("pipeline.search.ivf.MIN_OWN_RECALL", 0.5)
    monkeypatch.setattr("pipeline.search.ivf.MAX_SHIFT", 0.01)
    nearer = ivf.least_effort(rows, usable, centroids, 20, Calibration(0.0, 0.15))
    assert nearer.reach.cells > efforts[0].reach.cells


@pytest.mark.parametrize("columns", [1, 40, 640, 1000])
@pytest.mark.parametrize("count", [1, 3, 20, 40])
def test_the_largest_columns_are_those_of_a_sort(columns, count):
    count = min(count, columns)
    values = np.random.default_rng(0).random((50, columns), np.float32)
    found = np.sort(ivf.largest_columns(values, count), axis=1)
    np.testing.assert_array_equal(found, np.sort(np.argsort(-values, axis=1)[:, :count], axis=1))


def test_what_is_compared_counts_the_cells_of_rows_that_find_nobody():
    means = np.eye(8, dtype=np.float32)
    centroids = ivf.Centroids(means, np.full(8, 1 / 8))
    nobody, one = means[:0], means[:1]
    for cells, share in ((1, 1), (8, 0)):  # ALONE times as many are more than there are
        reach = ivf.Reach(cells)
        probed = np.tile(np.arange(cells, dtype=np.int32), (4, 1))
        assert ivf.share_compared(centroids, probed, reach, nobody) == pytest.approx(cells / 8)
        assert ivf.share_compared(centroids, probed, reach, one) == pytest.approx(cells / 8 + share / 4)


def test_rows_that_find_nobody_look_into_more_cells(monkeypatch):
    monkeypatch.setattr("pipeline.search.ivf.ROWS_A_CELL", 40)
    monkeypatch.setattr("pipeline.search.ivf.MAX_SHIFT", 9.0)
    rows = make_people(people=900, images=2, dim=64, noise=0.6).rows
    usable = rows.any(axis=1)
    unit, centroids = unit_rows(rows, usable), ivf.learn_centroids(rows, usable)
    near = ivf.least_effort(rows, usable, centroids, 20, Calibration(0.0, 0.13)).reach.near
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -1)
    clear = cosines.max(axis=1) >= near
    assert clear.mean() > 0.5
    found = []
    for reach in (ivf.Reach(2), ivf.Reach(2, near)):
        nearest = every(ivf.make_cells(rows, usable, centroids, reach), 20)[0][:, 1]
        found.append((nearest[clear] >= near).mean())
    assert found[0] < 0.9
    assert found[1] > 1 - (1 - found[0]) / 3
