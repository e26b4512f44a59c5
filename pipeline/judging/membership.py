"""Which faces belong to a cluster: outliers dropped, faces left over attached.

GCN-S of the paper (Yang et al., CVPR 2019, section 3.4) finds the outliers inside a proposal. Here
it judges a cluster's members and the faces left over beside it alike, measured against the cluster.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from common.profile import step
from common.progress import bar
from common.threads import in_threads

import numpy as np

from pipeline.groups import Groups, groups_from_labels, take_groups
from pipeline.judging.measures import (
    NODE_MEASURES,
    NODES_AT_ONCE,
    NONE,
    Graph,
    Measured,
    Neighborhoods,
    bounded_chunks,
    inner_edges,
    measure_groups,
    measure_nodes,
    neighborhoods,
    similarity_to_rest,
    spread_sample,
    two_parts,
)
from pipeline.rows import giving_back, slices

MEMBER_MEASURES = (*NODE_MEASURES, "five nearest inside", "similarity to the rival cluster", "is a member")
CORE = 3  # least faces of a cluster that is revised
CLUSTERS_A_FACE = 3  # clusters that a left-over face is judged against
# Probability to belong below which a member is dropped, and above which a face left over joins. A cluster was
# chosen as it is, so it takes more than doubt to drop a member. Cross-validated on lfw/train in both networks
# of benchmarks/, 0.05 to 0.5 to stay and 0.3 to 0.8 to join change pairwise and BCubed F by 0.25 at most, a
# CORE of 2 to 5 and CLUSTERS_A_FACE of 1 to 5 by 0.1.
MIN_TO_STAY, MIN_TO_JOIN = 0.2, 0.5


@dataclass(frozen=True)
class Judged:
    """Pairs of a face and a cluster: `rows` int64 (M,), `cluster` int64 (M,) by number in the labels,
    `member` bool (M,), and the measures that the network judges them by."""

    rows: np.ndarray
    cluster: np.ndarray
    member: np.ndarray
    measured: Measured


def revise_members(graph: Graph, labels: np.ndarray, predict: Callable[[Measured], np.ndarray]) -> np.ndarray:
    """Drop members that do not belong, and attach faces left over to the cluster they belong to most.

    `labels` int64 (N,) are clusters numbered from 0; `predict` gives each node's probability.
    Returns new labels, numbered from 0.
    """

    def probabilities(judged: Judged) -> tuple[np.ndarray, ...]:
        return judged.rows, judged.cluster, judged.member, predict(judged.measured)

    parts = []
    faces = int((np.bincount(labels)[labels] >= CORE).sum())
    if not faces:
        return labels
    with step("revise members"), bar(faces, "revising members", "faces") as progress:
        for part in judge_members(graph, labels, probabilities):
            parts.append(part)
            progress.update(int(part[2].sum()))
    rows, cluster, member, probability = (np.concatenate(column) for column in zip(*parts, strict=True))
    revised = labels.copy()
    dropped = rows[member & (probability < MIN_TO_STAY)]
    revised[dropped] = labels.max() + 1 + np.arange(len(dropped))
    joining = np.flatnonzero(~member & (probability > MIN_TO_JOIN))
    joining = joining[np.argsort(probability[joining], kind="stable")]
    revised[rows[joining]] = cluster[joining]  # of several clusters the last, most probable one stays
    return np.unique(revised, return_inverse=True)[1]


def attach_faces(
    graph: Graph,
    labels: np.ndarray,
    faces: np.ndarray,
    may_join: Callable[[np.ndarray, int, int], bool],
    predict: Callable[[Measured], np.ndarray],
) -> np.ndarray:
    """Attach faces that are left over, int64, each to the cluster that it belongs to most, if to any.

    `may_join(labels, face, cluster)` is asked before each; the other arguments are those of
    `revise_members`. Returns new labels, numbered from 0.
    """
    clusters = groups_from_labels(labels)
    asking, joins = nearest_joins(graph, labels, faces, clusters.sizes)
    if not len(asking):
        return labels
    near, place = np.unique(joins, return_inverse=True)
    judged = judge_chunk(graph, labels, clusters, near, asking, place, cluster_sums(graph, clusters))
    probability = np.where(judged.member, 0, predict(judged.measured))
    labels = labels.copy()
    joined = set()
    for pair in np.argsort(-probability, kind="stable")[: np.count_nonzero(probability > MIN_TO_JOIN)]:
        face, cluster = int(judged.rows[pair]), int(judged.cluster[pair])
        if face not in joined and may_join(labels, face, cluster):
            labels[face] = cluster
            joined.add(face)
    return np.unique(labels, return_inverse=True)[1]


def nearest_joins(
    graph: Graph, labels: np.ndarray, faces: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The clusters of CORE or more that each face's neighbors are of, the nearest few; int64 (J,) both."""
    near = labels[graph.neighbors[faces]]
    face, column = np.nonzero(sizes[near] >= CORE)
    pairs, first = np.unique(face * len(sizes) + near[face, column], return_index=True)
    face, cluster = first_few(*np.divmod(pairs, len(sizes)), first)
    return faces[face], cluster


