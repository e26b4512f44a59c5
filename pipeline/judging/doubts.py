"""What is doubtful in clusters: which two might be one person, and which one might be two.

Two clusters, and the two sides of a cut through one, are judged in the same way: by how similar the best
pairs of faces between them are, and by whether GCN-D predicts a higher IoU for the union than for its sides.
Similarities are calibrated: standard deviations above impostor pairs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from pipeline.groups import MEMBER_DTYPE, OFFSET_DTYPE, Groups, labels_from_groups, take_groups
from pipeline.judging.cluster import Predict, score_groups
from pipeline.judging.measures import Graph, similarity_to_rest
from pipeline.rows import slices

OUTSIDERS = 10  # nearest neighbors outside a face's cluster that are looked at
BEST = 3  # most similar pairs of faces whose mean is the evidence for two sides
NEAR = 5  # nearest other clusters judged for each cluster
CUTS = 8  # highest cuts of a cluster's tree that are judged
TREE_FACES = 2000  # the tree of a larger cluster is of a sample of this many
SIDE_ROWS = 1024  # rows of a side compared with the other at once
# The chance that two sides are one person: a logistic regression on the pairs and cuts of lfw/train in
# both networks' features; benchmarks/corrections.py --fit computes it again.
OF_BEST, OF_GAIN, OF_TOGETHER, OF_NOTHING = 8.14, 3.51, 3.46, -9.23


@dataclass(frozen=True)
class Doubts:
    """What might be wrong in C clusters with M faces.

    `near` int64 (C, NEAR) are the clusters that each might be one person with, likeliest first, -1 where
    there are no more, and `chance` float32 (C, NEAR) how likely that is. `alike` int64 (M,) are the rows
    of each cluster in turn, similar ones side by side. `cuts` int64 (K, 4) are cuts of a cluster in two:
    its number, and where in its part of `alike` the first side begins, and the second, and that ends;
    `cut_chance` float32 (K,) is the chance that both sides are one person.
    """

    near: np.ndarray
    chance: np.ndarray
    alike: np.ndarray
    cuts: np.ndarray
    cut_chance: np.ndarray


def find_doubts(graph: Graph, groups: Groups, predict_iou: Predict) -> Doubts:
    """Judge the nearest clusters of each, and the highest cuts through each.

    Rows in no group are left out; `predict_iou` maps measures to each proposal's IoU.
    """
    members = np.split(groups.members.astype(np.int64), groups.offsets[1:-1])
    pairs = near_pairs(graph, groups)
    near, chance = ranked(pairs, chances(judge_pairs(graph, groups, pairs, predict_iou), False), len(groups))
    alike, cuts = cut_clusters(graph, members)
    cut_chance = chances(judge_cuts(graph, groups, alike, cuts, predict_iou), True)
    return Doubts(near, chance, np.concatenate(alike), cuts, cut_chance)


def chances(evidence: np.ndarray, together: bool) -> np.ndarray:
    """The chance that two sides are one person, float32 (P,), by `evidence` (P, 2) of `judge_sides`.

    `together` says that both sides are in one cluster, which is evidence for one person.
    """
    logit = evidence @ [OF_BEST, OF_GAIN] + OF_TOGETHER * together + OF_NOTHING
    return (1 / (1 + np.exp(-logit))).astype(np.float32)


# --- pairs of clusters -----------------------------------------------------------------------------


def near_pairs(graph: Graph, groups: Groups) -> np.ndarray:
    """Pairs of groups, int64 (P, 2), that are among the NEAR nearest of either."""
    if not graph.neighbors.shape[1]:  # one face
        return np.zeros((0, 2), np.int64)
    pairs, weight = linked_pairs(graph, groups)
    few = np.zeros(len(pairs), bool)
    for side in pairs.T:
        order = np.lexsort((-weight, side))
        rank = np.arange(len(order)) - np.searchsorted(side[order], side[order])
        few[order[rank < NEAR]] = True
    return pairs[few]


def judge_pairs(graph: Graph, groups: Groups, pairs: np.ndarray, predict_iou: Predict) -> np.ndarray:
    """`judge_sides` of pairs of groups, int64 (P, 2)."""
    members = np.split(groups.members.astype(np.int64), groups.offsets[1:-1])
    sides = [(members[a], members[b]) for a, b in pairs.tolist()]
    judged, place = np.unique(pairs, return_inverse=True)
    ious = score_groups(graph, [take_groups(groups, judged)], predict_iou)[place.reshape(pairs.shape)]
    return judge_sides(graph, groups, sides, pairs.tolist(), ious, predict_iou)


def linked_pairs(graph: Graph, groups: Groups) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of groups some of whose faces are neighbors: int64 (P, 2), the lower number first.

    Also the mean similarity of their BEST most similar pairs of faces, float32 (P,), as far as those are
    neighbors.
    """
    owner = labels_from_groups(groups, len(graph.unit))
    found = []
    for part in slices(len(graph.unit)):
        rows = np.arange(part.start, part.stop)
        neighbors = graph.neighbors[rows]
        own, others = owner[rows][:, None], owner[neighbors]
        outside = (own >= 0) & (others >= 0) & (others != own)
        place, column = np.nonzero(outside & (np.cumsum(outside, axis=1) <= OUTSIDERS))
        face, other = rows[place], neighbors[place, column].astype(np.int64)
        link = np.minimum(face, other) * len(graph.unit) + np.maximum(face, other)
        found.append((link, graph.similarities(rows)[place, column]))
    links, weights = (np.concatenate(column) for column in zip(*found, strict=True))
    links, first = np.unique(links, return_index=True)  # most are found from both sides
    weight = weights[first]
    a, b = (owner[rows] for rows in np.divmod(links, len(graph.unit)))
    key = np.minimum(a, b) * len(groups) + np.maximum(a, b)
    order = np.lexsort((-weight, key))
    key, weight = key[order], weight[order]
    pairs, start, inverse = np.unique(key, return_index=True, return_inverse=True)
    best = np.arange(len(key)) - start[inverse] < BEST
    counts = np.bincount(inverse[best], minlength=len(pairs))
    mean = np.bincount(inverse[best], weight[best], len(pairs)) / np.maximum(counts, 1)
    return np.stack(np.divmod(pairs, len(groups)), 1), mean.astype(np.float32)


