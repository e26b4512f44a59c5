"""What the graph network sees of a proposal: calibrated similarities inside it and across its border.

No raw coordinate of a feature enters, so one network serves features of any origin and dimension.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.calibrate import Calibration
from pipeline.formats import MEMBER_DTYPE, OFFSET_DTYPE, Groups, labels_from_groups

NODE_MEASURES = (
    "nearest inside",
    "mean inside",
    "share of neighbors inside",
    "nearest outside",
    "third nearest outside",
    "rank of nearest outside",
    "similarity to the rest of the proposal",
    "similarity of the nearest outside face to the proposal",
    "nearest outside less that face's own nearest",
    "share of weight inside",
    "nearest",
    "tenth nearest",
    "last neighbor",
    "in-degree among ten",
    "in-degree",
)
PROPOSAL_MEASURES = (
    "log size",
    "mean pair",
    "lowest member",
    "highest outsider",
    "log count",
    "nearest, 10th percentile",
    "nearest, median",
    "nearest, 90th percentile",
    "tenth nearest, median",
    "last neighbor, median",
)
HIGHEST_OUTSIDER = NODE_MEASURES.index("similarity of the nearest outside face to the proposal")
FACES_A_PROPOSAL = 64  # of a larger proposal, this many faces are measured
NODES_AT_ONCE = 1 << 15
EDGES_A_NODE = 8
NONE = -3.0  # stands for "no such face" among calibrated similarities: below what strangers reach


@dataclass(frozen=True)
class Graph:
    """The affinity graph with what is measured once a face.

    `unit` float32 (N, D), rows of length one; `neighbors` int32 (N, k); `similarities` float32
    (N, k), calibrated; `in_degree` float32 (N, 2); `context` float32 (6,), measures of the whole
    graph, the last of PROPOSAL_MEASURES.
    """

    unit: np.ndarray
    neighbors: np.ndarray
    similarities: np.ndarray
    calibration: Calibration
    in_degree: np.ndarray
    context: np.ndarray


def measured_graph(
    unit: np.ndarray, neighbors: np.ndarray, cosines: np.ndarray, calibration: Calibration
) -> Graph:
    """Calibrate the affinity graph and take its measures; (N, D), and (N, k) best first."""
    similarities = calibration.calibrate(cosines)
    tenth = similarities[:, min(9, similarities.shape[1] - 1)]
    context = np.array(
        [
            np.log(len(unit)) / 10,
            *np.quantile(similarities[:, 0], [0.1, 0.5, 0.9]),
            np.median(tenth),
            np.median(similarities[:, -1]),
        ],
        np.float32,
    )
    return Graph(unit, neighbors, similarities, calibration, in_degrees(neighbors), context)


def in_degrees(neighbors: np.ndarray) -> np.ndarray:
    """float32 (N, 2): log1p of the in-degree over its mean, among ten and among all k neighbors."""
    columns = []
    for width in (10, neighbors.shape[1]):
        near = neighbors[:, :width]
        counts = np.bincount(near.ravel(), minlength=len(neighbors))
        columns.append(np.log1p(counts / counts.mean()))
    return np.stack(columns, 1).astype(np.float32)


@dataclass(frozen=True)
class Measured:
    """Inputs of the graph network for P proposals.

    `nodes` float32 (M, len(NODE_MEASURES)); `proposals` float32 (P, len(PROPOSAL_MEASURES));
    `rows` int64 (M,), the face of each node; `owner` int64 (M,), the proposal of each node,
    ascending; `edges` int64 (2, E), from neighbor to node, by ascending node; `edge_similarity`
    float32 (E,).
    """

    nodes: np.ndarray
    proposals: np.ndarray
    rows: np.ndarray
    owner: np.ndarray
    edges: np.ndarray
    edge_similarity: np.ndarray

    @property
    def inputs(self) -> tuple[np.ndarray, ...]:
        """What the graph network takes, in its order."""
        return self.nodes, self.proposals, self.owner, self.edges, self.edge_similarity


def bounded_chunks(groups: Groups) -> Iterator[np.ndarray]:
    """Indices of groups in order, in chunks of about NODES_AT_ONCE measured faces."""
    if not len(groups):
        return
    nodes = np.cumsum(np.minimum(groups.sizes, FACES_A_PROPOSAL))
    yield from np.split(np.arange(len(groups)), np.flatnonzero(np.diff(nodes // NODES_AT_ONCE)) + 1)


def measure(graph: Graph, groups: Groups) -> Measured:
    """Measure proposals that do not overlap, at least one, given as groups of rows of the graph."""
    owner_of_row = labels_from_groups(groups, len(graph.unit))
    sums, rest = similarity_to_rest(graph, groups)
    kept = spread_sample(rest, groups)
    rows, owner = groups.members[kept].astype(np.int64), groups.owners[kept]
    nodes, inside = measure_nodes(graph, rows, owner, rest[kept], owner_of_row, sums, groups.sizes)
    proposals = measure_groups(graph, groups, sums, rest, nodes, owner)
    edges, edge_similarity = inner_edges(graph, rows, inside, np.ones(len(rows), bool))
    return Measured(nodes, proposals, rows, owner, edges, edge_similarity)


def measure_groups(
    graph: Graph, groups: Groups, sums: np.ndarray, rest: np.ndarray, nodes: np.ndarray, owner: np.ndarray
) -> np.ndarray:
    """PROPOSAL_MEASURES, float32 (G, 10); `nodes` and ascending `owner` are of some of the members."""
    sizes = groups.sizes
    squares = np.einsum("pd,pd->p", sums, sums)
    mean_pair = graph.calibration.calibrate((squares - sizes) / np.maximum(sizes * (sizes - 1), 1))
    first_node = np.searchsorted(owner, np.arange(len(groups)))
    return np.column_stack(
        [
            np.log(sizes),
            np.where(sizes > 1, mean_pair, NONE),
            np.minimum.reduceat(rest, groups.offsets[:-1]),
            np.maximum.reduceat(nodes[:, HIGHEST_OUTSIDER], first_node),
            np.tile(graph.context, (len(groups), 1)),
        ]
    ).astype(np.float32)


def measure_nodes(
    graph: Graph,
    rows: np.ndarray,
    owner: np.ndarray,
    rest: np.ndarray,
    owner_of_row: np.ndarray,
    sums: np.ndarray,
    sizes: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """NODE_MEASURES of faces against groups, float32 (M, 15), and which neighbors are inside, (M, k).

    `rows` (M,) are the faces, `owner` (M,) the group each is measured against, `rest` (M,) its mean
    similarity to that group's other faces; `owner_of_row` (N,) is the group of every face, -1 for
    none; `sums` (G, D) and `sizes` (G,) are the groups' sums of unit rows and their sizes.
    """
    near, weight = graph.neighbors[rows], graph.similarities[rows]
    k, size = near.shape[1], sizes[owner].astype(np.float32)
    inside = owner_of_row[near] == owner[:, None]
    outside = ~inside
    count_inside, some_outside = inside.sum(1), outside.any(1)
    rank = np.where(some_outside, outside.argmax(1), k)
    nearest_outside = first_weight(outside, weight)
    stranger = near[np.arange(len(rows)), np.minimum(rank, k - 1)]
    stranger_to_all = np.einsum("md,md->m", graph.unit[stranger], sums[owner]) / size
    strength = np.maximum(weight - 2, 0)
    nodes = np.stack(
        [
            first_weight(inside, weight),
            np.where(count_inside, (weight * inside).sum(1) / np.maximum(count_inside, 1), NONE),
            count_inside / np.clip(size - 1, 1, k),
            nearest_outside,
            first_weight(outside & (np.cumsum(outside, 1) == 3), weight),
            np.log1p(rank) / np.log1p(np.minimum(size, k)),
            rest,
            np.where(some_outside, graph.calibration.calibrate(stranger_to_all), NONE),
            nearest_outside - np.where(some_outside, graph.similarities[stranger, 0], 0),
            (strength * inside).sum(1) / np.maximum(strength.sum(1), 1e-6),
            weight[:, 0],
            weight[:, min(9, k - 1)],
            weight[:, -1],
            graph.in_degree[rows, 0],
            graph.in_degree[rows, 1],
        ],
        1,
    )
    return nodes.astype(np.float32), inside


def inner_edges(
    graph: Graph, rows: np.ndarray, inside: np.ndarray, sends: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Edges int64 (2, E) to each node from its nearest neighbors inside, and their similarity.

    `rows` (M,) are the nodes' faces, `inside` (M, k) says which neighbors share the group; only nodes
    where `sends`, bool (M,), has no face twice, are sources.
    """
    near = graph.neighbors[rows]
    node_of_row = np.full(len(graph.unit), -1, np.int32)
    node_of_row[rows[sends]] = np.flatnonzero(sends)
    linked = inside & (np.cumsum(inside, 1) <= EDGES_A_NODE)
    linked[linked] = node_of_row[near[linked]] >= 0
    target, column = np.nonzero(linked)
    edges = np.stack([node_of_row[near[target, column]].astype(np.int64), target])
    return edges, graph.similarities[rows[target], column]


