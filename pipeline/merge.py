"""Iterative merging of faces into super-vertices, the cluster proposals.

The paper's Algorithm 1 (Yang et al., CVPR 2019, section 3.2) takes connected components above a
threshold, splits those over the maximum size at a higher threshold, and makes super-vertices the
nodes of the next round. Here a family of proposals is a descending sweep of thresholds over one
similarity, each round merging the super-vertices of the one before: a component over the maximum
size at one threshold stands split, as the components at the thresholds above it.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from threading import Event

from common.progress import bar
from common.threads import in_threads, usable_cores

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from pipeline.calibrate import Calibration
from pipeline.formats import MEMBER_DTYPE, Groups, Round, groups_from_labels, take_groups
from pipeline.rows import PAIRS_AT_ONCE, Rows, products, release, slices

THRESHOLD = 0.5  # standard deviations above strangers; weak networks tell people apart no higher
ROUNDS = 32
MAX_SIZE = 20_000
EDGE_WIDTH = 20  # nearest neighbors of a face that may become edges; the rest only measure
SHARED_WIDTHS = (20, 80)  # neighborhoods whose overlap is a similarity: small and large people
PARTS_A_RELEASE = 64
AT_ONCE = 2  # families formed side by side: more would take more memory


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


Linking = Callable[[int], Edges]
# A name, descending thresholds, and the sweep that gives a label array for each of them.
Family = tuple[str, np.ndarray, Callable[[np.ndarray], Iterator[np.ndarray]]]


def propose(
    unit: Rows,
    neighbors: Rows,
    similarities: Rows,
    calibration: Calibration,
    threshold: float = THRESHOLD,
    rounds: int = ROUNDS,
    step: float | None = None,
    max_size: int = MAX_SIZE,
    linking: Linking | None = None,
) -> list[Round]:
    """Cluster proposals of two faces or more from the affinity graph of `unit` float32 (N, D).

    `neighbors` and `similarities` (cosines) are (N, k), best first. `threshold` is the lowest
    similarity at which super-vertices merge, in standard deviations above strangers, reached in
    `rounds` steps of `step`, by default evenly from the similarity that only one nearest neighbor
    in fifty exceeds. No proposal has more than `max_size` faces. `linking` gives the edges that link
    by similarity, at width 0, or by shared neighbors, at one of SHARED_WIDTHS, where they are made
    elsewhere: any edges will do that connect the same rows at every threshold.
    """
    calibrated = calibration.calibrate(first_columns(similarities, EDGE_WIDTH))
    if step is None:
        highest = float(np.quantile(calibrated[:, 0], 0.98)) if calibrated.size else threshold
        step = max(highest - threshold, 0) / max(rounds - 1, 1)
    thresholds = threshold + step * np.arange(rounds - 1, -1, -1)
    overlaps = np.linspace(0.95, 0.05, rounds)
    near = first_columns(neighbors, EDGE_WIDTH)
    edges = edges_of_graph(near, calibrated)
    del calibrated
    if linking is None:
        linking = partial(linking_edges, near, neighbors, edges)

    def linked(width: int, levels: np.ndarray) -> Iterator[np.ndarray]:
        return sweep_linked(linking(width), len(unit), levels)

    families: list[Family] = [
        ("linked", thresholds, partial(linked, 0)),
        ("mean", thresholds, lambda levels: sweep_mean(unit, edges, levels, calibration.calibrate)),
    ]
    for width in SHARED_WIDTHS:
        if width <= neighbors.shape[1] or width == SHARED_WIDTHS[0]:
            families.append((f"shared {width}", overlaps, partial(linked, width)))
    stopped = Event()

    def form(family: Family) -> list[tuple[str, float, Groups]]:
        name, levels, sweep = family
        groups = newly_formed(sweep(levels), max_size)
        formed = []
        for level in levels:
            if stopped.is_set():
                break
            formed.append((name, float(level), next(groups)))
            progress.update()
        return formed

    with (
        bar(len(families) * rounds, "merging", "rounds") as progress,
        ThreadPoolExecutor(min(AT_ONCE, usable_cores())) as pool,
    ):
        try:
            formed = list(chain.from_iterable(pool.map(form, families)))
        finally:
            stopped.set()  # else Ctrl-C would wait for all rounds
    return without_repeats(formed, len(unit))


def first_columns(rows: Rows, width: int) -> np.ndarray:
    """The first `width` columns, or all there are, in memory."""
    columns = np.concatenate([rows[part][:, :width] for part in slices(len(rows))])
    release(rows)
    return columns


def linking_edges(near: np.ndarray, neighbors: Rows, edges: Edges, width: int) -> Edges:
    """The edges as they are for width 0, else weighted by the overlap of neighborhoods so wide."""
    if not width:
        return edges
    return shared_neighbors(near if width <= EDGE_WIDTH else neighbors, edges, width)


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
    """The same edges weighted by the Jaccard overlap of both ends' neighborhoods, themselves in.

    A neighborhood is a row's first `width` neighbors, fewer than 255, or all there are. What two
    have in common stands twice in a row where both are sorted together.
    """
    width = min(width, neighbors.shape[1])
    common = np.empty(len(edges), np.float32)

    def compare(part: slice) -> None:
        a, b = edges.a[part], edges.b[part]
        both = np.hstack([a[:, None], neighbors[a][:, :width], b[:, None], neighbors[b][:, :width]])
        both.sort(axis=1)
        twice = (both[:, 1:] == both[:, :-1]).view(np.uint8)
        common[part] = twice.sum(axis=1, dtype=np.uint8)

    for number, _ in enumerate(in_threads(compare, slices(len(edges), PAIRS_AT_ONCE))):
        if number % PARTS_A_RELEASE == 0:
            release(neighbors)
    return Edges(edges.a, edges.b, common / (2 * (width + 1) - common))


def components(a: np.ndarray, b: np.ndarray, count: int) -> np.ndarray:
    """The connected component of each of `count` nodes, int32 (count,), numbered by first node."""
    graph = coo_matrix((np.ones(len(a), np.int8), (a, b)), (count, count))
    return connected_components(graph, directed=False)[1]


def sweep_linked(edges: Edges, count: int, thresholds: np.ndarray) -> Iterator[np.ndarray]:
    """Connected components of the edges that reach each of the descending thresholds.

    Yields a label array int32 (count,) a threshold.
    """
    labels = np.arange(count, dtype=np.int32)
    order = np.argsort(-edges.weight)
    bounds = np.searchsorted(-edges.weight[order], -np.asarray(thresholds), side="right")
    for start, end in zip([0, *bounds], bounds, strict=False):
        new = edges.take(order[start:end])
        labels = components(labels[new.a], labels[new.b], labels.max() + 1)[labels]
        yield labels


def sweep_mean(
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
    for part in slices(len(unit)):
        sums[part] = unit[part]
        release(unit)
    stale = np.zeros(len(edges), bool)
    for threshold in thresholds:
        while True:
            check = np.flatnonzero(stale & (edges.weight >= threshold))
            a, b = edges.a[check], edges.b[check]
            # On one thread, as another family forms on another.
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


def newly_formed(partitions: Iterable[np.ndarray], max_size: int) -> Iterator[Groups]:
    """Of each partition, the groups that the one before did not have, of at most `max_size` rows.

    Partitions run from fine to coarse, the one before the first being of single rows.
    """
    before: np.ndarray | int = 1
    for labels in partitions:
        sizes = np.bincount(labels)[labels]
        yield groups_from_labels(np.where((sizes > before) & (sizes <= max_size), labels, -1))
        before = sizes


def without_repeats(formed: list[tuple[str, float, Groups]], count: int) -> list[Round]:
    """Give each proposal to the first round that formed it; later rounds refer to it by number."""
    key_of_row = np.random.default_rng(0).integers(0, 1 << 63, count, np.uint64)
    keys = np.concatenate(
        [
            np.add.reduceat(key_of_row[groups.members], groups.offsets[:-1])
            for _, _, groups in formed
            if len(groups)
        ]
        or [np.zeros(0, np.uint64)]
    )
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    is_new = first[inverse] == np.arange(len(keys))
    number = (np.cumsum(is_new) - 1)[first[inverse]]
    rounds, start = [], 0
    for family, threshold, groups in formed:
        here = slice(start, start + len(groups))
        rounds.append(
            Round(
                family,
                threshold,
                take_groups(groups, np.flatnonzero(is_new[here])),
                number[here][~is_new[here]],
            )
        )
        start = here.stop
    return rounds


def rows_of_rounds(rounds: list[Round], usable: np.ndarray) -> list[Round]:
    """The rounds with members numbered by row of the feature file instead of by usable row."""
    rows = np.flatnonzero(usable).astype(MEMBER_DTYPE)
    return [_renumber(round_, rows) for round_ in rounds]


def usable_rows_of_rounds(rounds: list[Round], usable: np.ndarray) -> list[Round]:
    """The inverse of `rows_of_rounds`."""
    index = (np.cumsum(usable) - 1).astype(MEMBER_DTYPE)
    return [_renumber(round_, index) for round_ in rounds]


def _renumber(round_: Round, numbers: np.ndarray) -> Round:
    groups = Groups(numbers[round_.proposals.members], round_.proposals.offsets)
    return replace(round_, proposals=groups)
