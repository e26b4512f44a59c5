"""From scored proposals to clusters: the optimal flat cut of each hierarchy, then the best of the cuts.

Proposals of one hierarchy nest, so the disjoint choice with the largest sum of size times predicted IoU
is found exactly, from small to large (FOSC: Campello et al., *A framework for semi-supervised and
unsupervised optimal extraction of clusters from hierarchies*, 2013). Hierarchies overlap one another;
of any two solutions, the better one is taken in each place where they differ.
"""

from dataclasses import dataclass
from functools import reduce

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pipeline.files.proposals import Round
from pipeline.groups import MEMBER_DTYPE, OFFSET_DTYPE, Groups, join_groups, single_faces, take_groups


@dataclass(frozen=True)
class Solution:
    """Disjoint clusters: for each row its proposal, int64 (N,), -1 for a row alone, and the predicted
    IoU of its cluster, float64 (N,)."""

    chosen: np.ndarray
    score: np.ndarray


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


def optimal_flat_cut(
    levels: list[tuple[np.ndarray, Groups]], scores: np.ndarray, start: Solution
) -> Solution:
    """The disjoint choice among nested proposals with the largest sum of size times score.

    `levels` are one hierarchy's proposals from small to large: proposal numbers int64 (P,) and their
    rows. `scores` is indexed by proposal number. `start` is the finest choice.
    """
    chosen, score = start.chosen.copy(), start.score.copy()
    for numbers, groups in levels:
        if len(groups):
            below = np.add.reduceat(score[groups.members], groups.offsets[:-1]) / groups.sizes
            better = (scores[numbers] > below)[groups.owners]
            rows, owners = groups.members[better], groups.owners[better]
            chosen[rows], score[rows] = numbers[owners], scores[numbers[owners]]
    return Solution(chosen, score)


def better_in_each_place(first: Solution, second: Solution) -> Solution:
    """Join two solutions: where clusters overlap, the side with more score.

    A place is a connected component of the overlaps between clusters of the two, so no cluster is
    cut; ties go to the first.
    """
    count = len(first.chosen)
    cluster_1, cluster_2 = cluster_index(first.chosen), cluster_index(second.chosen)
    shape = (int(cluster_1.max()) + 1, int(cluster_2.max()) + 1)
    overlap = coo_matrix(
        (np.ones(count, np.int8), (cluster_1, cluster_2 + shape[0])), (sum(shape), sum(shape))
    )
    place = connected_components(overlap, directed=False)[1][cluster_1]
    gain = np.bincount(place, weights=second.score - first.score)
    second_wins = gain[place] > 1e-9  # more than rounding errors of the sums
    return Solution(
        np.where(second_wins, second.chosen, first.chosen), np.where(second_wins, second.score, first.score)
    )


def cluster_index(chosen: np.ndarray) -> np.ndarray:
    """Clusters numbered from 0, int64 (N,): one for each proposal chosen and each row alone (-1)."""
    alone = chosen < 0
    index = np.empty(len(chosen), np.int64)
    used, index[~alone] = np.unique(chosen[~alone], return_inverse=True)
    index[alone] = len(used) + np.arange(alone.sum())
    return index


def cuts_of_hierarchies(rounds: list[Round], scores: np.ndarray, single_scores: np.ndarray) -> list[Solution]:
    """The optimal flat cut of each hierarchy, faces alone being its finest choice.

    `scores` (P,) is the predicted IoU of each proposal, numbered over all rounds, `single_scores`
    (N,) that of each face alone.
    """
    alone = Solution(np.full(len(single_scores), -1, np.int64), single_scores.astype(np.float64))
    return [optimal_flat_cut(levels, scores, alone) for levels in levels_of_hierarchies(rounds).values()]


def best_flat_cut(rounds: list[Round], scores: np.ndarray, single_scores: np.ndarray) -> np.ndarray:
    """The clusters that all hierarchies together support best, int64 (N,), numbered from 0.

    Arguments as those of `cuts_of_hierarchies`.
    """
    return cluster_index(
        reduce(better_in_each_place, cuts_of_hierarchies(rounds, scores, single_scores)).chosen
    )


def ranked_clusters(rounds: list[Round], scores: np.ndarray, single_scores: np.ndarray) -> np.ndarray:
    """The clusters of the paper's rank and de-overlap over all proposals and faces alone, int64 (N,),
    numbered from 0.

    Arguments as those of `cuts_of_hierarchies`.
    """
    groups = join_groups(all_proposals(rounds), single_faces(len(single_scores)))
    return cluster_index(
        rank_and_deoverlap(groups, np.concatenate([scores, single_scores]), len(single_scores))
    )


def levels_of_hierarchies(rounds: list[Round]) -> dict[str, list[tuple[np.ndarray, Groups]]]:
    """By hierarchy, its proposals from small to large, as `optimal_flat_cut` takes them."""
    every = all_proposals(rounds)
    first = np.cumsum([0, *(len(round_.proposals) for round_ in rounds)])
    hierarchies: dict[str, list[tuple[np.ndarray, Groups]]] = {}
    for number, round_ in enumerate(rounds):
        numbers = np.concatenate([np.arange(first[number], first[number + 1]), round_.repeats])
        hierarchies.setdefault(round_.hierarchy, []).append((numbers, take_groups(every, numbers)))
    return hierarchies


def all_proposals(rounds: list[Round]) -> Groups:
    """The proposals of all rounds, in the order of their numbers."""
    sizes = np.concatenate([np.zeros(0, np.int64), *(round_.proposals.sizes for round_ in rounds)])
    members = np.concatenate([np.zeros(0, MEMBER_DTYPE), *(round_.proposals.members for round_ in rounds)])
    return Groups(members, np.concatenate([[0], np.cumsum(sizes)]).astype(OFFSET_DTYPE))
