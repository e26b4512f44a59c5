"""The affinity graph against brute force, exact and approximate."""

import numpy as np
import pytest
from conftest import LazyModule, make_people

from pipeline.calibration import Calibration
from pipeline.rows import Numbering, graph_of_usable_rows, unit_rows

torch = LazyModule("torch")
gpu, ivf = LazyModule("pipeline.search.gpu"), LazyModule("pipeline.search.ivf")
knn = LazyModule("pipeline.search.knn")

CALIBRATION = Calibration(0.0, 0.15)


@pytest.fixture
def unit():
    rows = make_people(people=30, images=10).rows
    return unit_rows(rows, rows.any(axis=1))


def filled(method, rows, k):
    """The graph of rows as a stage makes it."""
    usable = rows.any(axis=1)
    neighbors, similarities = np.empty((len(rows), k), np.int32), np.empty((len(rows), k), np.float32)
    search = knn.make_search(method, rows, usable, k, CALIBRATION)
    knn.fill_graph(search.neighbors(k + 1, None), Numbering(usable), neighbors, similarities)
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


@pytest.mark.parametrize("most_shift", [0.05, 9])
def test_approximate_search_has_the_recall_it_says(most_shift, monkeypatch):
    monkeypatch.setattr("pipeline.search.ivf.MAX_SHIFT", most_shift)
    monkeypatch.setattr("pipeline.search.ivf.ROWS_A_CELL", 20)
    rows = make_people(people=60, images=40, dim=32, noise=1.0).rows
    _, exact, true = filled("exact", rows, 20)
    search, found, similarities = filled("ivf", rows, 20)
    usable = rows.any(axis=1)
    shared = np.array([np.isin(a, b) for a, b in zip(exact, found, strict=True)])[usable]
    possible = true[usable] > CALIBRATION.middle + CALIBRATION.spread * CALIBRATION.nearest_stranger(
        usable.sum()
    )
    said = search.described
    assert said["recall"] == pytest.approx(shared.mean(), abs=0.02)
    assert said["recall_possible_own"] == pytest.approx(shared[possible].mean(), abs=0.005)
    other_way = np.array([(found[near] == row).any(axis=1) for row, near in enumerate(exact)])[usable]
    assert said["recall_possible"] == pytest.approx((shared | other_way)[possible].mean(), abs=0.005)
    assert said["recall_possible"] >= ivf.MIN_RECALL
    last = (true - similarities)[usable, -1].mean() / CALIBRATION.spread
    assert last <= said["shift"] + 0.01 <= most_shift + 0.01
    assert (np.diff(similarities, axis=1) <= 1e-6).all()


def test_more_threads_find_the_same(monkeypatch):
    monkeypatch.setattr("pipeline.search.ivf.QUERIES_AT_ONCE", 200)
    rows = make_people(people=60, images=40, dim=32, noise=1.0).rows
    found = []
    for threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        found.append([array.tobytes() for array in filled("ivf", rows, 20)[1:]])
    assert found[0] == found[1]


def test_search_by_matrices_finds_what_faiss_finds(monkeypatch):
    rows = make_people(people=40, images=20).rows
    unit = unit_rows(rows, rows.any(axis=1))
    monkeypatch.setattr("pipeline.search.gpu.QUERIES_AT_ONCE", 100)
    monkeypatch.setattr("pipeline.search.gpu.ROWS_AT_ONCE", 70)
    cosines, found = gpu.find_by_matrices(unit, torch.device("cpu"))(unit[:250], 90)
    expected, _ = knn.nearest_rows(unit[:250], unit, 90)
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
    assert knn.make_search("auto", unit, usable, 5, CALIBRATION).described["method"] == "exact"
    monkeypatch.setattr("pipeline.search.knn.MAX_EXACT", 1000)
    monkeypatch.setattr("pipeline.search.knn.MAX_COMPARED", 1.0)
    assert knn.make_search("auto", unit, usable, 5, CALIBRATION).described["method"] == "ivf"
    monkeypatch.setattr("pipeline.search.knn.MAX_COMPARED", 0.0)  # IVF would take as long
    assert knn.make_search("auto", unit, usable, 5, CALIBRATION).described["method"] == "exact"
    assert knn.make_search("ivf", unit, usable, 5, CALIBRATION).described["method"] == "ivf"
