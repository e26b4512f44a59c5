"""The affinity graph: each face's k nearest neighbors by cosine, found exactly or nearly so."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from common.threads import in_threads

import faiss
import numpy as np
from threadpoolctl import threadpool_limits

from pipeline.calibration import Calibration
from pipeline.rows import Numbering, release, slices, unit_blocks, unit_rows
from pipeline.search.gpu import Found, find_on_gpu, has_gpu
from pipeline.search.ivf import (
    Cells,
    Centroids,
    Effort,
    Neighbors,
    cells_without,
    learn_centroids,
    least_effort,
    make_cells,
)

QUERY_VALUES = 1 << 17  # in the queries that a thread takes at once
DATABASE_ROWS = 1024  # that they are compared with at once, so that the products stay in the cache
# Results asked for beyond k: rows that tie with the k-th must all be seen to take the first ones. Where all
# of these tie as well, more are asked for.
TIES = (8, 128, 2048)
MAX_EXACT = 2.5e12  # multiplications that exact search may cost: 100,000 rows of 256 dimensions
# Where an H100 takes about as long as cells take 16 cores: 600,000 rows of 256 dimensions.
MAX_EXACT_ON_GPU = 1e14
EXACT = {"method": "exact", "recall": 1.0, "effort": 0}  # what the manifest says of exact search
MAX_COMPARED = 0.4  # of all rows: with more, IVF takes about as long as exact search


@dataclass(frozen=True)
class Search:
    """A way to find neighbors, and what the manifest says of it.

    `neighbors(k, asking)` yields for some usable rows at a time their numbers, int64 (Q,), and the cosines
    and numbers, (Q, k), of the rows nearest to each, itself among them; every row once, or those of a mask
    bool (U,). `without(standing)`, where there is it, goes on among the rows of a mask alone.
    """

    described: dict[str, Any]
    neighbors: Callable[[int, np.ndarray | None], Iterator[Neighbors]]
    without: Callable[[np.ndarray], "Search"] | None = None


def nearest_neighbors(unit: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Exact k nearest neighbors by cosine, oneself excluded, best first, ties by row.

    `unit` is float32 (N, D) with rows of length one; returns `neighbors` int32 and `similarities`
    float32, both (N, min(k, N - 1)).
    """
    k = min(k, len(unit) - 1)
    neighbors = np.empty((len(unit), k), np.int32)
    similarities = np.empty((len(unit), k), np.float32)
    found = numbered(exact_results(unit, (unit[part] for part in slices(len(unit))), k + 1))
    fill_graph(found, Numbering(np.ones(len(unit), bool)), neighbors, similarities)
    return neighbors, similarities


def fill_graph(
    results: Iterable[Neighbors],
    numbering: Numbering,
    neighbors: np.ndarray,
    similarities: np.ndarray,
    advance: Callable[[int], object] = lambda rows: None,
) -> None:
    """Write each usable row's neighbors, as rows of the feature file, and their cosines.

    `results` are the numbers of some usable rows and what is found for them: cosines and numbers among
    the usable rows, (Q, k + 1) each time. `neighbors` int32 and `similarities` float32 are (N, k) with k
    below the number of usable rows; a row that is not usable gets -1 and 0. `advance` is called with the
    rows done after each result.
    """
    row_of = numbering.row_of
    for own, cosines, found in results:
        found, similarities[row_of[own]] = without_self(own, found, cosines)
        neighbors[row_of[own]] = row_of[found]
        release(neighbors)
        release(similarities)
        advance(len(own))
    neighbors[~numbering.usable], similarities[~numbering.usable] = -1, 0


