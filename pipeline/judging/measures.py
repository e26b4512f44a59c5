"""What the graph network sees of a proposal: calibrated similarities inside it and across its border.

No coordinate of a feature enters, so one set of weights serves features of any network and dimension.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from pipeline.calibration import Calibration
from pipeline.files.features import SCAN_ROWS
from pipeline.groups import Groups, sums_of_groups
from pipeline.rows import Rows, blocks, slices

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
    "share inside of as many neighbors as members",
    "similarity to the larger part",
    "similarity to the smaller part",
)
PROPOSAL_MEASURES = (
    "log size",
    "mean pair",
    "lowest member",
    "highest outsider",
    "between its parts",
    "within the larger part",
    "within the smaller part",
    "log size of the smaller part",
    "log count",
    "nearest of so many impostors",
    "nearest, 10th percentile",
    "nearest, median",
    "nearest, 90th percentile",
    "tenth nearest, median",
    "last neighbor, median",
)
CONTEXT = 7
TENTH, LAST = 10, 80  # neighbors whose similarity is a measure; NONE where there are not so many
PART_STEPS = 3  # of k-means with two means
HIGHEST_OUTSIDER = NODE_MEASURES.index("similarity of the nearest outside face to the proposal")
FACES_A_PROPOSAL = 64  # a larger proposal is measured by a sample of this many faces
# Bounds of what is measured and judged at once; there are at most EDGES_A_NODE edges per node. The rows of
# so many faces fit into the processor's cache.
NODES_AT_ONCE = 1 << 12
MEMBERS_AT_ONCE = 1 << 11
EDGES_A_NODE = 8
NONE = -3.0  # a similarity of "no such face": one normal impostor pair in 740 is lower


@dataclass(frozen=True)
class Graph:
    """The affinity graph with what is measured once for each face.

    `unit` float32 (N, D), rows of length one; `neighbors` int32 (N, k) and `cosines` float32 (N, k),
    best first; `nearest` float32 (N,), each face's highest similarity; `in_degree` float32 (N, 2);
    `context` float32 (CONTEXT,), measures of the whole graph, the last of PROPOSAL_MEASURES. Similarities
    are calibrated cosines.
    """

    unit: Rows
    neighbors: Rows
    cosines: Rows
    calibration: Calibration
    nearest: np.ndarray
    in_degree: np.ndarray
    context: np.ndarray

    def similarities(self, rows: np.ndarray) -> np.ndarray:
        """The similarities of some faces to their neighbors, float32 (len(rows), k)."""
        return self.calibration.calibrate(self.cosines[rows])

    @property
    def files(self) -> tuple[Rows, Rows, Rows]:
        """The arrays of the graph that may be memory maps, for `giving_back`."""
        return self.unit, self.neighbors, self.cosines


def measured_graph(unit: Rows, neighbors: Rows, cosines: Rows, calibration: Calibration) -> Graph:
    """Measure the affinity graph of `unit` (N, D); `neighbors` and `cosines` are (N, k), best first."""
    k = cosines.shape[1]
    if not k:  # one face, which has no neighbor
        zeros = (np.zeros(shape, np.float32) for shape in (len(unit), (len(unit), 2), CONTEXT))
        return Graph(unit, neighbors, cosines, calibration, *zeros)
    columns = np.empty((3, len(unit)), np.float32)
    counts = np.zeros((2, len(unit)), np.int64)
    for part, block in blocks(cosines, SCAN_ROWS):
        here = calibration.calibrate(block)
        columns[:, part] = here[:, 0], nth(here, TENTH, len(unit)), nth(here, LAST, len(unit))
    for _, near in blocks(neighbors, SCAN_ROWS):
        for count, width in zip(counts, (10, k), strict=True):
            count += np.bincount(near[:, :width].ravel(), minlength=len(unit))
    nearest, tenth, last = columns
    context = np.array(
        [
            np.log(len(unit)) / 10,
            calibration.nearest_stranger(len(unit)),
            *np.quantile(nearest, [0.1, 0.5, 0.9]),
            np.median(tenth),
            np.median(last),
        ],
        np.float32,
    )
    # log1p of the in-degree over its mean, among ten and among all k neighbors
    in_degree = np.stack([np.log1p(count / count.mean()) for count in counts], 1).astype(np.float32)
    return Graph(unit, neighbors, cosines, calibration, nearest, in_degree, context)


def nth(similarities: np.ndarray, place: int, count: int) -> np.ndarray:
    """The similarity of the neighbor at `place`, counted from 1, float32 (M,), of (M, k) best first.

    NONE where a set of `count` faces has no such neighbor; that of the last neighbor where k is smaller, so
    that a place means the same in small and large sets.
    """
    if count - 1 < place:
        return np.full(len(similarities), NONE, np.float32)
    return similarities[:, min(place, similarities.shape[1]) - 1]


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


def bounded_chunks(sizes: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """Indices of groups in order, int64, in chunks of at most `most` faces, or of one larger group."""
    ends = np.cumsum(sizes)
    first = 0
    while first < len(sizes):
        room = ends[first] - sizes[first] + most
        last = max(first + 1, int(np.searchsorted(ends, room, side="right")))
        yield np.arange(first, last)
        first = last


def measured_sizes(groups: Groups) -> np.ndarray:
    """How many faces of each group are measured, int64 (G,)."""
    return np.minimum(groups.sizes, FACES_A_PROPOSAL)


def measure(graph: Graph, groups: Groups) -> Measured:
    """Measure proposals that do not overlap, at least one, given as groups of rows of the graph."""
    sums, rest = similarity_to_rest(graph, groups)
    kept = spread_sample(rest, groups)
    rows, owner = groups.members[kept].astype(np.int64), groups.owners[kept]
    unit = graph.unit[rows]
    near = neighborhoods(graph, rows, owner, groups)
    parts = two_parts(unit, owner, rest[kept])
    nodes = measure_nodes(graph, rows, unit, owner, rest[kept], near, sums, groups.sizes, parts)
    proposals = measure_groups(graph, groups, sums, rest, nodes, owner, parts)
    node_of_place = np.full(len(groups.members), -1, np.int32)
    node_of_place[kept] = np.arange(len(kept))
    edges, edge_similarity = inner_edges(near, node_of_place)
    return Measured(nodes, proposals, rows, owner, edges, edge_similarity)


@dataclass(frozen=True)
class Neighborhoods:
    """The neighbors of M faces, each measured against a group; all arrays are (M, k).

    `faces` int32; `similarities` float32; `inside` bool, whether a neighbor is in the group, and
    `place` int32, where in `members` of the groups if it is; `count` int32, how many are inside up to
    each neighbor, itself included.
    """

    faces: np.ndarray
    similarities: np.ndarray
    inside: np.ndarray
    place: np.ndarray
    count: np.ndarray


def neighborhoods(graph: Graph, rows: np.ndarray, owner: np.ndarray, groups: Groups) -> Neighborhoods:
    """The neighbors of faces `rows` int64 (M,), each measured against the group `owner` (M,)."""
    faces = graph.neighbors[rows]
    with placed(groups.members, len(graph.unit)) as place_of_row:
        place = place_of_row.take(faces)
    first, last = groups.offsets[:-1].astype(np.int32)[owner], groups.offsets[1:].astype(np.int32)[owner]
    inside = (place >= first[:, None]) & (place < last[:, None])
    count = np.cumsum(inside, 1, dtype=np.int32)
    return Neighborhoods(faces, graph.similarities(rows), inside, place, count)


_lent = threading.local()


@contextmanager
def placed(members: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """Where in `members` each of `count` rows is, -1 for nowhere, int32 (count,).

    Lent until the body ends: filling a new array for each chunk would take time quadratic in N.
    """
    place_of_row = getattr(_lent, "place_of_row", None)
    if place_of_row is None or len(place_of_row) != count:
        place_of_row = _lent.place_of_row = np.full(count, -1, np.int32)
    place_of_row[members] = np.arange(len(members), dtype=np.int32)
    try:
        yield place_of_row
    finally:
        place_of_row[members] = -1


@dataclass(frozen=True)
class Parts:
    """Two parts of each of G groups, the larger first: `sums` float32 (2, G, D) of their unit rows, and
    `sizes` int64 (2, G). The smaller part of a group of one is empty."""

    sums: np.ndarray
    sizes: np.ndarray

    def similarities(self, unit: np.ndarray, owner: np.ndarray, calibration: Calibration) -> np.ndarray:
        """Mean similarity of faces, float32 (M, D), to both parts of their group, float32 (2, M)."""
        cosines = np.stack([np.einsum("md,md->m", unit, sums[owner]) for sums in self.sums])
        sizes = self.sizes[:, owner]
        return np.where(sizes > 0, calibration.calibrate(cosines / np.maximum(sizes, 1)), NONE)

    def measures(self, calibration: Calibration) -> np.ndarray:
        """Mean similarity between the parts, within the larger, and within the smaller, and the log of the
        smaller one's size; float32 (G, 4)."""
        large, small = self.sizes
        between = np.einsum("gd,gd->g", *self.sums) / np.maximum(large * small, 1)
        squares = np.einsum("pgd,pgd->pg", self.sums, self.sums)
        within = (squares - self.sizes) / np.maximum(self.sizes * (self.sizes - 1), 1)
        cosines = np.stack([between, *within])
        known = np.stack([small > 0, large > 1, small > 1])
        return np.column_stack(
            [*np.where(known, calibration.calibrate(cosines), NONE), np.log1p(small)]
        ).astype(np.float32)


