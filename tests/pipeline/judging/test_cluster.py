"""From proposals to people, with the shipped networks."""

import numpy as np
import pytest
from conftest import make_people, make_problem

from pipeline.judging import cluster, measures, membership
from pipeline.judging.cluster import find_people, score_groups, score_rounds
from pipeline.judging.flat_cut import all_proposals
from pipeline.metrics import best_iou, evaluate


@pytest.fixture
def predict(judges):
    return judges.predict_iou, judges.predict_member


def problem_of(**options):
    return make_problem(make_people(**options))


@pytest.mark.parametrize("mean", [0.0, 2.0])
@pytest.mark.parametrize("dim", [48, 512])
def test_people_are_found_in_any_feature_space(predict, dim, mean):
    problem = problem_of(people=40, images=10, dim=dim, noise=0.5, mean=mean)
    found = find_people(problem.graph, problem.rounds, *predict)
    scores = evaluate(problem.labels, found)
    assert scores.pairwise.f >= 0.98 and scores.bcubed.f >= 0.98
    np.testing.assert_array_equal(np.unique(found), np.arange(found.max() + 1))


def test_the_size_of_a_batch_does_not_matter(predict, monkeypatch):
    problem = problem_of(people=30, images=12, noise=0.8)
    found = find_people(problem.graph, problem.rounds, *predict)
    scores, _ = score_rounds(problem.graph, problem.rounds, predict[0])
    for module, name in (
        (cluster, "NODES_AT_ONCE"),
        (membership, "NODES_AT_ONCE"),
        (measures, "MEMBERS_AT_ONCE"),
    ):
        monkeypatch.setattr(module, name, 100)
    np.testing.assert_allclose(score_rounds(problem.graph, problem.rounds, predict[0])[0], scores, atol=1e-4)
    np.testing.assert_array_equal(find_people(problem.graph, problem.rounds, *predict), found)


def test_the_number_of_threads_does_not_matter(predict, monkeypatch):
    problem = problem_of(people=30, images=12, noise=0.8)
    monkeypatch.setattr(cluster, "NODES_AT_ONCE", 100)
    found = []
    for threads in ("1", "4"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        found.append(find_people(problem.graph, problem.rounds, *predict))
    np.testing.assert_array_equal(*found)


def test_scores_rank_whole_people_above_mixtures(predict):
    problem = problem_of(people=30, images=12, noise=0.6)
    scores, _ = score_rounds(problem.graph, problem.rounds, predict[0])
    true = best_iou(all_proposals(problem.rounds), problem.labels)
    assert np.corrcoef(true, scores)[0, 1] > 0.8


def test_no_level_gives_no_score(predict):
    problem = problem_of(people=3, images=4)
    assert score_groups(problem.graph, [], predict[0]).shape == (0,)
