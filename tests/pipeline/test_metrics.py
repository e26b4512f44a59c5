"""pipeline.metrics against scikit-learn, a brute-force count, and by property."""

import importlib
import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import metrics
from pipeline.groups import groups_from_labels

labelled_rows = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=30).map(
    lambda rows: np.array(rows, np.int64).T
)


@pytest.fixture(scope="module")
def reference():
    """scikit-learn's metrics, which take more than a second to load."""
    return importlib.import_module("sklearn.metrics")


def flat(scores):
    return [*vars(scores.pairwise).values(), *vars(scores.bcubed).values(), scores.nmi]


def brute_pairwise(true, pred):
    pairs = list(itertools.combinations(range(len(pred)), 2))
    together = {(i, j) for i, j in pairs if pred[i] == pred[j]}
    same = {(i, j) for i, j in pairs if true[i] == true[j]}
    right = len(together & same)
    return right / len(together) if together else 1, right / len(same) if same else 1


def brute_bcubed(true, pred):
    precision, recall = [], []
    for i in range(len(true)):
        both = sum(true[i] == true[j] and pred[i] == pred[j] for j in range(len(true)))
        precision.append(both / sum(pred[i] == pred[j] for j in range(len(true))))
        recall.append(both / sum(true[i] == true[j] for j in range(len(true))))
    return np.mean(precision), np.mean(recall)


@given(labelled_rows)
def test_pairwise_and_bcubed_match_a_brute_force_count(rows):
    true, pred = rows
    scores = metrics.evaluate(true, pred)
    assert (scores.pairwise.precision, scores.pairwise.recall) == pytest.approx(brute_pairwise(true, pred))
    assert (scores.bcubed.precision, scores.bcubed.recall) == pytest.approx(brute_bcubed(true, pred))


@given(labelled_rows)
def test_f_is_the_harmonic_mean(rows):
    scores = metrics.evaluate(*rows)
    for score in (scores.pairwise, scores.bcubed):
        total = score.precision + score.recall
        assert score.f * total == pytest.approx(2 * score.precision * score.recall)


@pytest.mark.parametrize("seed", range(5))
def test_scores_match_scikit_learn(reference, seed):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 40, 500)
    pred = np.where(rng.random(500) < 0.7, true, rng.integers(0, 60, 500))
    scores = metrics.evaluate(true, pred)
    (_, wrong), (missed, right) = reference.cluster.pair_confusion_matrix(true, pred)
    assert scores.pairwise.precision == pytest.approx(right / (right + wrong))
    assert scores.pairwise.recall == pytest.approx(right / (right + missed))
    fowlkes_mallows = np.sqrt(scores.pairwise.precision * scores.pairwise.recall)
    assert fowlkes_mallows == pytest.approx(reference.fowlkes_mallows_score(true, pred))
    assert scores.nmi == pytest.approx(reference.normalized_mutual_info_score(true, pred))


@given(labelled_rows)
def test_nmi_matches_scikit_learn_on_small_and_one_sided_cases(reference, rows):
    true, pred = rows
    expected = reference.normalized_mutual_info_score(true, pred)
    assert metrics.evaluate(true, pred).nmi == pytest.approx(expected, abs=1e-9)


@given(labelled_rows, st.randoms(use_true_random=False))
def test_neither_the_names_of_clusters_nor_the_order_of_rows_matter(rows, random):
    true, pred = rows
    names = np.array(random.sample(range(-50, 50), 7))
    order = np.array(random.sample(range(len(true)), len(true)))
    assert flat(metrics.evaluate(names[true][order], pred[order])) == pytest.approx(
        flat(metrics.evaluate(true, names[pred]))
    )


@given(labelled_rows)
def test_swapping_the_sides_swaps_precision_and_recall(rows):
    true, pred = rows
    there, back = metrics.evaluate(true, pred), metrics.evaluate(pred, true)
    for one, other in ((there.pairwise, back.pairwise), (there.bcubed, back.bcubed)):
        assert (one.precision, one.recall) == pytest.approx((other.recall, other.precision))
    assert there.nmi == pytest.approx(back.nmi, abs=1e-9)


@given(labelled_rows)
def test_the_truth_itself_scores_one(rows):
    true, _ = rows
    assert flat(metrics.evaluate(true, true)) == pytest.approx([1.0] * 7)


def test_rows_in_no_cluster_become_people_of_their_own():
    labels = metrics.own_clusters(np.array([4, -1, 4, -1, 0]))
    assert labels[0] == labels[2] == 4
    assert labels[4] == 0
    assert len(set(labels.tolist())) == 4
    assert metrics.own_clusters(np.array([-1, -1])).tolist() == [0, 1]


def test_unequal_or_empty_labels_are_refused():
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        metrics.evaluate(np.zeros(2, np.int64), np.zeros(3, np.int64))
    with pytest.raises(ValueError, match=r"\(0,\)"):
        metrics.evaluate(np.zeros(0, np.int64), np.zeros(0, np.int64))


def test_a_million_rows_take_seconds():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 100_000, 1_000_000)
    pred = np.where(rng.random(len(true)) < 0.9, true, rng.integers(0, 200_000, len(true)))
    start = time.perf_counter()
    scores = metrics.evaluate(true, pred)
    assert time.perf_counter() - start < 10
    assert 0.5 < scores.bcubed.f < 1


@given(labelled_rows, st.randoms(use_true_random=False))
def test_ranked_pairs_end_at_pairwise_and_count_the_best_clusters(rows, random):
    true, pred = rows
    groups = groups_from_labels(np.unique(pred, return_inverse=True)[1])
    scores = np.array([random.random() for _ in range(len(groups))])
    precision, recall = metrics.ranked_pairs(groups, scores, true)
    several = [group for group in np.argsort(-scores, kind="stable") if groups.sizes[group] > 1]
    assert len(precision) == len(several)
    for best in range(1, len(several) + 1):
        kept = np.arange(len(true)) + len(groups)
        for group in several[:best]:
            kept[groups.members[groups.offsets[group] : groups.offsets[group + 1]]] = group
        expected = brute_pairwise(true, kept)
        if np.unique(true, return_counts=True)[1].max() == 1:  # nobody has a pair to be found
            expected = (expected[0], 0)
        np.testing.assert_allclose((precision[best - 1], recall[best - 1]), expected)
