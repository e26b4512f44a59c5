"""Graphs to which rows come, beside those made anew."""

import numpy as np
import pytest
from conftest import LazyModule, make_people
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.files.proposals import KeptGraph
from pipeline.proposals.copies import collapse_copies
from pipeline.rows import Numbering, UnitRows

graph, knn = LazyModule("pipeline.search.graph"), LazyModule("pipeline.search.knn")
DIM, K = 24, 6
APPROXIMATE = {"method": "ivf", "effort": 3}


def faces(seed, people=12, images=6):
    """Rows of people, with near-copies, equal rows and rows of zeros among them, in random order."""
    rng = np.random.default_rng(seed)
    rows = make_people(people=people, images=images, dim=DIM, noise=0.8, seed=seed).rows
    near = rows[rng.integers(0, len(rows), 8)] + 1e-3 * rng.standard_normal((8, DIM))
    rows = np.concatenate([rows, near, rows[rng.integers(0, len(rows), 4)], np.zeros((2, DIM))])
    return rng.permutation(rows).astype(np.float32)


def collapse(rows, method, kept=(), kept_search=None):
    """The search, what stands for each row of the file, and all graphs that it made, by row."""
    made = []

    def create(count, k):
        made.append((np.empty((count, k), np.int32), np.empty((count, k), np.float32)))
        return made[-1]

    def search_among(numbering, k, calibration):
        return knn.make_search(method, rows, numbering.usable, k, calibration)

    numbering = Numbering(rows.any(axis=1))
    search = graph.GraphSearch(rows, numbering, K, None, create, search_among, list(kept), kept_search or {})
    stands = collapse_copies(UnitRows(rows, numbering), search, search.known_stands())[0]
    return search, numbering.at_rows(numbering.row_of[stands], -1), made


def kept_of(search, stands_for, made):
    """What a stage keeps of a run."""
    kept = [KeptGraph(stands_for, *made[-1])]
    if len(made) > 1:
        first = made[0][0]
        kept.append(KeptGraph(np.where(first[:, 0] >= 0, np.arange(len(first)), -1), *made[0]))
    return kept


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), before=st.integers(20, 86), small=st.booleans())
def test_a_graph_extended_exactly_is_the_one_made_anew_to_the_byte(seed, before, small):
    rows = faces(seed)
    with pytest.MonkeyPatch.context() as patch:
        if small:  # queries in several calls
            patch.setattr("pipeline.search.knn.QUERY_VALUES", DIM * 16)
        kept = kept_of(*collapse(rows[:before], "exact"))
        search, stands_for, made = collapse(rows, "exact", kept, knn.EXACT)
        _, expected, anew = collapse(rows, "exact")
    np.testing.assert_array_equal(stands_for, expected)
    assert len(made) == len(anew)
    for array, other in zip([*made[0], *made[-1]], [*anew[0], *anew[-1]], strict=True):
        assert array.tobytes() == other.tobytes()
    assert search.described == knn.EXACT


def test_only_what_exact_search_would_compute_otherwise_is_searched_for(monkeypatch):
    monkeypatch.setattr("pipeline.search.knn.QUERY_VALUES", DIM * 16)
    monkeypatch.setattr("pipeline.search.grown.DATABASE_ROWS", 32)
    rows = make_people(people=30, images=10, dim=DIM, noise=0.8).rows
    kept = kept_of(*collapse(rows[:250], "exact"))
    search, _, made = collapse(rows, "exact", kept, knn.EXACT)
    assert search.search is None and search.asked == rows[250:].any(axis=1).sum() - 1  # two rows are equal
    np.testing.assert_allclose(made[-1][1], collapse(rows, "exact")[2][-1][1], atol=1e-6)


def test_where_a_new_copy_takes_an_old_ones_place_the_rest_is_searched_anew():
    rows = faces(0)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        copies = (rows[:9] + 1e-3 * rng.standard_normal((9, DIM))).astype(np.float32)
        grown = np.concatenate([rows, copies])
        kept = kept_of(*collapse(rows, "exact"))
        search, stands_for, made = collapse(grown, "exact", kept, knn.EXACT)
        if (stands_for[: len(rows)] >= len(rows)).any():
            break
    else:
        pytest.fail("no copy took a place")
    assert search.search is not None
    np.testing.assert_array_equal(made[-1][0], collapse(grown, "exact")[2][-1][0])


@pytest.mark.parametrize("seed", range(5))
def test_an_approximate_graph_is_mended_by_products_with_all_new_rows(seed):
    rows = faces(seed)
    before = 70
    kept = kept_of(*collapse(rows[:before], "exact"))  # which misses nothing, so the mended one does not
    search, stands_for, made = collapse(rows, "ivf", kept[:1], APPROXIMATE)
    assert search.search is None and len(made) == 1
    assert search.described == APPROXIMATE | {"grown": int(rows[before:].any(axis=1).sum())}
    near, cosines = made[0]
    usable = rows.any(axis=1)
    standing = stands_for == np.arange(len(rows))
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    true = unit @ unit.T
    np.fill_diagonal(true, -2)
    true[:, ~standing] = -2
    np.testing.assert_allclose(cosines[standing], -np.sort(-true, axis=1)[standing, :K], atol=1e-5)
    found = np.take_along_axis(true, np.maximum(near, 0), 1)
    np.testing.assert_allclose(found[standing], cosines[standing], atol=1e-5)
    assert (near[~standing] == -1).all() and (stands_for[usable] >= 0).all()
    old = (stands_for[:before] == np.arange(before)) != kept[0].standing
    assert old.sum() <= 8  # an old row falls only to a new copy of it


def test_too_many_new_rows_are_searched_for_in_cells(monkeypatch):
    monkeypatch.setattr("pipeline.search.graph.MOST_MENDED", 3)
    monkeypatch.setattr("pipeline.search.ivf.ROWS_A_CELL", 20)
    rows = faces(1)
    kept = kept_of(*collapse(rows[:60], "exact"))
    search, _, _ = collapse(rows, "ivf", kept[:1], APPROXIMATE)
    assert search.search is not None and "grown" not in search.described


def test_nothing_is_searched_for_where_nothing_came():
    rows = faces(2)
    kept = kept_of(*collapse(rows, "exact"))
    for graphs, said in ((kept, knn.EXACT), (kept[:1], APPROXIMATE | {"grown": 0})):
        search, stands_for, made = collapse(rows, "exact", graphs, said)
        assert search.asked == 0
        np.testing.assert_array_equal(made[-1][0], kept[0].neighbors)
        np.testing.assert_array_equal(stands_for, kept[0].stands_for)