def similarity_to_rest(graph: Graph, groups: Groups) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the groups' unit rows (P, D), and each member's mean similarity to the others (M,)."""
    sums = np.empty((len(groups), graph.unit.shape[1]), np.float32)
    rest = np.empty(len(groups.members), np.float32)
    for chunk in np.array_split(np.arange(len(groups)), 1 + len(groups.members) // NODES_AT_ONCE):
        if not len(chunk):
            continue
        first, last = groups.offsets[chunk[0]], groups.offsets[chunk[-1] + 1]
        unit = graph.unit[groups.members[first:last]]
        sums[chunk] = np.add.reduceat(unit, groups.offsets[chunk] - first)
        size = np.repeat(groups.sizes[chunk], groups.sizes[chunk])
        all_ = np.einsum("md,md->m", unit, np.repeat(sums[chunk], groups.sizes[chunk], axis=0))
        rest[first:last] = np.where(
            size > 1, graph.calibration.calibrate((all_ - 1) / np.maximum(size - 1, 1)), NONE
        )
    return sums, rest


def spread_sample(rest: np.ndarray, groups: Groups) -> np.ndarray:
    """Positions in `members` to measure, ascending: all of a group, or FACES_A_PROPOSAL of it.

    The sample is spread evenly over the ranks of `rest`, so the order of the rows does not matter.
    """
    large = np.flatnonzero(groups.sizes > FACES_A_PROPOSAL)
    kept = np.ones(len(groups.members), bool)
    for group in large.tolist():
        first, last = groups.offsets[group], groups.offsets[group + 1]
        ranked = np.argsort(rest[first:last], kind="stable")
        kept[first:last] = False
        kept[first + ranked[np.linspace(0, last - first - 1, FACES_A_PROPOSAL).astype(int)]] = True
    return np.flatnonzero(kept)


def first_weight(mask: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The weight at the first true entry of each row of (M, k) arrays, NONE where there is none."""
    at, column = np.arange(len(mask)), mask.argmax(1)
    return np.where(mask[at, column], weight[at, column], NONE)


def single_faces(count: int) -> Groups:
    """Each of `count` faces as a group of its own."""
    return Groups(np.arange(count, dtype=MEMBER_DTYPE), np.arange(count + 1, dtype=OFFSET_DTYPE))
