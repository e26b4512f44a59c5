"""Exact search for neighbors, the rows divided among machines.

The usable rows are cut into shards. A task compares a run of queries with one shard, which it reads
from the feature file by itself, and another task merges what the shards gave. So no machine needs
more than a shard in memory, and the driver sees nothing but the neighbors found.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from distributed.engine import in_order, machines
from pipeline.rows import BLOCK_ROWS, unit_blocks, unit_rows
from pipeline.search.knn import DATABASE_ROWS, EXACT, Found, Search, nearest_rows, numbered

MAX_BLOCKS = 8  # of BLOCK_ROWS queries in one task
TASKS_A_NODE = 8  # at least, so that no machine waits long for the last one
MERGED_AT_ONCE = 4096

Span = tuple[int, int]  # of rows of the feature file


def found_in_shards(rows: np.ndarray, usable: np.ndarray, k: int, shards: int | None) -> Iterator[Found]:
    """For runs of usable rows of the memory map (N, D) in order, the k nearest of all, themselves among them.

    The rows are cut into `shards`, by default one for each machine. Yields cosines float32 and
    numbers int32 of usable rows, (Q, k), best first, ties by row.
    """
    nodes = machines()
    threads = int(min(node["Resources"]["CPU"] for node in nodes))
    spans = shard_spans(usable, shards or len(nodes))
    firsts = [int(usable[:start].sum()) for start, _ in spans]
    chosen = usable.tobytes()  # hashable, for `lru_cache`
    blocks = -(-len(rows) // BLOCK_ROWS)
    size = BLOCK_ROWS * min(MAX_BLOCKS, max(1, blocks * len(spans) // (TASKS_A_NODE * len(nodes))))

    def merged(start: int) -> ray.ObjectRef:
        parts = []
        for number, (span, first) in enumerate(zip(spans, firsts, strict=True)):
            # The machine that has the shard's rows in memory; another one if that is lost.
            home = NodeAffinitySchedulingStrategy(nodes[number % len(nodes)]["NodeID"], soft=True)
            task = ray.remote(search_shard).options(num_cpus=threads, scheduling_strategy=home)
            parts.append(task.remote(rows, chosen, (start, start + size), span, first, k, threads))
        return ray.remote(merge_found).options(num_cpus=0).remote(k, *parts)

    return in_order(map(merged, range(0, len(rows), size)), ahead=1 + 2 * len(nodes) // len(spans))


def search_in_shards(shards: int | None, rows: np.ndarray, usable: np.ndarray) -> Search:
    """Compare all usable rows of the memory map (N, D) with all, in `shards`."""
    return Search(EXACT, lambda k, _: numbered(found_in_shards(rows, usable, k, shards)))


def shard_spans(usable: np.ndarray, shards: int) -> list[Span]:
    """The rows that each shard spans, about as many usable ones in each.

    A shard's usable rows begin at a multiple of DATABASE_ROWS, for the sake of `nearest_rows`; where
    there are too few rows for that many shards, there are fewer.
    """
    row_of = np.flatnonzero(usable)
    blocks = -(-len(row_of) // DATABASE_ROWS)
    starts = np.unique(np.arange(shards) * blocks // shards) * DATABASE_ROWS
    bounds = [*row_of[starts].tolist(), len(usable)]
    return list(zip(bounds, bounds[1:], strict=False))


def search_shard(
    rows: np.ndarray, chosen: bytes, run: Span, span: Span, first: int, k: int, threads: int
) -> Found:
    """Cosines float32 and numbers int32, (Q, k or fewer), of the span's chosen rows nearest to a run's.

    `chosen` are the bytes of bool (N,). Chosen rows are numbered through the whole file, those of the span
    from `first` on.
    """
    assert isinstance(rows, np.memmap)
    unit = unit_rows_of_span(str(rows.filename), rows.dtype.str, rows.offset, rows.shape, chosen, span)
    queries = np.asarray(rows[slice(*run)])
    asked = np.frombuffer(chosen, bool)[slice(*run)]
    results = [nearest_rows(block, unit, k, threads) for block in unit_blocks(queries, asked)]
    cosines, found = (np.concatenate(column) for column in zip(*results, strict=True))
    return cosines, (found + first).astype(np.int32)


@lru_cache(maxsize=1)
def unit_rows_of_span(
    path: str, dtype: str, offset: int, shape: tuple[int, int], chosen: bytes, span: Span
) -> np.ndarray:
    """A shard in memory; a process keeps the one that it searched last."""
    rows = np.asarray(np.memmap(path, dtype, "r", offset, shape)[slice(*span)])
    return unit_rows(rows, np.frombuffer(chosen, bool)[slice(*span)])


def merge_found(k: int, *parts: Found) -> Found:
    """The best k of what the shards found, each in the order of `nearest_rows`, shards by row."""
    if len(parts) == 1:
        return parts[0]
    k = min(k, sum(found.shape[1] for _, found in parts))
    results = []
    for start in range(0, max(1, len(parts[0][0])), MERGED_AT_ONCE):
        some = slice(start, start + MERGED_AT_ONCE)
        cosines, found = (
            np.concatenate([part[some] for part in column], 1) for column in zip(*parts, strict=True)
        )
        best = np.argsort(-cosines, axis=1, kind="stable")[:, :k]  # ties stay by row
        results.append((np.take_along_axis(cosines, best, 1), np.take_along_axis(found, best, 1)))
    cosines, found = (np.concatenate(column) for column in zip(*results, strict=True))
    return cosines, found
