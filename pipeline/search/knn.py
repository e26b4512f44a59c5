"""The affinity graph: each face's k nearest neighbors by cosine, found exactly or nearly so."""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from common.threads import in_threads

import faiss
import numpy as np

from pipeline.rows import (
    BLOCK_ROWS,
    Numbering,
    release,
    slices,
    unit_blocks,
    unit_rows,
    unit_sample,
)
from pipeline.search.gpu import Find, Found, find_on_gpu, has_gpu
from pipeline.search.ivf import fewest_probes, make_lists, nearest_in_lists, queries_at_once

QUERY_VALUES = 1 << 17  # in the queries that a thread takes at once: fewer, and faiss is slower
DATABASE_ROWS = 1024  # which faiss compares with at once
RESERVOIR_FROM = 40  # results, from which on faiss's reservoir is quicker than its heap; faiss says 100
# Results asked for beyond k: rows that tie with the k-th must all be seen to take the first ones. Where all
# of these tie as well, more are asked for.
TIES = (8, 128, 2048)
MAX_EXACT = 2.5e12  # multiplications that exact search may cost: 100,000 rows of 256 dimensions
MAX_EXACT_ON_GPU = 1e16  # 6 million rows of 256 dimensions
MIN_RECALL = 0.98
RECALL_QUERIES = 500
MAX_COMPARED = 0.4  # of all rows: with more, IVF takes about as long as exact search


@dataclass(frozen=True)
class Search:
    """A way to find neighbors: `find(queries, k)` returns cosines and rows, (Q, k), -1 where too few
    are found, quickest with `queries_at_once`, of which each of `threads` (None: one per core) takes
    `queries_a_call`. `recall` is its measured share of the true neighbors, `effort` what gives it."""

    method: str
    find: Find
    recall: float = 1.0
    effort: int = 0
    queries_at_once: int = BLOCK_ROWS
    queries_a_call: int = sys.maxsize
    threads: int | None = 1

    def described(self) -> dict[str, Any]:
        """What the manifest says of the search."""
        return {"method": self.method, "recall": round(self.recall, 4), "effort": self.effort}

    def results(self, blocks: Iterable[np.ndarray], k: int) -> Iterator[Found]:
        """What is found for blocks of queries, float32 (Q, D), in order, as `fill_graph` takes it."""
        calls = (block[part] for block in blocks for part in slices(len(block), self.queries_a_call))
        return in_threads(lambda queries: self.find(queries, k), calls, self.threads)


def nearest_neighbors(unit: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Exact k nearest neighbors by cosine, oneself excluded, best first, ties by row.

    `unit` is float32 (N, D) with rows of length one; returns `neighbors` int32 and `similarities`
    float32, both (N, min(k, N - 1)).
    """
    k = min(k, len(unit) - 1)
    neighbors = np.empty((len(unit), k), np.int32)
    similarities = np.empty((len(unit), k), np.float32)
    results = exact_search(unit).results((unit[part] for part in slices(len(unit))), k + 1)
    fill_graph(results, Numbering(np.ones(len(unit), bool)), neighbors, similarities)
    return neighbors, similarities


def fill_graph(
    results: Iterable[Found],
    numbering: Numbering,
    neighbors: np.ndarray,
    similarities: np.ndarray,
    advance: Callable[[int], object] = lambda rows: None,
) -> None:
    """Write each usable row's neighbors, as rows of the feature file, and their cosines.

    `results` are for usable rows in order: cosines and numbers among the usable rows, (Q, k + 1) each
    time. `neighbors` int32 and `similarities` float32 are (N, k) with k below the number of usable rows;
    a row that is not usable gets -1 and 0. `advance` is called with the rows done after each result.
    """
    row_of = numbering.row_of
    done = 0
    for cosines, found in results:
        own = np.arange(done, done + len(found))
        found, similarities[row_of[own]] = without_self(own, found, cosines)
        neighbors[row_of[own]] = row_of[found]
        release(neighbors)
        release(similarities)
        done += len(own)
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


def make_search(method: str, rows: np.ndarray, usable: np.ndarray, k: int) -> Search:
    """Prepare the search of `method`, one of SEARCHES, over the usable rows of float32 (N, D).

    `auto` is exact where that is quick, else IVF, unless its queries would be compared with so much
    that exact search is as quick. IVF looks into the fewest lists that reach MIN_RECALL on a sample of
    rows, compared with exact search.
    """
    chosen = method
    if method == "auto":
        cost = float(np.count_nonzero(usable)) ** 2 * rows.shape[1]
        chosen = "exact" if cost <= (MAX_EXACT_ON_GPU if has_gpu() else MAX_EXACT) else "ivf"
    if chosen == "exact":
        return exact_search(unit_rows(rows, usable))
    lists = make_lists(rows, usable)
    sample, nearest = sample_exactly(rows, usable, k + 1)
    probes, recall, compared = fewest_probes(lists, sample, nearest, MIN_RECALL)
    if method == "auto" and compared > MAX_COMPARED:
        del lists  # they hold the rows as well
        return exact_search(unit_rows(rows, usable))

    def find(queries: np.ndarray, k: int) -> Found:
        cosines, found = nearest_in_lists(lists, queries, k, probes)
        if len(short := np.flatnonzero(found[:, -1] < 0)):
            cosines[short], places = nearest_rows(queries[short], lists.rows, k)
            found[short] = lists.row_of[places]
        return cosines, found

    return Search("ivf", find, recall, probes, queries_at_once())


def exact_search(unit: np.ndarray) -> Search:
    """Compare with every row of `unit`, float32 (N, D), on a GPU where there is one."""
    if has_gpu():
        return Search("exact", find_on_gpu(unit))
    return Search(
        "exact",
        lambda queries, k: nearest_rows(queries, unit, k, threads=1),
        queries_a_call=queries_of_a_thread(unit.shape[1]),
        threads=None,
    )


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
    size = queries_of_a_thread(queries.shape[1])
    faiss.cvar.distance_compute_min_k_reservoir = RESERVOIR_FROM

    def search(start: int) -> None:
        faiss.omp_set_num_threads(1)  # holds for the calling thread only
        part = slice(start, start + size)
        unsettled = np.arange(start, min(start + size, len(queries)))
        for beyond in TIES:
            width = min(k + beyond, len(unit))
            products, rows = faiss.knn(queries[part], unit, width, metric=faiss.METRIC_INNER_PRODUCT)
            rows, products = ties_by_row(rows[unsettled - start], products[unsettled - start])
            cosines[unsettled], found[unsettled] = products[:, :k], rows[:, :k]
            last = products[:, -1]
            # Where all results tie, nothing is nearer and faiss has kept the first rows.
            unsettled = unsettled[(products[:, k - 1] == last) & (products[:, 0] != last)]
            if width == len(unit) or not len(unsettled):
                return

    deque(in_threads(search, range(0, len(queries), size), threads), maxlen=0)
    return cosines, found


def sample_exactly(rows: np.ndarray, usable: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """RECALL_QUERIES rows (Q, D), and the numbers of their k nearest, (Q, k), themselves among them."""
    sample = unit_sample(rows, usable, RECALL_QUERIES)
    heap = faiss.ResultHeap(len(sample), k, keep_max=True)
    done = 0
    for block in unit_blocks(rows, usable):
        heap.add_result_subset(np.arange(len(sample)), sample @ block.T, np.arange(done, done + len(block)))
        done += len(block)
    heap.finalize()
    return sample, heap.I
