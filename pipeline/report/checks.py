"""What helps to judge a cluster: its most typical faces, and those that fit least.

Similarities are calibrated: standard deviations above impostor pairs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.groups import Groups, labels_from_groups
from pipeline.judging.measures import NONE, Graph, similarity_to_rest
from pipeline.rows import giving_back, slices

OUTSIDERS = 3  # nearest neighbors outside a face's cluster that are looked at
PAIRS_AT_ONCE = 1 << 14


@dataclass(frozen=True)
class Inspection:
    """What was found of C clusters with M faces; -1 and NONE where there is none.

    `members` int64 (M,) are the rows of each cluster in turn, most typical first, `fit` float32 (M,)
    their mean similarity to the rest of the cluster. `rival` int64 (M,) is another cluster that the
    face is more similar to than to its own, `rival_fit` float32 (M,) how similar. `inside` float32
    (C,) is the mean similarity of a cluster's pairs, `outside` float32 (C,) that of the pairs between it
    and its nearest other cluster.
    """

    members: np.ndarray
    fit: np.ndarray
    rival: np.ndarray
    rival_fit: np.ndarray
    inside: np.ndarray
    outside: np.ndarray


def inspect_clusters(
    graph: Graph,
    groups: Groups,
    nearest: np.ndarray,
    advance: Callable[[int], object] = lambda faces: None,
) -> Inspection:
    """Inspect clusters, given as groups of rows of the graph; rows in no cluster are left out.

    `nearest` int64 (C,) is each cluster's nearest other one, -1 where it has none. `advance` is called
    with the number of faces done from time to time.
    """
    sizes, owners = groups.sizes, groups.owners
    sums, fit = similarity_to_rest(graph, groups)
    order = np.lexsort((groups.members, -fit, owners))
    members, fit = groups.members[order].astype(np.int64), fit[order]
    best, rival_fit = np.full(len(members), -1), np.full(len(members), NONE, np.float32)
    owner_of_row = labels_from_groups(groups, len(graph.unit))
    for part in giving_back(slices(len(members), PAIRS_AT_ONCE), *graph.files, every=1):
        start = part.start
        face, other = clusters_outside(graph, members[part], owner_of_row)
        cosines = np.einsum("md,md->m", graph.unit[members[part][face]], sums[other]) / sizes[other]
        similarity = graph.calibration.calibrate(cosines)
        rising = np.argsort(similarity, kind="stable")  # of several clusters the last, most similar stays
        best[start + face[rising]], rival_fit[start + face[rising]] = other[rising], similarity[rising]
        advance(len(members[part]))
    rival = np.where((rival_fit > fit) & (sizes[owners] > 1), best, -1)
    inside = np.add.reduceat(fit, groups.offsets[:-1]) / sizes
    outside = similarity_between(graph, sums, sizes, nearest)
    return Inspection(members, fit, rival, rival_fit, inside.astype(np.float32), outside)


def clusters_outside(
    graph: Graph, rows: np.ndarray, owner_of_row: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The clusters of each row's nearest neighbors outside its own: places in `rows`, and clusters."""
    near = owner_of_row[graph.neighbors[rows]]
    outside = (near >= 0) & (near != owner_of_row[rows][:, None])
    place, column = np.nonzero(outside & (np.cumsum(outside, axis=1) <= OUTSIDERS))
    return place, near[place, column]


def similarity_between(graph: Graph, sums: np.ndarray, sizes: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Mean similarity of the pairs between each cluster and another, float32 (C,); NONE where that is -1.

    `sums` (C, D) are of unit rows.
    """
    some = np.flatnonzero(other >= 0)
    cosines = np.einsum("md,md->m", sums[some], sums[other[some]]) / (sizes[some] * sizes[other[some]])
    similarity = np.full(len(sizes), NONE, np.float32)
    similarity[some] = graph.calibration.calibrate(cosines)
    return similarity