def first_few(face: np.ndarray, cluster: np.ndarray, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of pairs the CLUSTERS_A_FACE of lowest rank for each face, by face; int64 (J,) both."""
    order = np.lexsort((rank, face))
    face, cluster = face[order], cluster[order]
    few = np.arange(len(face)) - np.searchsorted(face, face) < CLUSTERS_A_FACE
    return face[few], cluster[few]


def judge_members(
    graph: Graph, labels: np.ndarray, see: Callable[[Judged], Any] = lambda judged: judged
) -> Iterator[Any]:
    """Every face of a cluster of CORE or more against it, and every face left over against those near.

    Yields what `see` makes of each part, so that the parts need not be in memory all at once.
    """
    clusters = groups_from_labels(labels)
    faces, joins = possible_joins(graph, labels, clusters.sizes)
    first_join = np.searchsorted(joins, np.arange(len(clusters) + 1))
    large = np.flatnonzero(clusters.sizes >= CORE)
    rivals = cluster_sums(graph, clusters)

    def judge(chunk: np.ndarray) -> Any:
        here = np.concatenate([np.arange(first_join[c], first_join[c + 1]) for c in chunk.tolist()])
        place = np.searchsorted(chunk, joins[here])
        return see(judge_chunk(graph, labels, clusters, chunk, faces[here], place, rivals))

    judged = clusters.sizes[large] + np.diff(first_join)[large]
    # Half as many as of proposals: of each face is read its rival cluster, too.
    chunks = (large[chunk] for chunk in bounded_chunks(judged, NODES_AT_ONCE // 2))
    yield from giving_back(in_threads(judge, chunks), *graph.files)


def possible_joins(graph: Graph, labels: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Faces left over and the clusters that hold most of their neighbors; int64 (J,) both, by cluster."""
    left_over = np.flatnonzero(sizes[labels] < CORE)
    found = [np.zeros((2, 0), np.int64)]
    for part in slices(len(left_over)):
        faces = left_over[part]
        near = labels[graph.neighbors[faces]]
        face, column = np.nonzero(sizes[near] >= CORE)
        pairs, counts = np.unique(face * len(sizes) + near[face, column], return_counts=True)
        face, clusters = first_few(*np.divmod(pairs, len(sizes)), -counts)
        found.append(np.stack([faces[face], clusters]))
    faces, joins = np.concatenate(found, 1)
    order = np.argsort(joins, kind="stable")
    return faces[order], joins[order]


def cluster_sums(graph: Graph, clusters: Groups) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the unit rows of the clusters of two or more, (C, D), and the place of each cluster's."""
    some = np.flatnonzero(clusters.sizes > 1)
    place = np.full(len(clusters), -1)
    place[some] = np.arange(len(some))
    return similarity_to_rest(graph, take_groups(clusters, some))[0], place


def judge_chunk(
    graph: Graph,
    labels: np.ndarray,
    clusters: Groups,
    chunk: np.ndarray,
    faces: np.ndarray,
    joins: np.ndarray,
    rivals: tuple[np.ndarray, np.ndarray],
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
    unit = graph.unit[rows]
    near = neighborhoods(graph, rows, owner, groups)
    sample = spread_sample(rest, groups)
    parts = two_parts(unit[np.flatnonzero(member)[sample]], groups.owners[sample], rest[sample])
    nodes = measure_nodes(graph, rows, unit, owner, rest_of_node, near, sums, groups.sizes, parts)
    five = np.where(near.inside & (near.count <= 5), near.similarities, 0).sum(1)
    nodes = np.column_stack(
        [
            nodes,
            np.where(near.count[:, -1], five / np.clip(near.count[:, -1], 1, 5), NONE),
            similarity_to_rival(graph, labels, clusters, unit, near, rivals),
            member,
        ]
    ).astype(np.float32)
    proposals = measure_groups(graph, groups, sums, rest, nodes[member], groups.owners, parts)
    edges, edge_similarity = inner_edges(near, np.flatnonzero(member))
    measured = Measured(nodes, proposals, rows, owner, edges, edge_similarity)
    return Judged(rows, chunk[owner], member, measured)


def similarity_to_rival(
    graph: Graph,
    labels: np.ndarray,
    clusters: Groups,
    unit: np.ndarray,
    near: Neighborhoods,
    rivals: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Mean similarity to the cluster of the nearest neighbor in another cluster of two or more, (M,).

    `unit` float32 (M, D) are the faces' unit rows, `rivals` is of `cluster_sums`.
    """
    sums, place = rivals
    cluster = labels[near.faces]
    others = ~near.inside & (clusters.sizes[cluster] > 1)
    some = np.flatnonzero(others.any(1))
    rival = cluster[some, others[some].argmax(1)]
    cosines = np.einsum("md,md->m", unit[some], sums[place[rival]]) / clusters.sizes[rival]
    similarity = np.full(len(unit), NONE, np.float32)
    similarity[some] = graph.calibration.calibrate(cosines)
    return similarity
