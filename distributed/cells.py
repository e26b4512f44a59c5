"""Approximate search in cells, the cells divided among machines.

The driver learns the centroids and knows the cells of each row, but holds no rows. A task compares a run
of queries with the cells of one shard, whose rows it reads from the feature file by itself, and another
merges what the shards gave. Products are of the same queries and rows as in one process, so their
bits are the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from threadpoolctl import threadpool_limits

from distributed.engine import in_order, machines
from distributed.search import MAX_BLOCKS, merge_found
from pipeline.rows import BLOCK_ROWS, slices, unit_blocks, unit_rows
from pipeline.search.ivf import (
    Centroids,
    Effort,
    Found,
    Neighbors,
    Reach,
    best_in_cells,
    found_widening,
)
from pipeline.search.knn import Search


@dataclass(frozen=True)
class Layout:
    """Usable rows in the order of their cells, as `Cells` of `pipeline/search/ivf.py`, but for the rows.

    `file_rows`, int64 (N,), are their rows in the memory map `rows`.
    """

    rows: np.ndarray
    file_rows: np.ndarray
    row_of: np.ndarray
    probed: np.ndarray
    bounds: np.ndarray
    centroids: Centroids
    reach: Reach

    def shard(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The rows of the file, their numbers and the bounds of the cells in a part of that order."""
        here = slice(first, last)
        return self.file_rows[here], self.row_of[here], np.clip(self.bounds, first, last) - first

    def shard_bounds(self, shards: int) -> np.ndarray:
        """Where each shard begins in that order, at the beginning of a cell, and the end; int64 (S + 1,)."""
        wanted = np.arange(shards) * len(self.row_of) // shards
        starts = np.unique(self.bounds[np.searchsorted(self.bounds, wanted)])
        return np.append(starts[starts < len(self.row_of)], len(self.row_of))


def search_cells_in_shards(
    shards: int | None, rows: np.ndarray, usable: np.ndarray, centroids: Centroids, effort: Effort
) -> Search:
    """Search among the usable rows of the memory map (N, D), the cells cut into `shards`."""
    probed = np.concatenate(list(cells_of_rows(rows, usable, centroids, effort.reach.cells)))
    row_of = np.argsort(probed[:, 0], kind="stable")
    probed = probed[row_of]
    bounds = np.searchsorted(probed[:, 0], np.arange(len(centroids.means) + 1))
    layout = Layout(rows, np.flatnonzero(usable)[row_of], row_of, probed, bounds, centroids, effort.reach)
    return search_of_layout(layout, effort, shards)


def search_of_layout(layout: Layout, effort: Effort, shards: int | None) -> Search:
    """Search among the rows of a layout."""

    def without(standing: np.ndarray) -> Search:
        kept = standing[layout.row_of]
        ends = np.concatenate([[0], np.cumsum(kept)])
        fewer = Layout(
            layout.rows,
            layout.file_rows[kept],
            layout.row_of[kept],
            layout.probed[kept],
            ends[layout.bounds],
            layout.centroids,
            layout.reach,
        )
        return search_of_layout(fewer, effort, shards)

    return Search(effort.described(), lambda k, asking: found_in_cells(layout, k, asking, shards), without)


def cells_of_rows(
    rows: np.ndarray, usable: np.ndarray, centroids: Centroids, count: int
) -> Iterator[np.ndarray]:
    """The `count` cells nearest to each usable row, in runs of rows, each found by a task."""
    known, size = ray.put(centroids), MAX_BLOCKS * BLOCK_ROWS
    tasks = (
        ray.remote(nearest_cells).remote(rows, usable[part], part.start, known, count)
        for part in slices(len(rows), size)
    )
    return in_order(tasks, ahead=2 * int(ray.cluster_resources()["CPU"]))


def nearest_cells(
    rows: np.ndarray, usable: np.ndarray, start: int, centroids: Centroids, count: int
) -> np.ndarray:
    """The `count` cells nearest to the usable rows of a run that begins at `start`, int32 (n, count)."""
    run = rows[start : start + len(usable)]
    with threadpool_limits(1, "blas"):
        return np.concatenate([centroids.nearest(block, count) for block in unit_blocks(run, usable)])


def found_in_cells(
    layout: Layout, k: int, asking: np.ndarray | None, shards: int | None
) -> Iterator[Neighbors]:
    """What each row of the layout finds, or each of a mask of usable rows."""
    nodes = machines()
    ends = layout.shard_bounds(shards or len(nodes))
    spans = list(zip(ends, ends[1:], strict=False))
    known = ray.put(layout.centroids)
    held = [ray.put(layout.shard(first, last)) for first, last in spans]
    places = np.arange(len(layout.row_of)) if asking is None else np.flatnonzero(asking[layout.row_of])

    def find(some: np.ndarray, width: int) -> ray.ObjectRef:
        asking = layout.file_rows[some]
        if width == layout.reach.cells:
            probed = layout.probed[some]
        else:
            probed = ray.remote(cells_of_some).remote(layout.rows, asking, known, width)
        parts = []
        for number, shard in enumerate(held):
            # The machine that has the shard's rows in memory; another one if that is lost.
            home = NodeAffinitySchedulingStrategy(nodes[number % len(nodes)]["NodeID"], soft=True)
            task = ray.remote(search_shard).options(scheduling_strategy=home)
            parts.append(task.remote(layout.rows, [shard], asking, probed, k))
        return ray.remote(merge_found).options(num_cpus=0).remote(k, *parts)

    def search(runs: list[np.ndarray], width: int) -> Iterator[Found]:
        return in_order((find(some, width) for some in runs), ahead=1 + len(nodes))

    for some, cosines, found in found_widening(layout.reach, len(layout.centroids.means), places, search):
        yield layout.row_of[some], cosines, found


def cells_of_some(rows: np.ndarray, asking: np.ndarray, centroids: Centroids, count: int) -> np.ndarray:
    """The `count` cells nearest to the rows `asking` of the file, int32 (Q, count)."""
    with threadpool_limits(1, "blas"):
        return centroids.nearest(unit_rows_at(rows, asking), count)


def unit_rows_at(rows: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Rows of a file at some places, of length one, float32 (n, D)."""
    unit = np.empty((len(at), rows.shape[1]), np.float32)
    for part in slices(len(at)):
        some = np.asarray(rows[at[part]])
        unit[part] = unit_rows(some, np.ones(len(some), bool))
    return unit


def search_shard(
    rows: np.ndarray, shard: list[ray.ObjectRef], asking: np.ndarray, probed: np.ndarray, k: int
) -> Found:
    """What one shard's cells `probed`, (Q, P), hold for the rows `asking` of the file, int64 (Q,)."""
    by_cell, row_of, bounds = shard_in_memory(rows, shard[0])
    with threadpool_limits(1, "blas"):
        return best_in_cells(by_cell, row_of, bounds, unit_rows_at(rows, asking), probed, k)


_held: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}


def shard_in_memory(rows: np.ndarray, shard: ray.ObjectRef) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The vectors of a shard, float32 (n, D), their numbers, and where its cells are; a process keeps the
    last one."""
    if shard.hex() not in _held:
        _held.clear()
        file_rows, row_of, bounds = ray.get(shard)
        _held[shard.hex()] = unit_rows_at(rows, file_rows), row_of, bounds
    return _held[shard.hex()]