def two_parts(unit: np.ndarray, owner: np.ndarray, rest: np.ndarray) -> Parts:
    """Cut each group in two, to see whether it mixes two people.

    `unit` float32 (M, D) are unit rows of the groups `owner` (M,), ascending from 0 without a gap, and
    `rest` (M,) their similarity to the others. K-means on the sphere with two means, the second of which
    starts at the face that is least similar to the rest.
    """
    offsets = np.flatnonzero(np.diff(owner, prepend=-1, append=-1))
    sizes = np.diff(offsets)
    second = rest == np.minimum.reduceat(rest, offsets[:-1])[owner]
    sums, in_second = sums_of_groups(unit, offsets), sums_of_groups(unit, offsets, second)
    to_all = np.einsum("md,md->m", unit, sums[owner])
    for _ in range(PART_STEPS):
        lengths = np.linalg.norm([sums - in_second, in_second], axis=2)
        of_first, of_second = 1 / np.maximum(lengths, np.float32(1e-12))
        to_second = np.einsum("md,md->m", unit, in_second[owner])
        before, second = second, to_second * of_second[owner] > (to_all - to_second) * of_first[owner]
        if (second == before).all():
            break
        in_second = sums_of_groups(unit, offsets, second)
    count = np.add.reduceat(second, offsets[:-1], dtype=int)
    both, counts = np.stack([sums - in_second, in_second]), np.stack([sizes - count, count])
    order = np.argsort(-counts, axis=0, kind="stable")
    return Parts(np.take_along_axis(both, order[:, :, None], 0), np.take_along_axis(counts, order, 0))


