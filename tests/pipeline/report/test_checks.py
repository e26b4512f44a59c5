"""Inspection against brute force: typical order, and faces closer to another cluster."""

import numpy as np
import pytest
from conftest import make_cut_people

from pipeline.groups import groups_from_labels
from pipeline.judging.measures import NONE
from pipeline.report import checks
from pipeline.report.checks import inspect_clusters


@pytest.fixture(scope="module")
def posed():
    """A graph of 20 people in 30 clusters: ten people are cut in two, and one face is misplaced."""
    problem, labels = make_cut_people()
    misplaced = int(np.flatnonzero(labels == 15)[0])
    labels[misplaced] = 16
    return problem.graph, np.unique(labels, return_inverse=True)[1], misplaced


def mean_similarity(graph, rows, others):
    """Of all pairs of different faces."""
    pairs = graph.calibration.calibrate(graph.unit[rows] @ graph.unit[others].T)
    return pairs[np.asarray(rows)[:, None] != np.asarray(others)].mean()


@pytest.mark.parametrize("at_once", [1 << 14, 7])
def test_what_is_told_is_what_brute_force_finds(posed, monkeypatch, at_once):
    monkeypatch.setattr(checks, "PAIRS_AT_ONCE", at_once)
    graph, labels, _ = posed
    groups = groups_from_labels(labels)
    done = []
    nearest = np.append(np.arange(1, len(groups)), -1)
    found = inspect_clusters(graph, groups, nearest, done.append)
    assert sum(done) == len(labels)
    rows_of = [np.flatnonzero(labels == cluster) for cluster in range(len(groups))]
    for cluster, rows in enumerate(rows_of):
        part = slice(groups.offsets[cluster], groups.offsets[cluster + 1])
        assert sorted(found.members[part]) == rows.tolist()
        assert (np.diff(found.fit[part]) <= 0).all()
        if len(rows) == 1:
            assert found.fit[part] == NONE
            continue
        for row, fit in zip(found.members[part], found.fit[part], strict=True):
            assert fit == pytest.approx(mean_similarity(graph, [row], rows), abs=1e-3)
        assert found.inside[cluster] == pytest.approx(mean_similarity(graph, rows, rows), abs=1e-3)
    for cluster, other in enumerate(nearest[:-1].tolist()):
        between = mean_similarity(graph, rows_of[cluster], rows_of[other])
        assert found.outside[cluster] == pytest.approx(between, abs=1e-3)
    assert found.outside[-1] == NONE


def test_a_misplaced_face_fits_least_and_better_elsewhere(posed):
    graph, labels, misplaced = posed
    groups = groups_from_labels(labels)
    found = inspect_clusters(graph, groups, np.full(len(groups), -1))
    last = groups.offsets[16 + 1] - 1
    assert labels[misplaced] == 16 and found.members[last] == misplaced
    assert found.rival[last] == 15
    own = np.flatnonzero(labels == 15)
    assert found.rival_fit[last] == pytest.approx(mean_similarity(graph, [misplaced], own), abs=1e-3)
    assert found.rival_fit[last] > found.fit[last]


def test_rows_in_no_cluster_and_clusters_without_neighbors(posed):
    graph, labels, _ = posed
    few = groups_from_labels(np.where(labels < 2, labels, -1))
    found = inspect_clusters(graph, few, np.full(2, -1))
    assert sorted(found.members) == sorted(few.members)
    one = inspect_clusters(graph, groups_from_labels(np.where(labels == 3, 0, -1)), np.full(1, -1))
    assert (one.rival == -1).all()
