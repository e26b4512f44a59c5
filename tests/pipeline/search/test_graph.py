"""The graph among the rows that stand, when a search goes on without those that fell."""

import numpy as np
import pytest
from conftest import LazyModule, make_people

from pipeline.proposals.copies import collapse_copies
from pipeline.rows import Numbering, UnitRows

graph, knn = LazyModule("pipeline.search.graph"), LazyModule("pipeline.search.knn")

K = 12


@pytest.fixture
def rows(monkeypatch):
    """People of whom some have near-copies, and a row that could not be read."""
    monkeypatch.setattr("pipeline.search.ivf.ROWS_A_CELL", 20)
    rng = np.random.default_rng(0)
    rows = make_people(people=40, images=20, dim=32, noise=0.7).rows
    copied = rows[rng.integers(0, len(rows), 60)]
    return np.concatenate([rows, copied + 0.001 * rng.standard_normal(copied.shape).astype(np.float32)])


def create(count, k):
    return np.full((count, k), -9, np.int32), np.full((count, k), -9, np.float32)


def searcher(rows, method, asked):
    def search_among(numbering, k, calibration):
        asked.append(len(numbering))
        return knn.make_search(method, rows, numbering.usable, k, calibration)

    return graph.GraphSearch(rows, Numbering(rows.any(axis=1)), K, None, create, search_among)


@pytest.mark.parametrize(("method", "searches"), [("exact", 2), ("ivf", 1)])
def test_copies_fall_out_of_the_graph(rows, method, searches):
    asked = []
    search = searcher(rows, method, asked)
    unit = UnitRows(rows, search.usable)
    stands, near, cosines, _ = collapse_copies(unit, search)
    assert len(asked) == searches
    standing = np.unique(stands)
    assert 40 < len(unit) - len(standing) <= 70
    assert near.shape == cosines.shape == (len(standing), K)
    true = unit[standing] @ unit[standing].T
    np.testing.assert_allclose(np.take_along_axis(true, near[:], 1), cosines[:], atol=1e-6)
    np.fill_diagonal(true, -2)
    best = -np.sort(-true, axis=1)[:, :K]
    right = np.isclose(cosines[:], best, atol=1e-6)
    assert right.all() if method == "exact" else right.mean() > 0.95
    away = np.setdiff1d(np.arange(len(rows)), search.usable.row_of[standing])
    assert (search.neighbors[away] == -1).all() and (search.cosines[away] == 0).all()


def test_a_search_that_goes_on_finds_what_one_begun_without_the_fallen_rows_does(rows):
    search = searcher(rows, "ivf", [])
    everyone = np.ones(len(search.usable), bool)
    search(everyone)
    before = search.neighbors.copy()
    standing = np.random.default_rng(1).random(len(everyone)) < 0.8
    near, cosines, _ = search(standing)
    cells = search.search.neighbors.__self__
    anew = np.full((len(everyone), K + 1), -9)
    for numbers, _, found in cells.neighbors(K + 1):
        anew[numbers] = found
    row_of = search.usable.row_of
    for place, number in enumerate(np.flatnonzero(standing)):
        others = row_of[anew[number][anew[number] != number]][:K]
        assert set(others) == set(search.neighbors[row_of[number]])
        np.testing.assert_array_equal(
            row_of[np.flatnonzero(standing)][near[place : place + 1][0]], search.neighbors[row_of[number]]
        )
    kept = standing & ~graph.rows_with_fallen(before, search.usable.at_rows(standing, False))[row_of]
    assert kept.any()
    np.testing.assert_array_equal(search.neighbors[row_of[kept]], before[row_of[kept]])


def test_rows_with_fallen():
    neighbors = np.array([[1, 2], [0, 2], [0, 1], [-1, -1]])
    assert graph.rows_with_fallen(neighbors, np.array([True, True, False, False])).tolist() == [
        True,
        True,
        False,
        False,
    ]
    assert not graph.rows_with_fallen(neighbors, np.array([True, True, True, False])).any()