def measure_groups(
    graph: Graph,
    groups: Groups,
    sums: np.ndarray,
    rest: np.ndarray,
    nodes: np.ndarray,
    owner: np.ndarray,
    parts: Parts,
) -> np.ndarray:
    """PROPOSAL_MEASURES, float32 (G, 15); `nodes` and ascending `owner` are of some of the members."""
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
            parts.measures(graph.calibration),
            np.tile(graph.context, (len(groups), 1)),
        ]
    ).astype(np.float32)


def measure_nodes(
    graph: Graph,
    rows: np.ndarray,
    unit: np.ndarray,
    owner: np.ndarray,
    rest: np.ndarray,
    near: Neighborhoods,
    sums: np.ndarray,
    sizes: np.ndarray,
    parts: Parts,
) -> np.ndarray:
    """NODE_MEASURES of faces against groups, float32 (M, 18).

    `rows` (M,) are the faces, `unit` (M, D) their unit rows, `owner` (M,) the group each is measured
    against, `rest` (M,) its mean similarity to that group's other faces; `sums` (G, D) and `sizes` (G,)
    are the groups' sums of unit rows and their sizes.
    """
    weight, inside, k = near.similarities, near.inside, near.inside.shape[1]
    size = sizes[owner].astype(np.float32)
    outside = ~inside
    count_inside = near.count[:, -1]
    some_outside = count_inside < k
    rank = np.where(some_outside, outside.argmax(1), k)
    nearest_outside = first_weight(outside, weight)
    third_outside = first_weight(outside & (np.arange(1, k + 1, dtype=np.int32) - near.count == 3), weight)
    stranger = near.faces[np.arange(len(rows)), np.minimum(rank, k - 1)]
    stranger_to_all = np.einsum("md,md->m", graph.unit[stranger], sums[owner]) / size
    strength = np.maximum(weight - 2, 0)  # above 2 deviations lies one normal impostor pair in 44
    as_many = np.clip(size - 1, 1, k).astype(int)
    nodes = np.stack(
        [
            first_weight(inside, weight),
            np.where(count_inside, (weight * inside).sum(1) / np.maximum(count_inside, 1), NONE),
            count_inside / np.clip(size - 1, 1, k),
            nearest_outside,
            third_outside,
            np.log1p(rank) / np.log1p(np.minimum(size, k)),
            rest,
            np.where(some_outside, graph.calibration.calibrate(stranger_to_all), NONE),
            nearest_outside - np.where(some_outside, graph.nearest[stranger], 0),
            (strength * inside).sum(1) / np.maximum(strength.sum(1), 1e-6),
            weight[:, 0],
            nth(weight, TENTH, len(graph.unit)),
            nth(weight, LAST, len(graph.unit)),
            graph.in_degree[rows, 0],
            graph.in_degree[rows, 1],
            near.count[np.arange(len(rows)), as_many - 1] / as_many,
            *parts.similarities(unit, owner, graph.calibration),
        ],
        1,
    )
    return nodes.astype(np.float32)


