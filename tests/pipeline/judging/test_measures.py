"""What the network sees of a proposal: known answers, and what must not matter."""

import numpy as np
import pytest
from conftest import LazyModule, make_people

from pipeline.calibration import Calibration, calibrate_to_impostors
from pipeline.groups import groups_from_labels, single_faces, sums_of_groups
from pipeline.judging import measures
from pipeline.judging.measures import (
    FACES_A_PROPOSAL,
    NODE_MEASURES,
    NONE,
    PROPOSAL_MEASURES,
    bounded_chunks,
    measure,
    measured_graph,
    nth,
    similarity_to_rest,
)
from pipeline.rows import unit_rows

knn = LazyModule("pipeline.search.knn")


def graph_of(rows, k=10, calibration=None):
    unit = unit_rows(rows, np.ones(len(rows), bool))
    return measured_graph(unit, *knn.nearest_neighbors(unit, k), calibration or calibrate_to_impostors(unit))


@pytest.fixture
def four():
    """Two alike, a third less so, and one far off; cosines are left as they are."""
    angles = np.radians([0, 10, 40, 120])
    rows = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    return graph_of(rows, 3, Calibration(0.0, 1.0))


def test_known_answers_of_a_small_proposal(four):
    found = measure(four, groups_from_labels(np.array([0, 0, -1, -1])))
    cos = lambda degrees: np.cos(np.radians(degrees))  # noqa: E731
    node = dict(zip(NODE_MEASURES, found.nodes[0].tolist(), strict=True))
    expected = {
        "nearest inside": cos(10),
        "mean inside": cos(10),
        "nearest outside": cos(40),
        "similarity to the rest of the proposal": cos(10),
        "similarity of the nearest outside face to the proposal": (cos(40) + cos(30)) / 2,
        "nearest outside less that face's own nearest": cos(40) - cos(30),
        "nearest": cos(10),
    }
    assert {name: node[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    whole = dict(zip(PROPOSAL_MEASURES, found.proposals[0].tolist(), strict=True))
    assert whole["log size"] == pytest.approx(np.log(2))
    assert whole["mean pair"] == pytest.approx(cos(10), abs=1e-6)
    assert whole["highest outsider"] == pytest.approx((cos(40) + cos(30)) / 2, abs=1e-6)
    np.testing.assert_array_equal(np.sort(found.edges, axis=1), [[0, 1], [0, 1]])
    np.testing.assert_allclose(found.edge_similarity, cos(10), atol=1e-6)


def test_a_face_alone_has_nothing_inside(four):
    found = measure(four, single_faces(4))
    inside = [NODE_MEASURES.index(name) for name in ("nearest inside", "mean inside")]
    assert (found.nodes[:, inside] == NONE).all()
    assert found.edges.shape == (2, 0)
    assert np.isfinite(found.nodes).all() and np.isfinite(found.proposals).all()


def test_the_dimension_and_the_shared_mean_do_not_matter():
    people = make_people(people=10, images=6, dim=32)
    rows = people.rows[people.labels >= 0]
    groups = groups_from_labels(people.labels[people.labels >= 0])
    wider = np.hstack([rows, np.zeros_like(rows)])
    found, same = measure(graph_of(rows), groups), measure(graph_of(wider), groups)
    np.testing.assert_allclose(same.nodes, found.nodes, atol=1e-3)
    np.testing.assert_allclose(same.proposals, found.proposals, atol=1e-3)


def test_of_a_large_proposal_a_spread_of_faces_is_measured_whatever_their_order():
    people = make_people(people=2, images=200)
    rows, labels = people.rows[people.labels >= 0], people.labels[people.labels >= 0]
    order = np.random.default_rng(0).permutation(len(rows))
    found = measure(graph_of(rows), groups_from_labels(labels))
    assert np.bincount(found.owner).max() == FACES_A_PROPOSAL
    shuffled = measure(graph_of(rows[order]), groups_from_labels(labels[order]))
    assert set(order[shuffled.rows].tolist()) == set(found.rows.tolist())
    np.testing.assert_allclose(shuffled.proposals, found.proposals, atol=1e-4)


def test_a_large_group_is_measured_piece_by_piece(monkeypatch):
    people = make_people(people=2, images=200)
    rows, labels = people.rows[people.labels >= 0], people.labels[people.labels >= 0]
    graph, groups = graph_of(rows), groups_from_labels(labels)
    sums, rest = similarity_to_rest(graph, groups)
    monkeypatch.setattr(measures, "MEMBERS_AT_ONCE", 30)
    in_pieces = similarity_to_rest(graph, groups)
    np.testing.assert_allclose(in_pieces[0], sums, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(in_pieces[1], rest, atol=1e-4)


def test_sums_of_groups_are_of_their_rows_or_of_those_chosen():
    rng = np.random.default_rng(0)
    unit, chosen = rng.standard_normal((9, 4)).astype(np.float32), rng.random(9) < 0.5
    offsets = np.array([0, 2, 3, 9])
    parts = np.split(np.arange(9), offsets[1:-1])
    found = sums_of_groups(unit, offsets)
    np.testing.assert_allclose(found, [unit[part].sum(0) for part in parts], rtol=1e-5, atol=1e-6)
    assert found.dtype == np.float32
    some = [unit[part][chosen[part]].sum(0) for part in parts]
    np.testing.assert_allclose(sums_of_groups(unit, offsets, chosen), some, rtol=1e-5, atol=1e-6)


def test_chunks_hold_every_group_once_in_order_and_no_more_than_fits():
    sizes = np.random.default_rng(0).integers(1, 80, 500)
    chunks = list(bounded_chunks(sizes, 50))
    np.testing.assert_array_equal(np.concatenate(chunks), np.arange(len(sizes)))
    assert all(sizes[chunk].sum() <= 50 or len(chunk) == 1 for chunk in chunks)
    assert any(len(chunk) > 1 for chunk in chunks)


def test_strangers_that_a_proposal_swallowed_are_its_smaller_part():
    people = make_people(people=12, images=30, dim=64, noise=0.9)
    rows, labels = people.rows[people.labels >= 0], people.labels[people.labels >= 0]
    graph = graph_of(rows, 20)
    mixed = np.where(labels == 0, 0, -1)
    mixed[np.flatnonzero(labels == 1)[:7]] = 0
    groups = groups_from_labels(mixed)
    pure = groups_from_labels(np.where(labels == 0, 0, -1))
    whole, cut = (
        dict(zip(PROPOSAL_MEASURES, measure(graph, either).proposals[0].tolist(), strict=True))
        for either in (pure, groups)
    )
    assert cut["log size of the smaller part"] == pytest.approx(np.log1p(7))
    assert abs(cut["between its parts"]) < 1.5 < 3 < whole["between its parts"]
    assert cut["within the smaller part"] > 3 and cut["within the larger part"] > 3
    found = measure(graph, groups)
    to_smaller = found.nodes[:, NODE_MEASURES.index("similarity to the smaller part")]
    to_larger = found.nodes[:, NODE_MEASURES.index("similarity to the larger part")]
    np.testing.assert_array_equal(to_smaller > to_larger, labels[found.rows] == 1)


def test_the_parts_of_a_single_face_and_of_a_pair(four):
    single = measure(four, single_faces(4)).proposals
    parts = [PROPOSAL_MEASURES.index(name) for name in PROPOSAL_MEASURES if "part" in name]
    np.testing.assert_array_equal(single[:, parts], np.tile([NONE, NONE, NONE, 0], (4, 1)))
    pair = measure(four, groups_from_labels(np.array([0, 0, -1, -1]))).proposals[0, parts]
    np.testing.assert_allclose(pair, [np.cos(np.radians(10)), NONE, NONE, np.log(2)], atol=1e-6)


def test_a_place_among_neighbors_means_the_same_in_small_and_large_sets():
    similarities = np.array([[0.9, 0.5, 0.1]], np.float32)
    assert nth(similarities, 2, 4) == np.float32(0.5)
    assert nth(similarities, 4, 4) == NONE  # of four faces none has a fourth neighbor
    assert nth(similarities, 4, 100) == np.float32(0.1)  # the last that is known


def test_as_many_neighbors_as_members_tell_a_person_where_k_reaches_everybody():
    people = make_people(people=3, images=6, noise=0.5)
    rows, labels = people.rows[people.labels >= 0], people.labels[people.labels >= 0]
    graph = graph_of(rows, len(rows) - 1)
    column = NODE_MEASURES.index("share inside of as many neighbors as members")
    whole = measure(graph, groups_from_labels(np.where(labels == 0, 0, -1))).nodes[:, column]
    everybody = measure(graph, groups_from_labels(np.where(labels < 2, 0, -1))).nodes[:, column]
    part = measure(graph, groups_from_labels(np.where(labels == 0, np.cumsum(labels == 0) % 2, -1))).nodes
    assert (whole == 1).all() and everybody.mean() < 0.8 and part[:, column].mean() < 0.7
