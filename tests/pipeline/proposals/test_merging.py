"""Super-vertices against SciPy's trees, and what every set of proposals must be."""

import time

from common.errors import InputError

import numpy as np
import pytest
from conftest import LazyModule, make_people
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from pipeline.calibration import Calibration, calibrate_to_impostors
from pipeline.judging.flat_cut import all_proposals, levels_of_hierarchies
from pipeline.proposals import merging
from pipeline.proposals.edges import edges_of_graph, shared_neighbors
from pipeline.proposals.linkage import average_linkage, single_linkage
from pipeline.proposals.merging import propose
from pipeline.rows import unit_rows

knn = LazyModule("pipeline.search.knn")

RAW = Calibration(0.0, 1.0)


def posed(seed=0, people=12, images=8, noise=0.8, k=20):
    people = make_people(people=people, images=images, noise=noise, seed=seed)
    usable = people.labels >= 0
    unit = unit_rows(people.rows, usable)
    return unit, *knn.nearest_neighbors(unit, k), people.labels[usable]


def partition(labels):
    """A partition as a set of sets of rows."""
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels)}


def proposals_of(rounds):
    every = all_proposals(rounds)
    spans = zip(every.offsets[:-1], every.offsets[1:], strict=True)  # none where nothing may merge
    return [frozenset(every.members[first:last].tolist()) for first, last in spans]


def tree_cut(unit, method, threshold):
    distances = np.clip(1 - unit.astype(float) @ unit.T.astype(float), 0, None)
    np.fill_diagonal(distances, 0)
    return fcluster(linkage(squareform(distances, checks=False), method), 1 - threshold, "distance")


@pytest.mark.parametrize(("method", "threshold"), [("single", 0.7), ("average", 0.45)])
def test_a_sweep_over_all_pairs_cuts_the_tree(method, threshold):
    unit, *_ = posed()
    neighbors, cosines = knn.nearest_neighbors(unit, len(unit) - 1)
    edges = edges_of_graph(neighbors, cosines)
    thresholds = np.linspace(0.95, threshold, 12)
    if method == "single":
        *_, last = single_linkage(edges, len(unit), thresholds)
    else:
        *_, last = average_linkage(unit, edges, thresholds, RAW.calibrate)
    assert 1 < len(np.unique(last)) < len(unit)
    assert partition(last) == partition(tree_cut(unit, method, threshold))


def test_shared_neighbors_are_the_jaccard_index_of_neighborhoods():
    unit, neighbors, cosines, _ = posed()
    edges = edges_of_graph(neighbors[:, :6], cosines[:, :6])
    shared = shared_neighbors(neighbors, edges, 6)
    near = [set(row) | {number} for number, row in enumerate(neighbors[:, :6].tolist())]
    expected = [
        len(near[a] & near[b]) / len(near[a] | near[b]) for a, b in zip(edges.a, edges.b, strict=True)
    ]
    np.testing.assert_allclose(shared.weight, expected, rtol=1e-6)


@given(
    seed=st.integers(0, 1000),
    people=st.integers(1, 10),
    images=st.integers(2, 12),
    max_size=st.integers(2, 40),
)
@settings(max_examples=25, deadline=None)
def test_what_proposals_must_be(seed, people, images, max_size):
    unit, neighbors, cosines, _ = posed(seed, people, images)
    rounds = propose(unit, neighbors, cosines, calibrate_to_impostors(unit), max_size=max_size)
    proposals = proposals_of(rounds)
    assert len(set(proposals)) == len(proposals)  # no repeats, over all rounds
    assert all(2 <= len(rows) <= max_size for rows in proposals)
    for levels in levels_of_hierarchies(rounds).values():
        owner = {}
        for _, groups in levels:
            assert len(np.unique(groups.members)) == len(groups.members)  # disjoint in a round
            for rows in np.split(groups.members, groups.offsets[1:-1]) if len(groups) else []:
                earlier = {owner[row] for row in rows.tolist() if row in owner}
                assert all(old <= frozenset(rows.tolist()) for old in earlier)  # nested in a hierarchy
                owner |= dict.fromkeys(rows.tolist(), frozenset(rows.tolist()))


def test_proposals_hold_every_person_that_is_easy_to_tell():
    unit, neighbors, cosines, labels = posed(noise=0.5)
    rounds = propose(unit, neighbors, cosines, calibrate_to_impostors(unit))
    people = {rows for rows in partition(labels) if len(rows) > 1}
    assert people <= set(proposals_of(rounds))


def test_numbering_of_the_rows_does_not_matter():
    unit, neighbors, cosines, _ = posed()
    order = np.random.default_rng(3).permutation(len(unit))
    place = np.argsort(order)
    first = propose(unit, neighbors, cosines, calibrate_to_impostors(unit))
    second = propose(
        unit[order], place[neighbors[order]], cosines[order], calibrate_to_impostors(unit[order])
    )
    renumbered = {frozenset(order[list(rows)].tolist()) for rows in proposals_of(second)}
    assert renumbered == set(proposals_of(first))


def test_where_one_hierarchy_fails_the_other_ends_within_a_round(monkeypatch):
    unit, neighbors, cosines, _ = posed()
    begun = []

    def slow_sweep(unit, edges, thresholds, calibrate):
        for threshold in thresholds:
            begun.append(threshold)
            time.sleep(0.1)
            yield np.arange(len(unit))

    def failing(width):
        raise InputError(f"no edges of width {width}")

    monkeypatch.setattr(merging, "average_linkage", slow_sweep)
    with pytest.raises(InputError, match="no edges of width 0"):
        propose(unit, neighbors, cosines, calibrate_to_impostors(unit), linking=failing)
    assert len(begun) < merging.ROUNDS / 2


def test_two_rows_and_equal_rows_can_be_proposed():
    unit = np.float32([[1, 0], [1, 0]])
    assert proposals_of(propose(unit, *knn.nearest_neighbors(unit, 1), calibrate_to_impostors(unit)))
    unit = np.tile(np.float32([[0.6, 0.8]]), (50, 1))
    rounds = propose(unit, *knn.nearest_neighbors(unit, 10), calibrate_to_impostors(unit))
    assert max(map(len, proposals_of(rounds))) == 50


@pytest.mark.parametrize(("max_size", "said"), [(5, True), (7, True), (8, False), (20_000, False)])
def test_it_says_where_the_limit_cuts_people(capsys, max_size, said):
    unit, neighbors, cosines, _ = posed(noise=0.6)
    propose(unit, neighbors, cosines, calibrate_to_impostors(unit), max_size=max_size)
    told = capsys.readouterr().err
    assert told == (
        f"--max-size {max_size}: cuts people; some 8 faces look like one person, who comes out in pieces: "
        "give a larger one\n"
        if said
        else ""
    )
