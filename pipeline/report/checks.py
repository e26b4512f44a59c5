"""What one looks at to judge clusters: typical faces, faces that fit least, and clusters alike.

Similarities are calibrated: standard deviations above strangers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.groups import Groups, labels_from_groups
from pipeline.judging.measures import NONE, Graph, similarity_to_rest
from pipeline.rows import giving_back, slices

OUTSIDERS = 3  # of a face's neighbors outside its cluster, the nearest this many are looked at
NEAR = 3  # nearest other clusters told of each
PAIRS_AT_ONCE = 1 << 14


@dataclass(frozen=True)
class Inspection:
    """What was found of C clusters with M faces; -1 and NONE where there is nothing to tell.

    `members` int64 (M,) are the rows of each cluster in turn, most typical first, `fit` float32 (M,)
    their mean similarity to the rest of the cluster. `rival` int64 (M,) is another cluster that the
    face is more similar to than to its own, `rival_fit` float32 (M,) how similar. `inside` float32
    (C,) is the mean similarity of a cluster's pairs. `near` int64 (C, NEAR) are the other clusters
    most similar to it, best first, `near_similarity` float32 (C, NEAR) the mean over pairs between.
    """

    members: np.ndarray
    fit: np.ndarray
    rival: np.ndarray
    rival_fit: np.ndarray
    inside: np.ndarray
    near: np.ndarray
    near_similarity: np.ndarray


def inspect_clusters(
    graph: Graph, groups: Groups, advance: Callable[[int], object] = lambda faces: None
) -> Inspection:
    """Inspect clusters, given as groups of rows of the graph; rows in no cluster are left out.

    `advance` is called with the number of faces done from time to time.
    """
    sizes, owners = groups.sizes, groups.owners
    sums, fit = similarity_to_rest(graph, groups)
    order = np.lexsort((groups.members, -fit, owners))
    members, fit = groups.members[order].astype(np.int64), fit[order]
    best, rival_fit, pairs = np.full(len(members), -1), np.full(len(members), NONE, np.float32), []
    owner_of_row = labels_from_groups(groups, len(graph.unit))
    for part in giving_back(slices(len(members), PAIRS_AT_ONCE), *graph.files, every=1):
        start = part.start
        face, other = clusters_outside(graph, members[part], owner_of_row)
        cosines = np.einsum("md,md->m", graph.unit[members[part][face]], sums[other]) / sizes[other]
        similarity = graph.calibration.calibrate(cosines)
        rising = np.argsort(similarity, kind="stable")  # of several clusters the last, most similar stays
        best[start + face[rising]], rival_fit[start + face[rising]] = other[rising], similarity[rising]
        pairs.append(np.unique(owners[start + face] * len(groups) + other))
        advance(len(members[part]))
    rival = np.where((rival_fit > fit) & (sizes[owners] > 1), best, -1)
    near, near_similarity = nearest_clusters(graph, sums, sizes, np.concatenate(pairs))
    inside = np.add.reduceat(fit, groups.offsets[:-1]) / sizes
    return Inspection(members, fit, rival, rival_fit, inside.astype(np.float32), near, near_similarity)


def clusters_outside(
    graph: Graph, rows: np.ndarray, owner_of_row: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The clusters of each row's nearest neighbors outside its own: places in `rows`, and clusters."""
    near = owner_of_row[graph.neighbors[rows]]
    outside = (near >= 0) & (near != owner_of_row[rows][:, None])
    place, column = np.nonzero(outside & (np.cumsum(outside, axis=1) <= OUTSIDERS))
    return place, near[place, column]


def nearest_clusters(
    graph: Graph, sums: np.ndarray, sizes: np.ndarray, pairs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The NEAR most similar partners of each cluster among `pairs`, and how similar: (C, NEAR) both.

    `sums` (C, D) are of unit rows; a pair of clusters a and b is the number a * C + b.
    """
    first, second = np.divmod(pairs, len(sizes))
    keys = np.unique(np.minimum(first, second) * len(sizes) + np.maximum(first, second))
    first, second = np.divmod(keys, len(sizes))
    similarity = np.empty(len(keys), np.float32)
    for part in slices(len(keys), PAIRS_AT_ONCE):
        a, b = first[part], second[part]
        cosines = np.einsum("md,md->m", sums[a], sums[b]) / (sizes[a] * sizes[b])
        similarity[part] = graph.calibration.calibrate(cosines)
    first, second = np.concatenate([first, second]), np.concatenate([second, first])
    similarity = np.tile(similarity, 2)
    order = np.lexsort((second, -similarity, first))
    first, second, similarity = first[order], second[order], similarity[order]
    rank = np.arange(len(first)) - np.searchsorted(first, first)
    few = rank < NEAR
    near = np.full((len(sizes), NEAR), -1)
    near_similarity = np.full((len(sizes), NEAR), NONE, np.float32)
    near[first[few], rank[few]], near_similarity[first[few], rank[few]] = second[few], similarity[few]
    return near, near_similarity
