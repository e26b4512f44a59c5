"""Search by lists against brute force."""

import numpy as np
import pytest
from conftest import LazyModule, make_people

ivf = LazyModule("pipeline.search.ivf")


@pytest.fixture(scope="module")
def divided():
    """Unit rows with one of zeros left out, and their lists."""
    rows = make_people(people=60, images=20, noise=0.6).rows
    usable = rows.any(axis=1)
    lists = ivf.make_lists(rows, usable)
    unit = rows[usable] / np.linalg.norm(rows[usable], axis=1, keepdims=True)
    return unit, lists


def test_lists_hold_each_row_once_and_in_the_list_nearest_to_it(divided):
    unit, lists = divided
    np.testing.assert_array_equal(np.sort(lists.row_of), np.arange(len(unit)))
    np.testing.assert_allclose(lists.rows, unit[lists.row_of], atol=1e-6)
    count = lists.centroids.ntotal
    assert count > 10
    np.testing.assert_array_equal(
        lists.list_of[lists.row_of], np.repeat(np.arange(count), np.diff(lists.bounds))
    )
    np.testing.assert_array_equal(lists.list_of, lists.centroids.search(unit, 1)[1][:, 0])


@pytest.mark.parametrize("probes", [1, 3, None])
@pytest.mark.parametrize("at_once", [None, 50])
def test_a_query_finds_the_best_of_the_lists_it_looks_into(divided, probes, at_once, monkeypatch):
    unit, lists = divided
    for bound in ("PROBES_AT_ONCE", "PRODUCTS_AT_ONCE"):
        monkeypatch.setattr(f"pipeline.search.ivf.{bound}", at_once or getattr(ivf, bound))
    probes = probes or lists.centroids.ntotal
    queries, k = unit[:130], 30
    cosines, found = ivf.nearest_in_lists(lists, queries, k, probes)
    looked_into = np.zeros((len(queries), lists.centroids.ntotal), bool)
    np.put_along_axis(looked_into, lists.centroids.search(queries, probes)[1], True, axis=1)
    expected = np.where(looked_into[:, lists.list_of], queries @ unit.T, -np.inf)
    best = -np.sort(-expected, axis=1)[:, :k]
    there = np.isfinite(best)
    np.testing.assert_array_equal(found >= 0, there)
    np.testing.assert_allclose(cosines[there], best[there], atol=1e-6)
    rows = np.where(there, found, 0)
    np.testing.assert_allclose(np.take_along_axis(expected, rows, axis=1)[there], best[there], atol=1e-6)
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in found)


@pytest.mark.parametrize("count", [1, 2, 30, 500])
def test_rows_that_are_all_alike_can_be_divided(count):
    rows = np.tile(np.float32([[3, 4]]), (count, 1))
    lists = ivf.make_lists(rows, np.ones(count, bool))
    cosines, found = ivf.nearest_in_lists(lists, lists.rows[:2], 1, lists.centroids.ntotal)
    np.testing.assert_allclose(cosines, 1, atol=1e-6)
    assert ((found >= 0) & (found < count)).all()


def test_the_fewest_probes_find_the_share_asked_for_and_fewer_do_not(divided):
    unit, lists = divided
    queries, k = unit[::7], 40
    nearest = np.argsort(-(queries @ unit.T), axis=1)[:, :k]

    def share(probes):
        _, found = ivf.nearest_in_lists(lists, queries, k, probes)
        return np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(nearest, found, strict=True)])

    probes, recall, compared = ivf.fewest_probes(lists, queries, nearest, 0.9)
    assert 1 < probes < lists.centroids.ntotal
    assert recall >= 0.9 > share(probes - 1)
    assert share(probes) == pytest.approx(recall, abs=1e-3)
    assert probes / lists.centroids.ntotal < 2 * compared < 2
    assert ivf.fewest_probes(lists, queries, nearest, 1.0)[1] == 1.0
