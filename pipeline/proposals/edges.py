"""Edges of the affinity graph, weighted by similarity or by shared nearest neighbors."""

from collections import deque
from dataclasses import dataclass

from common.threads import in_threads

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pipeline.rows import PAIRS_AT_ONCE, PARTS_A_RELEASE, Rows, giving_back, slices


@dataclass(frozen=True)
class Edges:
    """Undirected weighted edges without repeats: `a < b` int32 (E,), `weight` float32 (E,)."""

    a: np.ndarray
    b: np.ndarray
    weight: np.ndarray

    def __len__(self) -> int:
        return len(self.weight)

    def take(self, chosen: np.ndarray) -> "Edges":
        """The edges at the given indices or mask."""
        return Edges(self.a[chosen], self.b[chosen], self.weight[chosen])


def edges_of_graph(neighbors: np.ndarray, weights: np.ndarray) -> Edges:
    """The undirected edges from each row to its `neighbors`; both arrays are (N, width)."""
    rows = np.repeat(np.arange(len(neighbors), dtype=np.int32), neighbors.shape[1])
    return strongest_edges(rows, neighbors.ravel(), weights.ravel(), len(neighbors))


def strongest_edges(a: np.ndarray, b: np.ndarray, weight: np.ndarray, count: int) -> Edges:
    """Edges between `count` nodes without loops; of repeats the largest weight is kept."""
    apart = a != b
    a, b, weight = a[apart], b[apart], weight[apart]
    key = np.minimum(a, b).astype(np.int64)
    key *= count
    key += np.maximum(a, b)
    del a, b
    order = np.argsort(key)
    key = key[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    low, high = np.divmod(key[first], count)
    strongest = np.maximum.reduceat(weight[order], first) if len(first) else weight
    return Edges(low.astype(np.int32), high.astype(np.int32), strongest)


def shared_neighbors(neighbors: Rows, edges: Edges, width: int) -> Edges:
    """The same edges weighted by the Jaccard overlap of both ends' neighborhoods, which include the ends.

    A neighborhood is a row's first `width` neighbors (fewer than 255), or all there are. A common neighbor
    appears twice in a row when both neighborhoods are sorted together.
    """
    width = min(width, neighbors.shape[1])
    common = np.empty(len(edges), np.float32)

    def compare(part: slice) -> None:
        a, b = edges.a[part], edges.b[part]
        both = np.hstack([a[:, None], neighbors[a][:, :width], b[:, None], neighbors[b][:, :width]])
        both.sort(axis=1)
        twice = (both[:, 1:] == both[:, :-1]).view(np.uint8)
        common[part] = twice.sum(axis=1, dtype=np.uint8)

    parts = in_threads(compare, slices(len(edges), PAIRS_AT_ONCE))
    deque(giving_back(parts, neighbors, every=PARTS_A_RELEASE), maxlen=0)
    return Edges(edges.a, edges.b, common / (2 * (width + 1) - common))


def components(a: np.ndarray, b: np.ndarray, count: int) -> np.ndarray:
    """The connected component of each of `count` nodes, int32 (count,), numbered by first node."""
    graph = coo_matrix((np.ones(len(a), np.int8), (a, b)), (count, count))
    return connected_components(graph, directed=False)[1]
