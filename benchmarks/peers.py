"""The clusterings people choose from today, each from its own package, as functions of a threshold.

Each takes a `Peerset` and a cosine threshold (HDBSCAN and FINCH a setting of their own), and returns
labels int64 (N,), where -1 is a face alone.
"""

import warnings
from dataclasses import dataclass
from functools import cached_property

import dlib
import numpy as np
from infomap import Infomap
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import csr_matrix, triu
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import squareform
from sklearn.cluster import DBSCAN, HDBSCAN

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of a package that is not needed here
    from finch import FINCH

MIN_SAMPLES = (1, 2, 3, 5, 8)  # of HDBSCAN


@dataclass(frozen=True)
class Peerset:
    """`unit` float32 (N, D), rows of length one; the affinity graph, (N, k) with cosines."""

    unit: np.ndarray
    neighbors: np.ndarray
    cosines: np.ndarray

    @cached_property
    def average_linkage(self) -> np.ndarray:
        """The whole tree of average linkage, which every threshold cuts."""
        unit = self.unit.astype(np.float64)
        distances = np.clip(1 - unit @ unit.T, 0, 2)
        np.fill_diagonal(distances, 0)
        return linkage(squareform(distances, checks=False), "average")

    @cached_property
    def finch(self) -> np.ndarray:
        """FINCH's partitions, int (N, partitions), from fine to coarse."""
        return FINCH(self.unit, distance="cosine", verbose=False)[0]

    def own_settings(self, peer: str) -> np.ndarray | None:
        """What a peer is tried at that has no threshold, None for one that has."""
        if peer == "HDBSCAN":
            return np.array(MIN_SAMPLES)
        return np.arange(self.finch.shape[1]) if peer == "FINCH" else None

    def edges(self, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The graph's edges of at least the threshold: from, to, cosine."""
        source, column = np.nonzero(self.cosines >= threshold)
        return source, self.neighbors[source, column], self.cosines[source, column]


def components(peerset: Peerset, threshold: float) -> np.ndarray:
    """Connected components of the affinity graph."""
    source, target, weight = peerset.edges(threshold)
    count = len(peerset.unit)
    return connected_components(csr_matrix((weight, (source, target)), (count, count)), directed=False)[1]


def average_linkage(peerset: Peerset, threshold: float) -> np.ndarray:
    """Agglomerative clustering, average linkage, on all pairs."""
    return fcluster(peerset.average_linkage, 1 - threshold, "distance")


def dbscan(peerset: Peerset, threshold: float) -> np.ndarray:
    """DBSCAN on the affinity graph, a core face having two neighbors or more."""
    source, target, weight = peerset.edges(threshold)
    count = len(peerset.unit)
    # 1e-9: a distance of zero would be no entry of a sparse matrix.
    distances = csr_matrix((np.clip(1 - weight, 1e-9, None), (source, target)), (count, count))
    distances = distances.maximum(distances.T)
    return DBSCAN(eps=1 - threshold, min_samples=3, metric="precomputed").fit_predict(distances)


def hdbscan(peerset: Peerset, min_samples: float) -> np.ndarray:
    """HDBSCAN on all faces, which has how dense a cluster must be instead of a threshold."""
    model = HDBSCAN(min_cluster_size=2, min_samples=int(min_samples), copy=True)
    return model.fit_predict(peerset.unit)


def whispers(peerset: Peerset, threshold: float) -> np.ndarray:
    """Chinese whispers on the affinity graph, as dlib clusters faces."""
    source, target, weight = peerset.edges(threshold)
    count = len(peerset.unit)
    graph = csr_matrix((weight, (source, target)), (count, count))
    edges = triu(graph.maximum(graph.T), 1, "coo")
    labels = np.full(count, -1)
    if edges.nnz:
        pairs = zip(edges.row.tolist(), edges.col.tolist(), edges.data.tolist(), strict=True)
        found = dlib.chinese_whispers(list(pairs))
        labels[: len(found)] = found  # which ends with the last face that has an edge
    return labels


def infomap(peerset: Peerset, threshold: float) -> np.ndarray:
    """Infomap in two levels on the affinity graph."""
    labels = np.full(len(peerset.unit), -1)
    source, target, weight = peerset.edges(threshold)
    if len(source):
        network = Infomap("--two-level --silent --seed 1")
        network.add_links(np.column_stack([source, target, np.clip(weight, 1e-6, None)]))
        network.run()
        modules = network.get_modules()
        labels[list(modules)] = list(modules.values())
    return labels


def finch(peerset: Peerset, partition: float) -> np.ndarray:
    """FINCH, which has partitions instead of thresholds."""
    return peerset.finch[:, int(partition)]


PEERS = {
    "connected components": components,
    "average linkage": average_linkage,
    "DBSCAN": dbscan,
    "Chinese whispers": whispers,
    "Infomap": infomap,
    "HDBSCAN": hdbscan,
    "FINCH": finch,
}
