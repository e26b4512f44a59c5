"""The affinity graph against brute force, exact and approximate."""

import numpy as np
import pytest
from conftest import LazyModule, make_people

from pipeline.rows import Numbering, graph_of_usable_rows, unit_blocks, unit_rows

torch = LazyModule("torch")
gpu, knn = LazyModule("pipeline.search.gpu"), LazyModule("pipeline.search.knn")


@pytest.fixture
def unit():
    rows = make_people(people=30, images=10).rows
    return unit_rows(rows, rows.any(axis=1))


def filled(method, rows, k):
    """The graph of rows as a stage makes it."""
    usable = rows.any(axis=1)
    neighbors, similarities = np.empty((len(rows), k), np.int32), np.empty((len(rows), k), np.float32)
    search = knn.make_search(method, rows, usable, k)
    results = search.results(unit_blocks(rows, usable), k + 1)
    knn.fill_graph(results, Numbering(usable), neighbors, similarities)
    return search, neighbors, similarities


def test_neighbors_are_those_of_brute_force(unit):
    neighbors, similarities = knn.nearest_neighbors(unit, 7)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -2)
    expected = -np.sort(-cosines, axis=1)[:, :7]
    np.testing.assert_allclose(similarities, expected, atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(cosines, neighbors, 1), expected, atol=1e-6)


def test_oneself_is_left_out_even_among_duplicates():
    unit = np.tile(np.float32([[0.6, 0.8]]), (9, 1))
    neighbors, similarities = knn.nearest_neighbors(unit, 4)
    assert not (neighbors == np.arange(9)[:, None]).any()
    assert all(len(set(row)) == 4 for row in neighbors.tolist())
    np.testing.assert_allclose(similarities, 1, atol=1e-6)


@pytest.mark.parametrize("k", [10, 40])  # faiss keeps them in a heap, in a reservoir
@pytest.mark.parametrize("duplicates", [20, 3000])
def test_of_equal_rows_the_first_ones_are_found(k, duplicates):
    rng = np.random.default_rng(0)
    unit = np.eye(4, dtype=np.float32)[np.append(rng.integers(1, 4, 600), np.zeros(duplicates, int))]
    cosines, found = knn.nearest_rows(unit, unit, k)
    products = unit @ unit.T
    expected = np.argsort(-products, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(cosines, np.take_along_axis(products, expected, 1))


def test_there_are_no_more_neighbors_than_other_rows(unit):
    assert knn.nearest_neighbors(unit[:3], 80)[0].shape == (3, 2)
    assert knn.nearest_neighbors(unit[:1], 80)[0].shape == (1, 0)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_length_of_a_row_does_not_matter(unit, scale):
    rows = (unit * np.float32(scale)).astype(np.float32)
    np.testing.assert_allclose(unit_rows(rows, np.ones(len(rows), bool)), unit, atol=1e-5)


def test_rows_of_zeros_have_no_neighbors_and_are_none(people):
    usable = people.rows.any(axis=1)
    _, neighbors, similarities = filled("exact", people.rows, 5)
    assert (neighbors[people.zero] == -1).all() and (similarities[people.zero] == 0).all()
    assert not (neighbors == people.zero).any()
    near, cosines = graph_of_usable_rows(neighbors, similarities, Numbering(usable))
    expected = knn.nearest_neighbors(unit_rows(people.rows, usable), 5)
    np.testing.assert_array_equal(near[:], expected[0])
    np.testing.assert_array_equal(cosines[:], expected[1])


def test_approximate_search_has_the_recall_it_says():
    rows = make_people(people=60, images=40, dim=32, noise=1.0).rows
    _, exact, _ = filled("exact", rows, 20)
    search, found, similarities = filled("ivf", rows, 20)
    shared = np.mean([len(np.intersect1d(a, b)) / 20 for a, b in zip(exact, found, strict=True)])
    assert search.recall >= knn.MIN_RECALL
    assert shared == pytest.approx(search.recall, abs=0.01)
    assert (np.diff(similarities, axis=1) <= 1e-6).all()
    again = filled("ivf", rows, 20)
    np.testing.assert_array_equal(found, again[1])


def test_a_query_that_finds_too_few_is_answered_in_full(monkeypatch):
    rows = make_people(people=20, images=30, noise=0.1).rows
    monkeypatch.setattr("pipeline.search.knn.MIN_RECALL", 0.0)  # so the least effort will do
    _, neighbors, _ = filled("ivf", rows, 100)
    usable = rows.any(axis=1)
    assert (neighbors[usable] >= 0).all()


def test_search_by_matrices_finds_what_faiss_finds(monkeypatch):
    rows = make_people(people=40, images=20).rows
    unit = unit_rows(rows, rows.any(axis=1))
    monkeypatch.setattr("pipeline.search.gpu.QUERIES_AT_ONCE", 100)
    monkeypatch.setattr("pipeline.search.gpu.ROWS_AT_ONCE", 70)
    cosines, found = gpu.find_by_matrices(unit, torch.device("cpu"))(unit[:250], 90)
    expected, _ = knn.exact_search(unit).find(unit[:250], 90)
    np.testing.assert_allclose(cosines, expected, atol=1e-6)
    np.testing.assert_allclose(np.einsum("qd,qkd->qk", unit[:250], unit[found]), expected, atol=1e-6)
    assert gpu.find_by_matrices(unit[:3], torch.device("cpu"))(unit[:2], 3)[1].shape == (2, 3)


@pytest.mark.gpu
def test_a_gpu_finds_what_brute_force_finds(unit):
    if not gpu.has_gpu():
        pytest.skip("no GPU that faiss or torch can use: this holds its search to brute force")
    cosines, found = gpu.find_on_gpu(unit)(unit, 8)
    expected = -np.sort(-(unit @ unit.T), axis=1)[:, :8]
    np.testing.assert_allclose(cosines, expected, atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(unit @ unit.T, found, 1), expected, atol=1e-5)


def test_search_is_approximate_only_where_exact_is_slow(unit, monkeypatch):
    usable = np.ones(len(unit), bool)
    assert knn.make_search("auto", unit, usable, 5).method == "exact"
    monkeypatch.setattr("pipeline.search.knn.MAX_EXACT", 1000)
    assert knn.make_search("auto", unit, usable, 5).method == "ivf"
    monkeypatch.setattr("pipeline.search.knn.MAX_COMPARED", 0.0)  # IVF would take as long
    assert knn.make_search("auto", unit, usable, 5).method == "exact"
    assert knn.make_search("ivf", unit, usable, 5).method == "ivf"
