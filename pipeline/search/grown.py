"""A graph that is there, mended where rows came to it or fell out of it.

`neighbors` int32 and `cosines` float32, (N, k), are those of a feature file's rows, neighbors by row, as
`fill_graph` writes them. Rows that came are compared with everybody, which also shows whose neighbors they
become.
"""

from collections.abc import Callable, Iterator

from common.threads import in_threads

import faiss
import numpy as np
from threadpoolctl import threadpool_limits

from pipeline.rows import Numbering, blocks, release, slices, unit_blocks, unit_rows
from pipeline.search.ivf import PRODUCTS_AT_ONCE
from pipeline.search.knn import (
    DATABASE_ROWS,
    exact_results,
    fill_graph,
    numbered,
    queries_of_a_thread,
    without_self,
)

Advance = Callable[[int], object]
Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]  # rows, new rows nearer to them than their last, cosines


def extend_exactly(
    rows: np.ndarray,
    numbering: Numbering,
    before: int,
    neighbors: np.ndarray,
    cosines: np.ndarray,
    advance: Advance,
) -> None:
    """Bring the graph of the first `before` rows of a numbering to that of all of them, to the byte.

    What exact search computes of a product depends on the queries and rows that it takes together. So
    queries are cut as it cuts them, and from where its last call was not full they ask anew; of the rows
    that they are compared with, those from its last part on count as new.
    """
    unit = unit_rows(rows, numbering.usable)
    size = queries_of_a_thread(rows.shape[1])
    calls = [
        block[part] for block in unit_blocks(rows, numbering.usable) for part in slices(len(block), size)
    ]
    ends = np.cumsum([len(call) for call in calls])
    whole = int(np.searchsorted(ends, before, side="right")) if before < len(unit) else len(calls)
    kept, width = (int(ends[whole - 1]) if whole else 0), neighbors.shape[1]
    first = before // DATABASE_ROWS * DATABASE_ROWS
    if before < len(unit):
        part = exact_results(unit[first:], calls[:whole], width + 1)
        with_new = merged(numbered(part), numbering, first, neighbors, cosines)
        fill_graph(with_new, numbering, neighbors, cosines, advance)
    anew = exact_results(unit, calls[whole:], width + 1)
    from_kept = ((own + kept, near, found) for own, near, found in numbered(anew))
    fill_graph(from_kept, numbering, neighbors, cosines, advance)


def merged(
    results: Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]],
    numbering: Numbering,
    first: int,
    neighbors: np.ndarray,
    cosines: np.ndarray,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """What rows find among those numbered from `first` on, and what of their graph is before it, as one
    result with the row itself in front."""
    for own, near, found in results:
        here = numbering.row_of[own]
        old, old_cosines = numbering.number_of[neighbors[here]], cosines[here]
        candidates = np.concatenate([old, found + first], axis=1)
        values = np.concatenate([np.where(old < first, old_cosines, -np.inf), near], axis=1)
        values[candidates == own[:, None]] = -np.inf
        order = np.lexsort((candidates, -values), axis=1)[:, : neighbors.shape[1]]
        yield (
            own,
            np.column_stack([np.ones(len(own), np.float32), np.take_along_axis(values, order, 1)]),
            np.column_stack([own, np.take_along_axis(candidates, order, 1)]),
        )


def mend(
    rows: np.ndarray,
    numbering: Numbering,
    came: np.ndarray,
    asking: np.ndarray,
    neighbors: np.ndarray,
    cosines: np.ndarray,
    advance: Advance,
) -> None:
    """Search anew for the rows `asking`, and put those that `came` among them before the farther neighbors of
    all others; both bool (N,) of rows of the numbering."""
    row_of = np.flatnonzero(asking)
    queries, width = unit_rows(rows, asking), neighbors.shape[1]
    new = np.flatnonzero(came[row_of])
    heap = faiss.ResultHeap(len(row_of), width + 1, keep_max=True)

    def compare(part: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray, Pairs]:
        here, block = part
        products = queries @ block.T
        farthest = np.where(asking[here], np.inf, cosines[here, -1])
        row, column = np.nonzero(products[new] > farthest)
        return here, products, (here[column], row_of[new[row]], products[new[row], column])

    with threadpool_limits(1, "blas"):
        parts = numbered_blocks(rows, numbering, max(1, PRODUCTS_AT_ONCE // max(1, len(row_of))))
        for here, products, pairs in in_threads(compare, parts):
            heap.add_result_subset(np.arange(len(row_of)), products, here)
            insert(*pairs, neighbors, cosines)
            release(neighbors)
            release(cosines)
            advance(len(here))
    heap.finalize()
    for part in slices(len(row_of)):
        own = row_of[part]
        neighbors[own], cosines[own] = without_self(own, heap.I[part], heap.D[part])


def numbered_blocks(
    rows: np.ndarray, numbering: Numbering, size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rows of a numbering, int64 (n,), `size` at most at a time, and their vectors of length one."""
    done = 0
    for block in pieces(unit_blocks(rows, numbering.usable), size):
        yield numbering.row_of[done : done + len(block)], block
        done += len(block)


def pieces(all_blocks: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Blocks of rows cut to `size` rows at most."""
    return (block[part] for block in all_blocks for part in slices(len(block), size))


def insert(
    own: np.ndarray, new: np.ndarray, values: np.ndarray, neighbors: np.ndarray, cosines: np.ndarray
) -> None:
    """Put `new` rows among the neighbors of rows `own`, whose last neighbors are farther.

    All are of length P, a pair each, `values` float32 its cosine.
    """
    order = np.lexsort((new, -values, own))
    some, first, counts = np.unique(own[order], return_index=True, return_counts=True)
    width = neighbors.shape[1]
    place = np.arange(len(own)) - np.repeat(first, counts)
    most = min(width, int(counts.max(initial=0)))
    line, kept = np.repeat(np.arange(len(some)), counts), place < most
    near, best = np.full((len(some), most), -1), np.full((len(some), most), -np.inf, np.float32)
    near[line[kept], place[kept]], best[line[kept], place[kept]] = new[order][kept], values[order][kept]
    near, best = np.hstack([neighbors[some], near]), np.hstack([cosines[some], best])
    order = np.argsort(-best, axis=1, kind="stable")[:, :width]
    neighbors[some], cosines[some] = (np.take_along_axis(array, order, 1) for array in (near, best))


def copy_graph(graph: tuple[np.ndarray, np.ndarray], into: tuple[np.ndarray, np.ndarray]) -> None:
    """Copy neighbors and cosines of fewer rows into arrays of more."""
    for array, larger in zip(graph, into, strict=True):
        for part, block in blocks(array):
            larger[part] = block
            release(larger)
