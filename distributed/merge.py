"""The edges that link faces, made by partition: spanning forests first, then those joined.

Which faces are connected at a threshold, and at every other, does not change when the edges are thinned
to a spanning forest of the strongest ones (Gower and Ross, 1969): an edge left out closes a cycle of
edges no weaker. So each partition of the rows keeps a forest of the edges from its rows, and forests
are joined two at a time. What reaches the driver is less than one edge per face, and no machine needs
more than its partition's edges or two forests in memory.
"""

import numpy as np
import ray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import minimum_spanning_tree

from distributed.engine import machines
from pipeline.calibration import Calibration
from pipeline.proposals.edges import Edges, shared_neighbors, strongest_edges
from pipeline.proposals.merging import EDGE_WIDTH, Linking
from pipeline.rows import Numbering


def linking_in_parts(
    numbering: Numbering,
    neighbors: np.ndarray,
    similarities: np.ndarray,
    calibration: Calibration,
    shards: int | None,
) -> Linking:
    """For `propose`, the edges from a cluster, the rows cut into `shards`, by default one for each machine.

    `neighbors` and `similarities` (cosines) are (N, k) as `fill_graph` writes them.
    """
    for array in (neighbors, similarities):
        if isinstance(array, np.memmap):
            array.flush()  # other machines read the file
    number_of = numbering.number_of
    starts = np.linspace(0, len(number_of), (shards or len(machines())) + 1).astype(int).tolist()

    def linking(width: int) -> Edges:
        forests = [
            ray.remote(forest_of_rows).remote(neighbors, similarities, start, end, calibration, width)
            for start, end in zip(starts, starts[1:], strict=False)
        ]
        while len(forests) > 1:
            pairs = zip(forests[::2], forests[1::2], strict=False)
            odd = forests[len(forests) - len(forests) % 2 :]
            forests = [ray.remote(join).remote(*pair) for pair in pairs] + odd
        forest = ray.get(forests[0])
        return Edges(number_of[forest.a], number_of[forest.b], forest.weight)

    return linking


def forest_of_rows(
    neighbors: np.ndarray,
    similarities: np.ndarray,
    start: int,
    end: int,
    calibration: Calibration,
    width: int,
) -> Edges:
    """A strongest spanning forest of the edges from the rows `start` to `end` of the feature file.

    They are weighted by similarity, or by the overlap of neighborhoods of `width` where that is not 0.
    """
    near = np.asarray(neighbors[start:end, :EDGE_WIDTH])
    weight = calibration.calibrate(np.asarray(similarities[start:end, :EDGE_WIDTH]))
    own = np.broadcast_to(np.arange(start, end, dtype=np.int32)[:, None], near.shape)
    linked = near >= 0
    edges = strongest_edges(own[linked], near[linked], weight[linked], len(neighbors))
    return spanning_forest(shared_neighbors(np.asarray(neighbors), edges, width) if width else edges)


def join(one: Edges, other: Edges) -> Edges:
    """A strongest spanning forest of two forests."""
    both = (np.concatenate(pair) for pair in ((one.a, other.a), (one.b, other.b), (one.weight, other.weight)))
    a, b, weight = both
    return spanning_forest(strongest_edges(a, b, weight, int(b.max(initial=0)) + 1))


def spanning_forest(edges: Edges) -> Edges:
    """Of edges without repeats those of a spanning forest, stronger ones first."""
    nodes, ends = np.unique(np.concatenate([edges.a, edges.b]), return_inverse=True)
    a, b = ends.reshape(2, -1)
    order = np.argsort(-edges.weight, kind="stable")
    rank = np.empty(len(edges))
    rank[order] = np.arange(1, len(edges) + 1)  # a weight of 0 would be no edge to SciPy
    tree = minimum_spanning_tree(csr_matrix((rank, (a, b)), (len(nodes), len(nodes))), overwrite=True)
    return edges.take(order[np.sort(tree.data).astype(np.int64) - 1])
