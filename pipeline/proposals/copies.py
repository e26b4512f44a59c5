"""Copies of a picture are one piece of evidence: one of them represents all in the affinity graph.

The same file twice, the frames of a burst, a picture saved again: the features of such copies are far
closer than those of two different shots of a person. Left in the graph they fill each other's
neighborhoods, and the more copies there are of a shot, the more it looks like a person of its own.
"""

from collections.abc import Callable

import numpy as np

from pipeline.calibration import Calibration
from pipeline.rows import Rows, blocks, keys_of_rows, order_by_content, slices

# As a share of the usual distance (one minus the cosine) of impostor pairs. 99 % of frames that differ by a
# pixel, a degree and 5 % of light are closer than 0.051; of the genuine pairs in lfw/train one in a thousand
# is, and no impostor pair is closer than 0.13, in both networks of benchmarks/.
COPY_DISTANCE = 0.06
# Least similarity in deviations of impostors' upper side, for networks that hardly tell people apart. Where
# faces are few, the upper side is known better than the lower one.
COPY_SIMILARITY = 3.5


def collapse_copies(
    unit: Rows,
    search: Callable[[np.ndarray], tuple[Rows, Rows, Calibration]],
    known: np.ndarray | None = None,
) -> tuple[np.ndarray, Rows, Rows, Calibration]:
    """Find the row that represents each row of `unit`, float32 (N, D), in the graph: int64 (N,).

    A row without copies represents itself. `search` gives the affinity graph among some rows, bool (N,):
    neighbors numbered among these and cosines, (n, k) both, best first, and their calibration. Its results
    for the representing rows are returned as well. It is called again only where near-copies are found.
    `known`, int64 (M,), is the representing row of each of the first M, where an earlier run has found it.
    """
    stands = first_of_equal(unit)
    if known is not None:
        seen = stands < len(known)
        stands[seen] = known[stands[seen]]
    while True:
        standing = np.flatnonzero(stands == np.arange(len(stands)))
        mask = np.zeros(len(stands), bool)
        mask[standing] = True
        neighbors, cosines, calibration = search(mask)
        rank = np.empty(len(stands), np.int64)
        rank[order_by_content(unit)] = np.arange(len(stands))
        found = near_copies(neighbors, cosines, calibration, rank[standing])
        if (found == np.arange(len(found))).all():
            return stands, neighbors, cosines, calibration
        place = np.cumsum(mask) - 1
        stands = standing[found[place[stands]]]


def first_of_equal(unit: Rows) -> np.ndarray:
    """For each row the first row that equals it bit for bit, int64 (N,)."""
    keys = np.concatenate([keys_of_rows(block) for _, block in blocks(unit)])
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    first = first[inverse]
    repeats = np.flatnonzero(first != np.arange(len(first)))
    for part in slices(len(repeats)):
        rows = repeats[part]
        same = (unit[rows] == unit[first[rows]]).all(axis=1)
        first[rows[~same]] = rows[~same]
    return first


def near_copies(neighbors: Rows, cosines: Rows, calibration: Calibration, rank: np.ndarray) -> np.ndarray:
    """The row that represents each row, int64 (N,); a row may represent itself.

    Among near-copies the one of lowest `rank`, int64 (N,), represents those that are near to it, so a chain
    of pictures that morphs from one person into another is never collapsed into one.
    """
    near = 1 - COPY_DISTANCE * (1 - calibration.middle)
    least = max(near, calibration.middle + COPY_SIMILARITY * calibration.upper * calibration.spread)
    ends = [np.zeros((2, 0), np.int64)]
    for part, block in blocks(cosines):
        row, column = np.nonzero(block >= least)
        ends.append(np.stack([row + part.start, neighbors[part][row, column]]))
    a, b = np.concatenate(ends, 1)
    a, b = np.concatenate([a, b]), np.concatenate([b, a])
    stands = np.full(len(neighbors), -1)
    stands[np.setdiff1d(np.arange(len(stands)), a)] = -2  # have no near-copy
    none = len(stands)
    row_of_rank = np.argsort(rank)
    order = np.empty(none, np.int64)
    order[row_of_rank] = np.arange(none)
    while len(a):
        lowest = np.full(none, none)
        np.minimum.at(lowest, a, order[b])
        leads = (stands == -1) & (order < lowest)
        stands[leads] = np.flatnonzero(leads)
        best = np.full(none, none)
        np.minimum.at(best, a[leads[b]], order[b[leads[b]]])
        joins = (stands == -1) & (best < none)
        stands[joins] = row_of_rank[best[joins]]
        open_ = (stands[a] == -1) & (stands[b] == -1)
        a, b = a[open_], b[open_]
    alone = stands < 0
    stands[alone] = np.flatnonzero(alone)
    return stands
