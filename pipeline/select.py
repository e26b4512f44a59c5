"""From scored proposals to clusters: the best antichain of each family, then the best family.

Proposals of one family nest, so the choice that maximises the sum of size times predicted IoU is
found exactly, from small to large. Families overlap one another; of any two solutions, the better
one is taken in each place where they differ.
"""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pipeline.formats import MEMBER_DTYPE, OFFSET_DTYPE, Groups, Round, take_groups


def rank_and_deoverlap(groups: Groups, scores: np.ndarray, count: int) -> np.ndarray:
    """The paper's de-overlap (section 3.4): by descending score, each proposal takes what is left.

    Ties go to the larger, then the earlier proposal. Returns the proposal of each row, int64
    (count,), -1 for a row in none. Found without a loop over proposals: a row goes to the best
    ranked proposal that holds it.
    """
    order = np.lexsort((-groups.sizes, -scores))
    rank = np.empty(len(groups), np.int64)
    rank[order] = np.arange(len(groups))
    best = np.full(count, len(groups))
    np.minimum.at(best, groups.members, rank[groups.owners])
    return np.append(order, -1)[best]


def best_antichain(
    levels: list[tuple[np.ndarray, Groups]], scores: np.ndarray, single_scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The disjoint choice among nested proposals with the largest sum of size times score.

    `levels` are one family's proposals from small to large: proposal numbers int64 (P,) and their
    rows. `scores` is indexed by proposal number, `single_scores` (N,) by row. Returns for each row
    the proposal chosen, int64, -1 where the row stays alone, and its score.
    """
    chosen = np.full(len(single_scores), -1, np.int64)
    score = single_scores.astype(np.float64)
    for numbers, groups in levels:
        if not len(groups):
            continue
        below = np.add.reduceat(score[groups.members], groups.offsets[:-1]) / groups.sizes
        better = (scores[numbers] > below)[groups.owners]
        rows, owners = groups.members[better], groups.owners[better]
        chosen[rows], score[rows] = numbers[owners], scores[numbers[owners]]
    return chosen, score


def better_in_each_place(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Join two solutions of `best_antichain`: where clusters overlap, the side with more score.

    A place is a connected component of the overlaps between clusters of the two, so no cluster is
    cut; ties go to the first.
    """
    (chosen_1, score_1), (chosen_2, score_2) = first, second
    count = len(chosen_1)
    cluster_1, cluster_2 = cluster_index(chosen_1), cluster_index(chosen_2)
    shape = (int(cluster_1.max()) + 1, int(cluster_2.max()) + 1)
    overlap = coo_matrix(
        (np.ones(count, np.int8), (cluster_1, cluster_2 + shape[0])), (sum(shape), sum(shape))
    )
    place = connected_components(overlap, directed=False)[1][cluster_1]
    gain = np.bincount(place, weights=score_2 - score_1)
    second_wins = gain[place] > 1e-9
    return np.where(second_wins, chosen_2, chosen_1), np.where(second_wins, score_2, score_1)


def cluster_index(chosen: np.ndarray) -> np.ndarray:
    """Number clusters from 0: rows with the same proposal share one, a row alone has its own."""
    alone = chosen < 0
    index = np.empty(len(chosen), np.int64)
    used, index[~alone] = np.unique(chosen[~alone], return_inverse=True)
    index[alone] = len(used) + np.arange(alone.sum())
    return index


def select_clusters(
    rounds: list[Round], scores: np.ndarray, single_scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The clusters that all families together support best.

    `scores` (P,) is the predicted IoU of each proposal, numbered over all rounds, `single_scores`
    (N,) that of each face alone. Returns for each row the proposal chosen, -1 for a row alone, and
    its score.
    """
    every = all_proposals(rounds)
    first = np.cumsum([0, *(len(round_.proposals) for round_ in rounds)])
    families: dict[str, list[tuple[np.ndarray, Groups]]] = {}
    for number, round_ in enumerate(rounds):
        own = np.arange(first[number], first[number + 1])
        numbers = np.concatenate([own, round_.repeats])
        families.setdefault(round_.family, []).append((numbers, take_groups(every, numbers)))
    solution = (np.full(len(single_scores), -1, np.int64), single_scores.astype(np.float64))
    for levels in families.values():
        solution = better_in_each_place(solution, best_antichain(levels, scores, single_scores))
    return solution


def all_proposals(rounds: list[Round]) -> Groups:
    """The proposals of all rounds, in the order of their numbers."""
    sizes = np.concatenate([np.zeros(0, np.int64), *(round_.proposals.sizes for round_ in rounds)])
    members = np.concatenate([np.zeros(0, MEMBER_DTYPE), *(round_.proposals.members for round_ in rounds)])
    return Groups(members, np.concatenate([[0], np.cumsum(sizes)]).astype(OFFSET_DTYPE))