def inner_edges(near: Neighborhoods, node_of_place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges int64 (2, E) to each node from its nearest neighbors inside, and their similarity.

    `node_of_place` is the node of each of the groups' `members`, -1 where it is none.
    """
    entry = np.flatnonzero(near.inside & (near.count <= EDGES_A_NODE))
    source = node_of_place[near.place.ravel()[entry]]
    entry, source = entry[source >= 0], source[source >= 0]
    target = entry // near.inside.shape[1]
    return np.stack([source, target]), near.similarities.ravel()[entry]


def similarity_to_rest(graph: Graph, groups: Groups) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the groups' unit rows (P, D), and each member's mean similarity to the others (M,)."""
    sums = np.empty((len(groups), graph.unit.shape[1]), np.float32)
    to_all, owners = np.empty(len(groups.members), np.float32), groups.owners
    for chunk in bounded_chunks(groups.sizes, MEMBERS_AT_ONCE):
        first, last = groups.offsets[chunk[0]], groups.offsets[chunk[-1] + 1]
        if last - first <= MEMBERS_AT_ONCE:
            unit = graph.unit[groups.members[first:last]]
            sums[chunk] = sums_of_groups(unit, groups.offsets[chunk[0] : chunk[-1] + 2] - first)
            to_all[first:last] = np.einsum("md,md->m", unit, sums[owners[first:last]])
        else:  # one large group, whose rows are never held all at once
            parts = [groups.members[first:last][part] for part in slices(last - first, MEMBERS_AT_ONCE)]
            sums[chunk[0]] = sum(graph.unit[part].sum(0) for part in parts)
            to_all[first:last] = np.concatenate(
                [np.einsum("md,d->m", graph.unit[part], sums[chunk[0]]) for part in parts]
            )
    size = np.repeat(groups.sizes, groups.sizes)
    rest = graph.calibration.calibrate((to_all - 1) / np.maximum(size - 1, 1))
    return sums, np.where(size > 1, rest, NONE).astype(np.float32)


def spread_sample(rest: np.ndarray, groups: Groups) -> np.ndarray:
    """Positions in `members` to measure, ascending: all of a group, or FACES_A_PROPOSAL of a larger one.

    The sample is spread evenly over the ranks of `rest`, so the order of the rows does not matter.
    """
    large = groups.sizes > FACES_A_PROPOSAL
    in_large = np.repeat(large, groups.sizes)
    kept = ~in_large
    place = np.flatnonzero(in_large)
    ranked = place[np.lexsort((rest[place], groups.owners[place]))]
    sizes = groups.sizes[large]
    ranks = np.linspace(0, sizes - 1, FACES_A_PROPOSAL).astype(int)
    kept[ranked[ranks + np.cumsum(sizes) - sizes]] = True
    return np.flatnonzero(kept)


def first_weight(mask: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The weight at the first true entry of each row of (M, k) arrays, NONE where there is none."""
    at, column = np.arange(len(mask)), mask.argmax(1)
    return np.where(mask[at, column], weight[at, column], NONE)
