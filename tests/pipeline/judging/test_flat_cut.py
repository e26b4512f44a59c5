"""Choosing among proposals, against plain loops and enumeration."""

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.files.proposals import Round
from pipeline.groups import Groups
from pipeline.judging.flat_cut import (
    Solution,
    best_flat_cut,
    better_in_each_place,
    cluster_index,
    optimal_flat_cut,
    rank_and_deoverlap,
)

COUNT = 8


def groups_of(sets):
    offsets = np.cumsum([0, *map(len, sets)])
    return Groups(np.array([row for rows in sets for row in sorted(rows)], np.int32), offsets)


def nested_levels(draw):
    """A random hierarchy: partitions from fine to coarse of COUNT rows, newly formed groups alone."""
    parts = [{row} for row in range(COUNT)]
    levels = []
    while len(parts) > 1:
        chosen = draw(st.sets(st.integers(0, len(parts) - 1), min_size=2))
        joined = set().union(*(parts[number] for number in chosen))
        parts = [rows for number, rows in enumerate(parts) if number not in chosen] + [joined]
        levels.append([joined])
    return levels


hierarchies = st.composite(nested_levels)()
scores_of = st.lists(st.floats(0, 1), min_size=2 * COUNT, max_size=2 * COUNT)


@given(hierarchies, scores_of)
@settings(max_examples=60, deadline=None)
def test_the_antichain_is_the_best_of_all(levels, scores):
    proposals = [rows for level in levels for rows in level]
    singles, scores = np.array(scores[:COUNT]), np.array(scores[COUNT : COUNT + len(proposals)])
    best = 0.0
    for size in range(len(proposals) + 1):
        for chosen in combinations(range(len(proposals)), size):
            taken = [row for number in chosen for row in proposals[number]]
            if len(taken) == len(set(taken)):
                value = sum(len(proposals[number]) * scores[number] for number in chosen)
                best = max(best, value + sum(singles[row] for row in range(COUNT) if row not in taken))
    numbered = [(np.array([number]), groups_of([rows])) for number, rows in enumerate(proposals)]
    start = Solution(np.full(COUNT, -1), singles)
    found = optimal_flat_cut(numbered, scores, start)
    assert np.isclose(found.score.sum(), best)
    for number in np.unique(found.chosen[found.chosen >= 0]):  # whole proposals only
        assert set(np.flatnonzero(found.chosen == number)) == proposals[number]


@given(
    st.lists(st.sets(st.integers(0, COUNT - 1), min_size=2), max_size=6),
    st.lists(st.sampled_from([0.1, 0.5, 0.5, 0.9]), min_size=6, max_size=6),
)
def test_deoverlap_gives_each_proposal_what_is_left(sets, scores):
    expected = np.full(COUNT, -1)
    for number in sorted(range(len(sets)), key=lambda p: (-scores[p], -len(sets[p]), p)):
        left = [row for row in sets[number] if expected[row] < 0]
        expected[left] = number
    found = rank_and_deoverlap(groups_of(sets), np.array(scores[: len(sets)]), COUNT)
    np.testing.assert_array_equal(found, expected)


def test_of_two_solutions_the_better_wins_where_they_differ():
    first = Solution(np.array([0, 0, 1, 1]), np.array([0.9, 0.9, 0.1, 0.1]))
    second = Solution(np.array([5, -1, 6, 6]), np.array([0.5, 0.5, 0.8, 0.8]))
    joined = better_in_each_place(first, second)
    np.testing.assert_array_equal(joined.chosen, [0, 0, 6, 6])
    np.testing.assert_array_equal(joined.score, [0.9, 0.9, 0.8, 0.8])


def test_a_hierarchy_that_scores_better_in_one_place_gives_its_cluster_there():
    rounds = [
        Round("a", 1.0, groups_of([{0, 1, 2, 3}]), np.zeros(0, np.int64)),
        Round("b", 1.0, groups_of([{0, 1}, {4, 5}]), np.zeros(0, np.int64)),
        Round("b", 0.5, groups_of([]), np.array([0])),
    ]
    labels = best_flat_cut(rounds, np.array([0.9, 0.6, 0.7]), np.full(6, 0.3))
    assert len({*labels[:4].tolist()}) == 1 and labels[4] == labels[5] != labels[0]
    labels = best_flat_cut(rounds, np.array([0.2, 0.6, 0.7]), np.full(6, 0.3))
    assert labels[0] == labels[1] and len({*labels.tolist()}) == 4


@given(st.lists(hierarchies, min_size=1, max_size=3), st.integers(0, 1000))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_every_row_stands_in_one_cluster_whatever_the_rows_are_called(levels_of, seed):
    rng = np.random.default_rng(seed)
    order = rng.permutation(COUNT)
    rounds, renamed = [], []
    for number, levels in enumerate(levels_of):
        for level in levels:
            for made, sets in (
                (rounds, level),
                (renamed, [{int(order[row]) for row in rows} for rows in level]),
            ):
                made.append(Round(str(number), 1.0, groups_of(sets), np.zeros(0, np.int64)))
    scores, single_scores = rng.random(len(rounds)), rng.random(COUNT)
    labels = best_flat_cut(rounds, scores, single_scores)
    assert labels.shape == (COUNT,) and set(labels.tolist()) == set(range(labels.max() + 1))
    renamed_scores = np.empty(COUNT)
    renamed_scores[order] = single_scores
    again = best_flat_cut(renamed, scores, renamed_scores)[order]
    assert (labels[:, None] == labels).tolist() == (again[:, None] == again).tolist()


def test_clusters_are_numbered_and_faces_alone_stay_alone():
    np.testing.assert_array_equal(cluster_index(np.array([7, -1, 3, 7, -1])), [1, 2, 0, 1, 3])