def without_self(rows: np.ndarray, found: np.ndarray, cosines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drop each row from its own k + 1 results, or the last where duplicates pushed it out."""
    own = found == rows[:, None]
    own[~own.any(axis=1), -1] = True
    shape = (len(rows), found.shape[1] - 1)
    return ties_by_row(found[~own].reshape(shape), cosines[~own].reshape(shape))


def ties_by_row(found: np.ndarray, cosines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Results (Q, k), best first, with those of equal cosine in the order of their rows."""
    tied = np.flatnonzero((cosines[:, 1:] == cosines[:, :-1]).any(axis=1))
    order = np.lexsort((found[tied], -cosines[tied]), axis=1)
    found[tied] = np.take_along_axis(found[tied], order, axis=1)
    return found, cosines


def numbered(results: Iterable[Found]) -> Iterator[Neighbors]:
    """What is found for usable rows in order, with their numbers."""
    done = 0
    for cosines, found in results:
        yield np.arange(done, done + len(found)), cosines, found
        done += len(found)


def make_search(
    method: str,
    rows: np.ndarray,
    usable: np.ndarray,
    k: int,
    calibration: Calibration,
    exactly: Callable[[np.ndarray, np.ndarray], Search] | None = None,
    by_cells: Callable[[np.ndarray, np.ndarray, Centroids, Effort], Search] | None = None,
) -> Search:
    """Prepare the search of `method`, one of SEARCHES, for k neighbors of the usable rows of float32 (N, D).

    `auto` is exact where that is quick, else IVF, unless it would have to compare with so much that exact
    search is as quick. `exactly` and `by_cells` search on other machines than this one.
    """
    chosen = method
    if method == "auto":
        cost = float(np.count_nonzero(usable)) ** 2 * rows.shape[1]
        chosen = "exact" if cost <= (MAX_EXACT_ON_GPU if has_gpu() else MAX_EXACT) else "ivf"
    if chosen == "ivf":
        centroids = learn_centroids(rows, usable)
        effort = least_effort(rows, usable, centroids, k, calibration)
        if method == "ivf" or effort.compared <= MAX_COMPARED:
            return (by_cells or search_by_cells)(rows, usable, centroids, effort)
    return (exactly or search_exactly)(rows, usable)


def search_exactly(rows: np.ndarray, usable: np.ndarray) -> Search:
    """Compare all usable rows with all."""
    unit = unit_rows(rows, usable)
    return Search(EXACT, lambda k, _: numbered(exact_results(unit, unit_blocks(rows, usable), k)))


def search_by_cells(rows: np.ndarray, usable: np.ndarray, centroids: Centroids, effort: Effort) -> Search:
    """Compare the usable rows with those of as many cells as the effort says."""
    return search_in_cells(make_cells(rows, usable, centroids, effort.reach), effort)


def search_in_cells(cells: Cells, effort: Effort) -> Search:
    """Search among the rows of some cells."""
    return Search(
        effort.described(),
        cells.neighbors,
        lambda standing: search_in_cells(cells_without(cells, standing), effort),
    )


def exact_results(unit: np.ndarray, blocks: Iterable[np.ndarray], k: int) -> Iterator[Found]:
    """Compare blocks of queries, float32 (Q, D), with every row of `unit`, on a GPU where there is one."""
    if has_gpu():
        find = find_on_gpu(unit)
        yield from (find(block, k) for block in blocks)
        return
    size = queries_of_a_thread(unit.shape[1])
    calls = (block[part] for block in blocks for part in slices(len(block), size))
    with threadpool_limits(1, "blas"):
        yield from in_threads(lambda queries: settled_products(queries, unit, k), calls)


def queries_of_a_thread(dim: int) -> int:
    """Queries of `dim` values that a thread of `nearest_rows` takes at once."""
    return max(1, QUERY_VALUES // dim)


def nearest_rows(queries: np.ndarray, unit: np.ndarray, k: int, threads: int | None = None) -> Found:
    """Cosines and rows of the min(k, N) rows of `unit` nearest to each query, best first, ties by row.

    The last bits of a product depend on the shapes multiplied and on how many threads share it. So
    a thread multiplies alone, the queries are cut in one way, and a search among a part of the rows
    that begins at a multiple of DATABASE_ROWS finds the very cosines that a search among all does.
    Where more rows tie with the k-th than the last of TIES covers, any of them are returned.
    """
    k = min(k, len(unit))
    cosines = np.empty((len(queries), k), np.float32)
    found = np.empty((len(queries), k), np.int64)

    def search(part: slice) -> None:
        cosines[part], found[part] = settled_products(queries[part], unit, k)

    with threadpool_limits(1, "blas"):
        deque(
            in_threads(search, slices(len(queries), queries_of_a_thread(queries.shape[1])), threads), maxlen=0
        )
    return cosines, found


def settled_products(queries: np.ndarray, unit: np.ndarray, k: int) -> Found:
    """`nearest_rows` of the queries of one thread, with BLAS on one thread."""
    faiss.omp_set_num_threads(1)  # holds for the calling thread only
    k = min(k, len(unit))
    cosines = np.empty((len(queries), k), np.float32)
    found = np.empty((len(queries), k), np.int64)
    unsettled = np.arange(len(queries))
    for beyond in TIES:
        width = min(k + beyond, len(unit))
        products, rows = best_products(queries, unit, width)
        rows, products = ties_by_row(rows[unsettled], products[unsettled])
        cosines[unsettled], found[unsettled] = products[:, :k], rows[:, :k]
        last = products[:, -1]
        # Where all results tie, nothing is nearer and the heap has kept the first rows.
        unsettled = unsettled[(products[:, k - 1] == last) & (products[:, 0] != last)]
        if width == len(unit) or not len(unsettled):
            break
    return cosines, found


def best_products(queries: np.ndarray, unit: np.ndarray, width: int) -> Found:
    """The `width` largest products of each query with rows of `unit`, largest first, and those rows.

    Multiplied by NumPy, whose BLAS knows more processors than that of faiss and takes a fourth of the time
    where faiss's does not know the one at hand.
    """
    heap = faiss.ResultHeap(len(queries), width, keep_max=True)
    every = np.arange(len(queries))
    for part in slices(len(unit), DATABASE_ROWS):
        heap.add_result_subset(every, queries @ unit[part].T, np.arange(part.start, part.stop))
    heap.finalize()
    return heap.D, heap.I
