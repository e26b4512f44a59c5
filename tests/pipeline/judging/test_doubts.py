"""Doubts: halves of a person are found to be likely one, and both people of a mixed cluster to be two."""

import numpy as np
import pytest
from conftest import make_cut_people, make_people, make_problem
from scipy.cluster.hierarchy import linkage

from pipeline.groups import groups_from_labels
from pipeline.judging import doubts
from pipeline.judging.doubts import best_pairs, cut_cluster, find_doubts, highest_cuts, linked_pairs


@pytest.fixture(scope="module")
def posed():
    """Twenty people in 28 clusters: ten are cut in two, and the last four stand in two clusters."""
    problem, labels = make_cut_people()
    labels[labels == 17] = 16
    labels[labels == 19] = 18
    return problem.graph, problem.labels, np.unique(labels, return_inverse=True)[1]


def nobody_knows(measured):
    return np.full(len(measured.proposals), 0.5, np.float32)


def test_pairs_and_cuts_are_told_as_likely_as_they_are(posed):
    graph, true, labels = posed
    groups = groups_from_labels(labels)
    found = find_doubts(graph, groups, nobody_knows)
    members = [np.flatnonzero(labels == cluster) for cluster in range(len(groups))]
    person = np.array([np.bincount(true[rows]).argmax() for rows in members])
    for cluster, rows in enumerate(members):
        same = [other for other in np.flatnonzero(person == person[cluster]) if other != cluster]
        if len(same) == 1:
            assert found.near[cluster, 0] == same[0]
        part = slice(groups.offsets[cluster], groups.offsets[cluster + 1])
        assert sorted(found.alike[part]) == rows.tolist()
    assert (np.diff(found.chance, axis=1) <= 0).all()
    chance_of = {}
    for (cluster, start, middle, end), chance in zip(found.cuts.tolist(), found.cut_chance, strict=True):
        rows = found.alike[groups.offsets[cluster] :][start:end]
        sides = [set(true[side].tolist()) for side in (rows[: middle - start], rows[middle - start :])]
        if all(len(side) == 1 for side in sides):
            chance_of.setdefault(sides[0] == sides[1], []).append(chance)
    assert len(chance_of[False]) == 2
    assert max(chance_of[False]) < min(chance_of[True])


def test_linked_pairs_hold_the_best_pairs_of_faces(posed):
    graph, _, labels = posed
    groups = groups_from_labels(labels)
    pairs, best = linked_pairs(graph, groups)
    assert (pairs[:, 0] < pairs[:, 1]).all() and len(np.unique(pairs, axis=0)) == len(pairs)
    members = [np.flatnonzero(labels == cluster) for cluster in range(len(groups))]
    for (one, other), weight in zip(pairs.tolist(), best.tolist(), strict=True):
        every = graph.calibration.calibrate(graph.unit[members[one]] @ graph.unit[members[other]].T).ravel()
        exact = np.sort(every)[-3:].mean()
        assert best_pairs(graph, members[one], members[other]) == pytest.approx(exact, abs=1e-3)
        assert every.min() - 1e-3 <= weight <= every.max() + 1e-3


def test_a_large_cluster_is_cut_by_a_sample(posed, monkeypatch):
    graph, true, labels = posed
    mixed = np.flatnonzero(labels == labels[np.flatnonzero(true == 18)[0]])
    monkeypatch.setattr(doubts, "TREE_FACES", 10)
    rows, cuts = cut_cluster(graph, mixed)
    start, middle, end = cuts[0]
    assert (start, end) == (0, len(mixed)) and sorted(rows) == mixed.tolist()
    assert len(set(true[rows[:middle]])) == len(set(true[rows[middle:]])) == 1


def test_cuts_are_the_merges_of_the_tree():
    points = np.array([[0.0], [1], [10], [12], [40]])
    assert list(highest_cuts(linkage(points, "average")))[0] in ((0, 1, 5), (0, 4, 5))
    assert len(list(highest_cuts(linkage(points, "average")))) == 4


def test_one_cluster_and_faces_alone():
    people = make_people(people=3, images=2)
    graph = make_problem(people).graph
    count = len(graph.unit)  # one of the twins stands for both
    alone = find_doubts(graph, groups_from_labels(np.arange(count)), nobody_knows)
    assert not len(alone.cuts) and (alone.near[:, 0] >= 0).all()
    together = find_doubts(graph, groups_from_labels(np.zeros(count, np.int64)), nobody_knows)
    assert (together.near == -1).all() and len(together.cuts)
