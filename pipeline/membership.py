"""Which faces belong to a cluster: outliers dropped, faces left over attached.

GCN-S of the paper (Yang et al., CVPR 2019, section 3.4) finds the outliers inside a proposal. Here
it judges a cluster's members and the faces left over beside it alike, measured against the cluster.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.formats import Groups, groups_from_labels, labels_from_groups, take_groups
from pipeline.measures import (
    NODE_MEASURES,
    NONE,
    Graph,
    Measured,
    inner_edges,
    measure_groups,
    measure_nodes,
    similarity_to_rest,
)

MEMBER_MEASURES = (*NODE_MEASURES, "five nearest inside", "similarity to the rival cluster", "is a member")
CORE = 3  # faces from which a cluster can tell who belongs to it
CLUSTERS_A_FACE = 3  # clusters that a face left over may join
PAIRS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Judged:
    """Pairs of a face and a cluster: `rows` int64 (M,), `cluster` int64 (M,) by number in the labels,
    `member` bool (M,), and the measures that the network judges them by."""

    rows: np.ndarray
    cluster: np.ndarray
    member: np.ndarray
    measured: Measured


def revise_members(
    graph: Graph, labels: np.ndarray, predict: Callable[[Measured], np.ndarray], threshold: float = 0.5
) -> np.ndarray:
    """Drop members that do not belong, and attach faces left over to the cluster they belong to most.

    `labels` int64 (N,) are clusters numbered from 0; `predict` gives each node's probability.
    Returns new labels, numbered from 0.
    """
    judged = [(part, predict(part.measured)) for part in judge_members(graph, labels)]
    if not judged:
        return labels
    rows, cluster, member, probability = (
        np.concatenate(column)
        for column in zip(
            *((p.rows, p.cluster, p.member, probability) for p, probability in judged), strict=True
        )
    )
    revised = labels.copy()
    dropped = rows[member & (probability < threshold)]
    revised[dropped] = labels.max() + 1 + np.arange(len(dropped))
    joining = np.flatnonzero(~member & (probability > threshold))
    joining = joining[np.argsort(probability[joining], kind="stable")]
    revised[rows[joining]] = cluster[joining]  # of several clusters the last, most probable one stays
    return np.unique(revised, return_inverse=True)[1]


def judge_members(graph: Graph, labels: np.ndarray) -> Iterator[Judged]:
    """Every face of a cluster of CORE or more against it, and every face left over against those near."""
    clusters = groups_from_labels(labels)
    faces, joins = possible_joins(graph, labels, clusters.sizes)
    large = np.flatnonzero(clusters.sizes >= CORE)
    ends = np.cumsum(clusters.sizes[large] + np.bincount(joins, minlength=len(clusters))[large])
    for chunk in np.split(large, np.flatnonzero(np.diff(ends // PAIRS_AT_ONCE)) + 1):
        if len(chunk):
            place = np.full(len(clusters), -1, np.int64)
            place[chunk] = np.arange(len(chunk))
            here = place[joins] >= 0
            yield judge_chunk(graph, labels, clusters, chunk, faces[here], place[joins[here]])


def possible_joins(graph: Graph, labels: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Faces left over, and for each the clusters that hold most of its neighbors; int64 (J,) both."""
    left_over = np.flatnonzero(sizes[labels] < CORE)
    near = labels[graph.neighbors[left_over]]
    face, column = np.nonzero(sizes[near] >= CORE)
    pairs, counts = np.unique(
        left_over[face] * len(sizes) + near[face, column].astype(np.int64), return_counts=True
    )
    faces, clusters = np.divmod(pairs, len(sizes))
    order = np.lexsort((-counts, faces))
    faces, clusters = faces[order], clusters[order]
    best = np.arange(len(faces)) - np.searchsorted(faces, faces) < CLUSTERS_A_FACE
    return faces[best], clusters[best]


def judge_chunk(
    graph: Graph,
    labels: np.ndarray,
    clusters: Groups,
    chunk: np.ndarray,
    faces: np.ndarray,
    joins: np.ndarray,
) -> Judged:
    """Measure the members of some clusters, and `faces` against those clusters at the places `joins`."""
    calibrate = graph.calibration.calibrate
    groups = take_groups(clusters, chunk)
    sums, rest = similarity_to_rest(graph, groups)
    to_cluster = np.einsum("md,md->m", graph.unit[faces], sums[joins]) / groups.sizes[joins]
    owner = np.concatenate([groups.owners, joins])
    order = np.argsort(owner, kind="stable")
    owner, member = owner[order], order < len(groups.members)
    rows = np.concatenate([groups.members.astype(np.int64), faces])[order]
    rest_of_node = np.concatenate([rest, calibrate(to_cluster)])[order]
    owner_of_row = labels_from_groups(groups, len(graph.unit))
    nodes, inside = measure_nodes(graph, rows, owner, rest_of_node, owner_of_row, sums, groups.sizes)
    five = np.where(inside & (np.cumsum(inside, 1) <= 5), graph.similarities[rows], 0).sum(1)
    nodes = np.column_stack(
        [
            nodes,
            np.where(inside.any(1), five / np.clip(inside.sum(1), 1, 5), NONE),
            similarity_to_rival(graph, labels, clusters, rows, inside),
            member,
        ]
    ).astype(np.float32)
    proposals = measure_groups(graph, groups, sums, rest, nodes[member], groups.owners)
    edges, edge_similarity = inner_edges(graph, rows, inside, member)
    measured = Measured(nodes, proposals, rows, owner, edges, edge_similarity)
    return Judged(rows, chunk[owner], member, measured)


def similarity_to_rival(
    graph: Graph, labels: np.ndarray, clusters: Groups, rows: np.ndarray, inside: np.ndarray
) -> np.ndarray:
    """Mean similarity to the cluster of the nearest neighbor in another cluster of two or more, (M,)."""
    near = graph.neighbors[rows]
    others = ~inside & (clusters.sizes[labels[near]] > 1)
    some = np.flatnonzero(others.any(1))
    rival = labels[near[some, others[some].argmax(1)]]
    used, place = np.unique(rival, return_inverse=True)
    sums, _ = similarity_to_rest(graph, take_groups(clusters, used))
    cosines = np.einsum("md,md->m", graph.unit[rows[some]], sums[place]) / clusters.sizes[rival]
    similarity = np.full(len(rows), NONE, np.float32)
    similarity[some] = graph.calibration.calibrate(cosines)
    return similarity
