"""Approximate search by inverted lists (IVF): k-means divides the rows into lists, and a query is compared
with the rows of the lists nearest to it.

All queries that look into a list are multiplied with its rows at once. One query after another would
read every row from memory anew, which takes several times as long as to multiply it.
"""

from collections import deque
from dataclasses import dataclass

from common.threads import in_threads, usable_cores

import faiss
import numpy as np
from scipy import sparse

from pipeline.rows import slices, unit_blocks, unit_sample
from pipeline.search.gpu import Found

TRAINING_ROWS_A_LIST = 20
KMEANS_ROUNDS = 3
QUERIES_AT_ONCE = 16384  # for each thread: enough of them look into one list
MAX_AT_ONCE = 1 << 17  # for all threads: half a gigabyte
# For each thread, to bound the memory: pairs of a query and a list, and of a query and a row in a list,
# which may hold most rows where most are alike.
PROBES_AT_ONCE, PRODUCTS_AT_ONCE = 1 << 22, 1 << 24


@dataclass(frozen=True)
class Lists:
    """The N usable rows list by list: those of list c are `rows[bounds[c] : bounds[c + 1]]`.

    `rows` float32 (N, D), of length one; `row_of` int64 (N,), their numbers among the usable rows;
    `list_of` int64 (N,), the list of each usable row; `bounds` int64 (C + 1,); `centroids` an index
    of the C centroids.
    """

    rows: np.ndarray
    row_of: np.ndarray
    list_of: np.ndarray
    bounds: np.ndarray
    centroids: faiss.Index


def make_lists(rows: np.ndarray, usable: np.ndarray) -> Lists:
    """Divide the usable rows of float32 (N, D); k-means learns from a sample of them."""
    count, dim = int(np.count_nonzero(usable)), rows.shape[1]
    kmeans = faiss.Kmeans(
        dim, number_of_lists(count), niter=KMEANS_ROUNDS, spherical=True, min_points_per_centroid=1
    )
    kmeans.train(unit_sample(rows, usable, TRAINING_ROWS_A_LIST * kmeans.k))
    nearest = (kmeans.index.search(block, 1)[1][:, 0] for block in unit_blocks(rows, usable))
    list_of = np.concatenate(list(nearest))
    row_of = np.argsort(list_of, kind="stable")
    place_of = np.empty_like(row_of)
    place_of[row_of] = np.arange(count)
    by_list, done = np.empty((count, dim), np.float32), 0
    for block in unit_blocks(rows, usable):  # again, so that the rows are held once
        by_list[place_of[done : done + len(block)]] = block
        done += len(block)
    bounds = np.searchsorted(list_of[row_of], np.arange(kmeans.k + 1))
    return Lists(by_list, row_of, list_of, bounds, kmeans.index)


def number_of_lists(count: int) -> int:
    """Lists for `count` rows: with more, it takes longer to find the lists than to search them."""
    return max(1, min(int(count ** (2 / 3)), count // TRAINING_ROWS_A_LIST))


def fewest_probes(
    lists: Lists, sample: np.ndarray, nearest: np.ndarray, recall: float
) -> tuple[int, float, float]:
    """How many lists a query must look into to find the share `recall` of its nearest rows.

    `sample` is float32 (Q, D), `nearest` int64 (Q, k) the rows truly nearest. Returns the number,
    the share it finds, and the share of all rows it compares with.
    """
    _, order = lists.centroids.search(sample, lists.centroids.ntotal)
    rank = np.argsort(order, axis=1)
    needed = np.sort(np.take_along_axis(rank, lists.list_of[nearest], axis=1), axis=None) + 1
    probes = int(needed[int(np.ceil(recall * needed.size)) - 1])
    compared = np.diff(lists.bounds)[order[:, :probes]].sum() / (len(sample) * len(lists.rows))
    return probes, float((needed <= probes).mean()), float(compared)


def queries_at_once() -> int:
    """With how many `nearest_in_lists` is quickest: enough for every thread."""
    return min(QUERIES_AT_ONCE * usable_cores(), MAX_AT_ONCE)


def nearest_in_lists(lists: Lists, queries: np.ndarray, k: int, probes: int) -> Found:
    """Cosines float32 and rows int64, (Q, k), nearest to `queries` in the `probes` lists nearest to each.

    Best first; rows of -1 where those lists hold fewer than k.
    """
    found = np.empty((len(queries), k), np.int64)
    cosines = np.empty((len(queries), k), np.float32)
    share = -(-len(queries) // usable_cores())
    size = max(1, min(share, QUERIES_AT_ONCE, PROBES_AT_ONCE // probes))

    def search(part: slice) -> None:
        faiss.omp_set_num_threads(1)  # holds for the calling thread only
        cosines[part], found[part] = search_together(lists, queries[part], k, probes)

    deque(in_threads(search, slices(len(queries), size)), maxlen=0)
    return cosines, found


def search_together(lists: Lists, queries: np.ndarray, k: int, probes: int) -> Found:
    """What `nearest_in_lists` finds, on the calling thread, list by list."""
    _, probed = lists.centroids.search(queries, probes)
    starts = np.arange(0, probed.size + 1, probes)
    looking = sparse.csr_array(
        (np.ones(probed.size, bool), probed.ravel(), starts), (len(queries), lists.centroids.ntotal)
    ).tocsc()
    heap = faiss.ResultHeap(len(queries), k, keep_max=True)
    for probed_list in np.flatnonzero(np.diff(looking.indptr) * np.diff(lists.bounds)):
        here = looking.indices[looking.indptr[probed_list] : looking.indptr[probed_list + 1]]
        asking = queries[here]
        first, last = lists.bounds[probed_list], lists.bounds[probed_list + 1]
        for part in slices(last - first, max(1, PRODUCTS_AT_ONCE // len(here))):
            rows = slice(first + part.start, first + part.stop)
            heap.add_result_subset(here, multiply(asking, lists.rows[rows]), lists.row_of[rows])
    heap.finalize()
    return heap.D, heap.I


def multiply(queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """`queries @ rows.T`, float32 (Q, R), by the library of faiss, which keeps to the threads that faiss
    is given where NumPy's takes them all."""
    transform = faiss.LinearTransform(rows.shape[1], len(rows))
    faiss.copy_array_to_vector(rows.ravel(), transform.A)
    transform.is_trained = True
    return transform.apply(queries)
