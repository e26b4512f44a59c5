"""What the network sees of a proposal: known answers, and what must not matter."""

import numpy as np
import pytest
from conftest import make_people

from pipeline.calibration import Calibration, calibrate_to_impostors
from pipeline.groups import groups_from_labels, single_faces
from pipeline.judging import measures
from pipeline.judging.measures import (
    FACES_A_PROPOSAL,
    NODE_MEASURES,
    NONE,
    PROPOSAL_MEASURES,
    bounded_chunks,
    measure,
    measured_graph,
    similarity_to_rest,
)
from pipeline.rows import unit_rows
from pipeline.search.knn import nearest_neighbors


def graph_of(rows, k=10, calibration=None):
    unit = unit_rows(rows, np.ones(len(rows), bool))
    return measured_graph(unit, *nearest_neighbors(unit, k), calibration or calibrate_to_impostors(unit))


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


def test_chunks_hold_every_group_once_in_order_and_no_more_than_fits():
    sizes = np.random.default_rng(0).integers(1, 80, 500)
    chunks = list(bounded_chunks(sizes, 50))
    np.testing.assert_array_equal(np.concatenate(chunks), np.arange(len(sizes)))
    assert all(sizes[chunk].sum() <= 50 or len(chunk) == 1 for chunk in chunks)
    assert any(len(chunk) > 1 for chunk in chunks)