def ranked(pairs: np.ndarray, chance: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The partners of each of `count` clusters, likeliest first, and how likely: (count, NEAR) both."""
    one, other, chance = pairs.T.ravel(), pairs[:, ::-1].T.ravel(), np.tile(chance, 2)
    order = np.lexsort((other, -chance, one))
    one, other, chance = one[order], other[order], chance[order]
    rank = np.arange(len(one)) - np.searchsorted(one, one)
    few = rank < NEAR
    near, chances = np.full((count, NEAR), -1), np.zeros((count, NEAR), np.float32)
    near[one[few], rank[few]], chances[one[few], rank[few]] = other[few], chance[few]
    return near, chances


# --- cuts of a cluster -----------------------------------------------------------------------------


def cut_clusters(graph: Graph, members: Sequence[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
    """`alike`, cluster by cluster, and `cuts` of `Doubts`, of clusters given as rows, int64."""
    alike, cuts = [], []
    for cluster, rows in enumerate(members):
        ordered, bounds = cut_cluster(graph, rows)
        alike.append(ordered)
        cuts += [(cluster, *bound) for bound in bounds]
    return alike, np.array(cuts, np.int64).reshape(-1, 4)


def judge_cuts(
    graph: Graph, groups: Groups, alike: list[np.ndarray], cuts: np.ndarray, predict_iou: Predict
) -> np.ndarray:
    """`judge_sides` of both sides of cuts."""
    sides = [
        (np.sort(alike[cluster][start:middle]), np.sort(alike[cluster][middle:end]))
        for cluster, start, middle, end in cuts.tolist()
    ]
    keys = cuts[:, :1].tolist()  # the sides of one cluster's cuts hold one another
    both = [[pair[side] for pair in sides] for side in range(2)]
    ious = np.stack([score_sets(graph, side, keys, predict_iou) for side in both], 1)
    return judge_sides(graph, groups, sides, keys, ious, predict_iou)


def cut_cluster(graph: Graph, rows: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """A cluster's rows with similar ones side by side, and its highest cuts, both by average linkage.

    A cut is places among the rows: where the first side begins, and the second, and where that ends.
    """
    if len(rows) < 2:
        return rows, []
    step = -(-len(rows) // TREE_FACES)
    unit = graph.unit[rows[::step]]
    distance = np.maximum(1 - unit @ unit.T, 0).astype(np.float64)
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), "average")
    place = np.argsort(leaves_list(tree))
    if step > 1:  # the others go beside the most similar face of the sample
        like = [(graph.unit[rows[part]] @ unit.T).argmax(1) for part in slices(len(rows))]
        place = place[np.concatenate(like)]
    order = np.argsort(place, kind="stable")
    bounds = np.searchsorted(place[order], np.arange(len(unit) + 1)).tolist()
    return rows[order], [tuple(bounds[at] for at in cut) for cut in highest_cuts(tree)]


def highest_cuts(tree: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """The highest CUTS merges of a tree of scipy's, as places among its leaves: start, middle, end."""
    count = len(tree) + 1
    start_of = {2 * count - 2: 0}

    def size(node: int) -> int:
        return 1 if node < count else int(tree[node - count, 3])

    for node in range(2 * count - 2, max(count, 2 * count - 1 - CUTS) - 1, -1):
        left, right = tree[node - count, :2].astype(int).tolist()
        start, middle = start_of[node], start_of[node] + size(left)
        start_of[left], start_of[right] = start, middle
        yield start, middle, middle + size(right)


# --- judging two sides -------------------------------------------------------------------------------


def judge_sides(
    graph: Graph,
    groups: Groups,
    sides: Sequence[tuple[np.ndarray, np.ndarray]],
    keys: Sequence[Sequence[int]],
    ious: np.ndarray,
    predict_iou: Predict,
) -> np.ndarray:
    """Evidence that two sides, rows int64, are one person, float32 (P, 2).

    First the similarity of the best pairs of faces between them, divided by that of two faces of one group
    (the median over groups); then the IoU that GCN-D predicts for the union less that of the sides. `keys`
    say which unions may overlap: those with a number in common. `ious` (P, 2) are predicted for the sides.
    """
    best = np.array([best_pairs(graph, *pair) for pair in sides], np.float32) / similarity_inside(
        graph, groups
    )
    sizes = np.array([[len(one), len(other)] for one, other in sides]).reshape(-1, 2)
    unions = [np.sort(np.concatenate(pair)) for pair in sides]
    gain = score_sets(graph, unions, keys, predict_iou) - (ious * sizes).sum(1) / sizes.sum(1)
    return np.column_stack([best, gain]).astype(np.float32)


def similarity_inside(graph: Graph, groups: Groups) -> float:
    """The mean similarity of a group's pairs, the median of groups of two or more; 1 at least."""
    several = take_groups(groups, np.flatnonzero(groups.sizes > 1))
    if not len(several):
        return 1.0
    rest = similarity_to_rest(graph, several)[1]
    inside = np.add.reduceat(rest, several.offsets[:-1]) / several.sizes
    return max(float(np.median(inside)), 1.0)


def best_pairs(graph: Graph, one: np.ndarray, other: np.ndarray) -> float:
    """Mean similarity of the best BEST pairs of faces of both sides, or of all where there are fewer."""
    best = np.zeros(0, np.float32)
    for part in slices(len(one), SIDE_ROWS):
        cosines = (graph.unit[one[part]] @ graph.unit[other].T).ravel()
        best = np.append(best, cosines)
        best = np.partition(best, -min(BEST, len(best)))[-BEST:]
    return float(graph.calibration.calibrate(best).mean())


def score_sets(
    graph: Graph, sets: Sequence[np.ndarray], keys: Sequence[Sequence[int]], predict_iou: Predict
) -> np.ndarray:
    """Predicted IoU of sets of ascending rows, float32; only those with a key in common may overlap."""
    levels: list[list[int]] = []
    free: dict[int, int] = {}  # the first level on which a key may stand
    for place, key in enumerate(keys):
        level = max(free.get(number, 0) for number in key)
        free |= dict.fromkeys(key, level + 1)
        if level == len(levels):
            levels.append([])
        levels[level].append(place)
    scores = np.empty(len(sets), np.float32)
    groups = [groups_of_sets([sets[place] for place in level]) for level in levels]
    scores[[place for level in levels for place in level]] = score_groups(graph, groups, predict_iou)
    return scores


def groups_of_sets(sets: Sequence[np.ndarray]) -> Groups:
    """Sets of ascending rows as groups."""
    offsets = np.cumsum([0, *map(len, sets)]).astype(OFFSET_DTYPE)
    return Groups(np.concatenate(sets).astype(MEMBER_DTYPE), offsets)
