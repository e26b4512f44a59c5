"""Single and average linkage: the partitions of the faces at descending thresholds."""

from collections.abc import Callable, Iterator

import numpy as np

from pipeline.groups import groups_from_labels, sums_of_groups
from pipeline.proposals.edges import Edges, components, strongest_edges
from pipeline.rows import PAIRS_AT_ONCE, PARTS_A_RELEASE, Rows, giving_back, slices


def single_linkage(edges: Edges, count: int, thresholds: np.ndarray) -> Iterator[np.ndarray]:
    """Connected components of the edges that reach each of the descending thresholds.

    Yields a label array int32 (count,) for each threshold.
    """
    labels = np.arange(count, dtype=np.int32)
    order = np.argsort(-edges.weight)
    bounds = np.searchsorted(-edges.weight[order], -np.asarray(thresholds), side="right")
    for start, end in zip([0, *bounds], bounds, strict=False):
        new = edges.take(order[start:end])
        labels = components(labels[new.a], labels[new.b], labels.max() + 1)[labels]
        yield labels


def average_linkage(
    unit: Rows,
    edges: Edges,
    thresholds: np.ndarray,
    calibrate: Callable[[np.ndarray], np.ndarray],
) -> Iterator[np.ndarray]:
    """Average linkage along the edges, down the descending thresholds; a label array for each.

    Nodes are super-vertices. With the sums of their faces' rows of `unit`, float32 (N, D), the
    product of two means is the mean cosine of all pairs between them, which `edges` are weighted
    by, calibrated. At each threshold every node joins its nearest one, until no edge reaches the
    threshold. Average linkage never rises in a merge, so an edge's last known weight bounds its
    present one, and only edges whose bound reaches the threshold are weighed again.
    """
    labels = np.arange(len(unit), dtype=np.int32)
    sums, sizes = SumsOfNodes(unit), np.ones(len(unit), np.float32)
    stale = np.zeros(len(edges), bool)
    for threshold in thresholds:
        while True:
            check = np.flatnonzero(stale & (edges.weight >= threshold))
            a, b = edges.a[check], edges.b[check]
            edges.weight[check] = calibrate(sums.products(a, b) / (sizes[a] * sizes[b]))
            stale[check] = False
            strong = edges.take(edges.weight >= threshold)
            if not len(strong):
                break
            chosen = strong.take(nearest_edges(strong, len(sizes)))
            merged = components(chosen.a, chosen.b, len(sizes))
            edges, stale = contract(edges, stale, merged)
            sums.merge(merged)
            sizes = np.bincount(merged, weights=sizes).astype(np.float32)
            labels = merged[labels]
        yield labels


class SumsOfNodes:
    """The sum of the rows of each node, float32 (n, D); `sums[nodes]` gives those of some.

    Only nodes of several faces have theirs in memory: most faces have merged into far fewer nodes before all
    have merged. A single face's is its row of `unit`, float32 (N, D).
    """

    def __init__(self, unit: Rows) -> None:
        self.unit = unit
        self.face = np.arange(len(unit), dtype=np.int32)  # of each node, its first
        self.slot = np.full(len(unit), -1, np.int32)  # where each node's sum is kept, -1 for a single face
        self.kept = np.empty(unit.shape, np.float32)  # which the system gives memory only where it is used
        self.free = np.zeros(0, np.int32)
        self.used = 0

    def __getitem__(self, nodes: np.ndarray) -> np.ndarray:
        slot = self.slot[nodes]
        alone = slot < 0
        sums = np.empty((len(nodes), self.unit.shape[1]), np.float32)
        sums[alone] = self.unit[self.face[nodes[alone]]]
        sums[~alone] = self.kept[slot[~alone]]
        return sums

    def products(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The dot products of the sums of the nodes `a` and `b`, pair by pair, float32 (len(a),).

        On one thread, as another hierarchy forms on another.
        """
        found = np.empty(len(a), np.float32)
        for part in giving_back(slices(len(a), PAIRS_AT_ONCE), self.unit, every=PARTS_A_RELEASE):
            found[part] = np.einsum("nd,nd->n", self[a[part]], self[b[part]])
        return found

    def merge(self, merged: np.ndarray) -> None:
        """Add up the nodes with the same number in `merged`, int32 (n,), numbered by first node."""
        grown = groups_from_labels(np.where(np.bincount(merged)[merged] > 1, merged, -1))
        slots = self._take_slots(len(grown))
        self.kept[slots] = 0
        owners = grown.owners
        for part in giving_back(slices(len(owners)), self.unit, every=PARTS_A_RELEASE):
            first, last = owners[part.start], owners[part.stop - 1] + 1
            offsets = np.clip(grown.offsets[first : last + 1], part.start, part.stop) - part.start
            self.kept[slots[first:last]] += sums_of_groups(self[grown.members[part]], offsets)
        left = self.slot[grown.members]
        self.free = np.concatenate([self.free, left[left >= 0]])
        first = np.flatnonzero(np.diff(np.maximum.accumulate(merged), prepend=-1))
        self.face, self.slot = self.face[first], self.slot[first]
        self.slot[merged[grown.members[grown.offsets[:-1]]]] = slots

    def _take_slots(self, count: int) -> np.ndarray:
        """Places in `kept`, of those that were left first."""
        again, self.free = self.free[:count], self.free[count:]
        new = np.arange(self.used, self.used + count - len(again), dtype=np.int32)
        self.used += len(new)
        return np.concatenate([again, new])


def nearest_edges(edges: Edges, count: int) -> np.ndarray:
    """Indices of the edges that are the strongest of one of their ends; ties go to the first edge."""
    rank = np.empty(len(edges), np.int64)
    rank[np.argsort(-edges.weight, kind="stable")] = np.arange(len(edges))
    best = np.full(count, len(edges))
    np.minimum.at(best, edges.a, rank)
    np.minimum.at(best, edges.b, rank)
    return np.flatnonzero((best[edges.a] == rank) | (best[edges.b] == rank))


def contract(edges: Edges, stale: np.ndarray, merged: np.ndarray) -> tuple[Edges, np.ndarray]:
    """Edges between merged nodes; those that touch a node merged now are made unique, and stale."""
    count = int(merged.max()) + 1
    grown = np.bincount(merged, minlength=count) > 1
    a, b = merged[edges.a], merged[edges.b]
    touched = grown[a] | grown[b]
    again = strongest_edges(a[touched], b[touched], edges.weight[touched], count)
    a, b = a[~touched], b[~touched]
    joined = Edges(
        np.concatenate([np.minimum(a, b), again.a]),
        np.concatenate([np.maximum(a, b), again.b]),
        np.concatenate([edges.weight[~touched], again.weight]),
    )
    return joined, np.concatenate([stale[~touched], np.ones(len(again), bool)])
