"""The affinity graph: each face's k nearest neighbors by cosine."""

from collections.abc import Callable

import faiss
import numpy as np

NEIGHBORS = 80
QUERY_ROWS = 8192


def unit_rows(rows: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """The usable rows scaled to length one, float32 (usable.sum(), D), in memory."""
    unit = np.empty((int(usable.sum()), rows.shape[1]), np.float32)
    end = 0
    for start in range(0, len(rows), QUERY_ROWS):
        block = np.asarray(rows[start : start + QUERY_ROWS])[usable[start : start + QUERY_ROWS]]
        # Scaled by the largest entry first: squares of very large or small features stay finite.
        block = block / np.abs(block).max(axis=1, keepdims=True, initial=1e-38)
        unit[end : end + len(block)] = block / np.linalg.norm(block, axis=1, keepdims=True)
        end += len(block)
    return unit


def nearest_neighbors(
    unit: np.ndarray, k: int, advance: Callable[[int], object] = lambda rows: None
) -> tuple[np.ndarray, np.ndarray]:
    """Exact k nearest neighbors by cosine, oneself excluded, best first, ties by row.

    `unit` is float32 (N, D) with rows of length one; returns `neighbors` int32 and `similarities`
    float32, both (N, min(k, N - 1)). `advance` is called with the rows done after each block.
    """
    k = min(k, len(unit) - 1)
    neighbors = np.empty((len(unit), k), np.int32)
    similarities = np.empty((len(unit), k), np.float32)
    for start in range(0, len(unit), QUERY_ROWS):
        block = slice(start, min(start + QUERY_ROWS, len(unit)))
        found = faiss.knn(unit[block], unit, k + 1, metric=faiss.METRIC_INNER_PRODUCT)
        neighbors[block], similarities[block] = without_self(np.arange(start, block.stop), found[1], found[0])
        advance(block.stop - start)
    return neighbors, similarities


def without_self(rows: np.ndarray, found: np.ndarray, cosines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drop each row from its own k + 1 results, or the last where duplicates pushed it out."""
    own = found == rows[:, None]
    own[~own.any(axis=1), -1] = True
    shape = (len(rows), found.shape[1] - 1)
    found, cosines = found[~own].reshape(shape), cosines[~own].reshape(shape)
    tied = np.flatnonzero((cosines[:, 1:] == cosines[:, :-1]).any(axis=1))
    order = np.lexsort((found[tied], -cosines[tied]), axis=1)
    found[tied] = np.take_along_axis(found[tied], order, axis=1)
    return found, cosines


def graph_of_all_rows(
    neighbors: np.ndarray, similarities: np.ndarray, usable: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """From the graph of the usable rows to that of all rows, numbered as in the feature file.

    An unusable row has -1 and 0 throughout.
    """
    if usable.all():
        return neighbors, similarities
    shape = (len(usable), neighbors.shape[1])
    all_neighbors, all_similarities = np.full(shape, -1, np.int32), np.zeros(shape, np.float32)
    all_neighbors[usable] = np.flatnonzero(usable).astype(np.int32)[neighbors]
    all_similarities[usable] = similarities
    return all_neighbors, all_similarities


def graph_of_usable_rows(
    neighbors: np.ndarray, similarities: np.ndarray, usable: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of `graph_of_all_rows`."""
    if usable.all():
        return neighbors, similarities
    index = (np.cumsum(usable) - 1).astype(np.int32)
    return index[neighbors[usable]], similarities[usable]
