"""Members revised: outliers out, faces left over in, by what a network says."""

import numpy as np
import pytest
from conftest import LazyModule, make_people

from pipeline.calibration import calibrate_to_impostors
from pipeline.judging import membership
from pipeline.judging.measures import NODE_MEASURES, measured_graph
from pipeline.judging.membership import MEMBER_MEASURES, judge_members, revise_members
from pipeline.rows import unit_rows

knn = LazyModule("pipeline.search.knn")

REST = NODE_MEASURES.index("similarity to the rest of the proposal")


@pytest.fixture
def easy():
    """A graph of people who are easy to tell, and who they are."""
    people = make_people(people=6, images=8, noise=0.3)
    usable = people.labels >= 0
    unit = unit_rows(people.rows, usable)
    labels = np.unique(people.labels[usable], return_inverse=True)[1]
    return measured_graph(unit, *knn.nearest_neighbors(unit, 15), calibrate_to_impostors(unit)), labels


def close_enough(measured):
    return (measured.nodes[:, REST] > 4).astype(np.float32)


def test_one_measure_has_one_name():
    assert len(set(MEMBER_MEASURES)) == len(MEMBER_MEASURES)


def test_right_clusters_stay_as_they_are(easy):
    graph, labels = easy
    np.testing.assert_array_equal(revise_members(graph, labels, close_enough), labels)


def test_an_outlier_is_dropped_and_a_face_left_over_attached(easy):
    graph, labels = easy
    wrong = labels.copy()
    outlier, other = np.flatnonzero(labels == 0)[0], 1
    wrong[outlier] = other
    alone = np.flatnonzero(labels == 2)[0]
    wrong[alone] = labels.max() + 1
    revised = revise_members(graph, wrong, close_enough)
    assert (revised == revised[outlier]).sum() == 1
    assert revised[alone] == revised[np.flatnonzero(labels == 2)[1]]


def pairs_of(parts):
    return [(row, cluster) for p in parts for row, cluster in zip(p.rows, p.cluster, strict=True)]


def test_every_member_and_every_near_face_left_over_is_judged_once(easy, monkeypatch):
    graph, labels = easy
    loose = labels.copy()
    loose[labels == 3] = labels.max() + 1 + np.arange((labels == 3).sum())
    loose = np.unique(loose, return_inverse=True)[1]
    whole = pairs_of(judge_members(graph, loose))
    monkeypatch.setattr(membership, "NODES_AT_ONCE", 10)
    parts = list(judge_members(graph, loose))
    pairs = pairs_of(parts)
    assert len(parts) > 2 and sorted(pairs) == sorted(whole)
    assert len(set(pairs)) == len(pairs)
    members = {row for part in parts for row in part.rows[part.member].tolist()}
    sizes = np.bincount(loose)
    assert members == set(np.flatnonzero(sizes[loose] >= membership.CORE).tolist())


def test_without_a_cluster_there_is_nothing_to_revise(easy):
    graph, labels = easy
    alone = np.arange(len(labels))
    np.testing.assert_array_equal(revise_members(graph, alone, close_enough), alone)
