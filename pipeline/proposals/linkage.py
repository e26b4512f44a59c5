"""Single and average linkage: the partitions of the faces at descending thresholds."""

from collections.abc import Callable, Iterator

import numpy as np
from scipy.sparse import csr_matrix

from pipeline.groups import groups_from_labels, take_groups
from pipeline.proposals.edges import Edges, components, strongest_edges
from pipeline.rows import Rows, blocks, products, slices


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
    sums, place, sizes = np.empty(unit.shape, np.float32), labels, np.ones(len(unit), np.float32)
    for part, block in blocks(unit):
        sums[part] = block
    stale = np.zeros(len(edges), bool)
    for threshold in thresholds:
        while True:
            check = np.flatnonzero(stale & (edges.weight >= threshold))
            a, b = edges.a[check], edges.b[check]
            # On one thread, as another hierarchy forms on another.
            cosines = products(sums, place[a], place[b], threads=1) / (sizes[a] * sizes[b])
            edges.weight[check] = calibrate(cosines)
            stale[check] = False
            strong = edges.take(edges.weight >= threshold)
            if not len(strong):
                break
            chosen = strong.take(nearest_edges(strong, len(sizes)))
            merged = components(chosen.a, chosen.b, len(sizes))
            edges, stale = contract(edges, stale, merged)
            place, sizes = add_up(sums, place, sizes, merged)
            labels = merged[labels]
        yield labels


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


def add_up(
    sums: np.ndarray, place: np.ndarray, sizes: np.ndarray, merged: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Place and size of each merged node; its sum of rows goes where that of its first node was.

    `sums`, (N, D), holds each node's sum at its `place`.
    """
    members = np.bincount(merged)
    grown = groups_from_labels(np.where(members[merged] > 1, merged, -1))
    for part in slices(len(grown)):
        some = take_groups(grown, np.arange(part.start, part.stop))
        places = place[some.members]
        ones = np.ones(len(places), np.float32)
        into = csr_matrix((ones, places, some.offsets), (len(some), len(sums)))
        sums[places[some.offsets[:-1]]] = into @ sums
    # Merged nodes are numbered by their first node.
    first = np.flatnonzero(np.diff(np.maximum.accumulate(merged), prepend=-1))
    return place[first], np.bincount(merged, weights=sizes).astype(np.float32)
