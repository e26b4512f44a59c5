"""Approximate search by inverted lists (IVF): k-means divides the rows into cells, and each row is compared
with the rows of the cells nearest to it.

The queries are the rows themselves. So which cells are nearest to a row is found once, which says both where
it lies and where it looks, and rows ask in the order of their cells: those that look into a cell do so
together, and one matrix product compares them with all its rows.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from common.progress import bar
from common.threads import in_threads

import faiss
import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_limits

from pipeline.calibration import Calibration
from pipeline.rows import slices, unit_blocks, unit_rows, unit_sample
from pipeline.search.gpu import Found

# For some usable rows their numbers, int64 (Q,), and what is found for them: cosines and numbers, (Q, k).
Neighbors = tuple[np.ndarray, np.ndarray, np.ndarray]

# About the images of a person: larger cells cut people in two, smaller ones cost more to find.
ROWS_A_CELL = 64
TRAINING_ROWS_A_CELL = 20
KMEANS_ROUNDS = 2
# Of more cells the nearest are found in two levels: the centroids lie in cells themselves, of which each row
# looks into GROUPS. Rows whose nearest centroid found is far are compared with all, as nearly only those
# missed a nearer one. A row that lies in another cell than its nearest is found by few. The 81,250 cells of
# 5.2 million synthetic faces: the nearest for 91.9 % of rows in 59 microseconds, 99.6 % in 133, all in 544.
MOST_FLAT = 1 << 14
GROUPS = 64
FAR = 0.125  # of the rows: of those that missed their nearest centroid 0.95 are among them
QUERIES_AT_ONCE = 1 << 16  # enough of them look into one cell
PROBES_AT_ONCE = 1 << 23  # cells looked into by all of them, to bound the memory
PRODUCTS_AT_ONCE = 1 << 24  # of a thread, to bound the memory
COLUMNS_A_BLOCK = 64  # of cosines, of which the largest tells whether any of them is large
AHEAD = 4  # times as many cells as are looked into are found for the sample, so as to find them seldom

# Of the pairs that could be the same person, so many are found by one of the two, and by each so many of its
# own: pairs of hard images of one person, each far from all centroids, hardly ever.
MIN_RECALL, MIN_OWN_RECALL = 0.995, 0.99
# Deviations by which the last neighbor, and the third nearest stranger, may be farther on average.
MAX_SHIFT = 0.25
SAMPLE_ROWS = 1000
# Rows of people who have few images lie in cells of others, and their neighbors anywhere. Rows that find no
# neighbor nearer than any stranger is expected to be, by CLEAR deviations, look into ALONE times as many.
CLEAR, ALONE = 1.0, 16
DEEPER = 2  # times k neighbors of the sample are known: approximate search finds some beyond the k-th
STRANGER = 3  # whose similarity is a measure of the judges, counted from the nearest


@dataclass(frozen=True)
class Centroids:
    """The means of the cells, float32 (C, D) of length one; `share`, (C,), is how much of the training sample
    lies in each. Where there are many, `grouped` are the means as rows in cells of their own, and a row whose
    nearest mean there has a cosine below `far` is compared with all."""

    means: np.ndarray
    share: np.ndarray
    grouped: "Cells | None" = None
    far: float = -1.0

    def nearest(self, rows: np.ndarray, count: int) -> np.ndarray:
        """The cells nearest to rows, float32 (Q, D), nearest first, int32 (Q, count)."""
        if self.grouped is None:
            return nearest_means(self.means, rows, count)
        cosines, found = nearest_in_groups(self.grouped, rows, count)
        far = (cosines[:, 0] < self.far) | (found[:, -1] < 0)
        found[far] = nearest_means(self.means, rows[far], count)
        return found.astype(np.int32)


def nearest_in_groups(grouped: "Cells", rows: np.ndarray, count: int) -> Found:
    """Cosines and numbers of the means nearest to rows, (Q, count), as `best_in_cells` finds them in the
    nearest groups, the cells of `grouped`."""
    above = grouped.centroids
    groups = above.nearest(rows, min(max(GROUPS, 4 * count // ROWS_A_CELL), len(above.means)))
    return best_in_cells(grouped.rows, grouped.row_of, grouped.bounds, rows, groups, count)


def nearest_means(means: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """As `Centroids.nearest`, by comparing with every mean."""
    found = np.empty((len(rows), count), np.int32)
    for part in slices(len(rows), max(1, PRODUCTS_AT_ONCE // len(means))):
        cosines = rows[part] @ means.T
        if count == 1:
            found[part, 0] = cosines.argmax(axis=1)
            continue
        best = np.sort(largest_columns(cosines, count), axis=1)
        order = np.argsort(-np.take_along_axis(cosines, best, axis=1), axis=1, kind="stable")
        found[part] = np.take_along_axis(best, order, axis=1)
    return found


def largest_columns(values: np.ndarray, count: int) -> np.ndarray:
    """The columns of the `count` largest values of each row of (Q, N), int64 (Q, count), in no order.

    They lie in the blocks whose largest values are largest, and selecting among these is quicker.
    """
    columns = np.arange(values.shape[1])
    blocks = len(columns) // COLUMNS_A_BLOCK
    if count < blocks:
        whole, rest = np.split(columns, [COLUMNS_A_BLOCK * blocks])
        whole = whole.reshape(COLUMNS_A_BLOCK, blocks)
        maxima = values[:, : whole.size].reshape(len(values), *whole.shape).max(axis=1)
        near = whole.T[np.argpartition(maxima, -count, axis=1)[:, -count:]].reshape(len(values), -1)
        columns = np.concatenate([near, np.broadcast_to(rest, (len(values), len(rest)))], axis=1)
        values = np.take_along_axis(values, columns, axis=1)
    best = np.argpartition(values, -count, axis=1)[:, -count:]
    return np.take_along_axis(np.broadcast_to(columns, values.shape), best, axis=1)


def learn_centroids(rows: np.ndarray, usable: np.ndarray) -> Centroids:
    """The centroids of cells for the usable rows of float32 (N, D), learned from a sample of them."""
    count = max(1, int(np.count_nonzero(usable)) // ROWS_A_CELL)
    sample = unit_sample(rows, usable, TRAINING_ROWS_A_CELL * count)
    means, cell = k_means(sample, count)
    centroids = centroids_of(means, np.bincount(cell, minlength=count) / len(sample))
    if centroids.grouped is None:
        return centroids
    some = sample[:: TRAINING_ROWS_A_CELL * ROWS_A_CELL]
    cosines = nearest_in_groups(centroids.grouped, some, 1)[0]
    return replace(centroids, far=float(np.quantile(cosines, FAR)))


def k_means(sample: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` means of length one, and which is nearest to each of the sample, float32 (N, D), at last.

    K-means on the sphere (Dhillon and Modha 2001).
    """
    means = sample[np.arange(count) * len(sample) // count]
    for _ in range(KMEANS_ROUNDS):
        blocks = (sample[part] for part in slices(len(sample)))
        cell = nearest_of_blocks(centroids_of(means), blocks, 1, len(sample), "learning cells")[:, 0]
        ones = np.ones(len(sample), np.float32)
        sums = sparse.csr_array((ones, (cell, np.arange(len(sample)))), (count, len(sample))) @ sample
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        means = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), means)
    return means, cell


def centroids_of(means: np.ndarray, share: np.ndarray | None = None) -> Centroids:
    """With cells of their own, where there are many."""
    grouped = None
    if len(means) > MOST_FLAT:
        above = centroids_of(k_means(means, len(means) // ROWS_A_CELL)[0])
        grouped = make_cells(means, np.ones(len(means), bool), above, Reach(1))
    return Centroids(means, np.zeros(len(means)) if share is None else share, grouped)


def nearest_of_blocks(
    centroids: Centroids, blocks: Iterable[np.ndarray], count: int, total: int, doing: str = "cells"
) -> np.ndarray:
    """The `count` cells nearest to each of `total` rows in blocks, float32 (n, D) each; int32 (total, count).

    `doing` is shown meanwhile.
    """
    found, done = np.empty((total, count), np.int32), 0
    with threadpool_limits(1, "blas"), bar(total, doing, "faces") as progress:
        for block in in_threads(lambda rows: centroids.nearest(rows, count), blocks):
            found[done : done + len(block)] = block
            done += len(block)
            progress.update(len(block))
    return found


@dataclass(frozen=True)
class Reach:
    """How far rows look: into `cells` cells, and those that find no neighbor there whose cosine is `near`
    into ALONE times as many."""

    cells: int
    near: float = -2.0

    def alone(self, cells: int) -> int:
        """How many of so many cells rows look into that found nobody near."""
        return min(ALONE * self.cells, cells)


@dataclass(frozen=True)
class Effort:
    """How far rows look, and what that finds of a sample.

    `recall_possible` is the share of the neighbors that could be the same person that the row finds or that
    find it, `own_recall` of those that it finds, `recall` of all k; `shift` is by how many deviations on
    average the last neighbor and the third nearest stranger are farther than the true ones, all in
    `reach.cells`. `compared` is the share of all rows compared with.
    """

    reach: Reach
    recall_possible: float
    own_recall: float
    recall: float
    shift: float
    compared: float

    def described(self) -> dict[str, Any]:
        """What the manifest says of the search."""
        return {
            "method": "ivf",
            "recall": round(self.recall, 4),
            "recall_possible": round(self.recall_possible, 4),
            "recall_possible_own": round(self.own_recall, 4),
            "shift": round(self.shift, 4),
            "compared": round(self.compared, 6),
            "effort": self.reach.cells,
        }


@dataclass(frozen=True)
class Sample:
    """Some rows, float32 (Q, D), and their nearest neighbors, best first: their similarities, float32 (Q, K),
    their rows, float32 (A, D), and which of these each is, (Q, K)."""

    rows: np.ndarray
    similarities: np.ndarray
    near_rows: np.ndarray
    place: np.ndarray


def least_effort(
    rows: np.ndarray, usable: np.ndarray, centroids: Centroids, k: int, calibration: Calibration
) -> Effort:
    """The fewest cells that find MIN_RECALL of the neighbors that could be the same person, and keep what is
    measured of the others within MAX_SHIFT of what it is.

    A neighbor could be the same person where it is nearer than the nearest of so many strangers is expected
    to be. A row finds it where it looks into its cell; the two are found, as an edge between them, where
    one finds the other.
    """
    sample = sampled(rows, usable, k, calibration)
    least = calibration.nearest_stranger(int(np.count_nonzero(usable)))
    near = float(calibration.middle + calibration.spread * (least + CLEAR))
    cells, known = 1, 0
    while True:
        cells = min(max(cells + 1, cells * 5 // 4), len(centroids.means))
        if cells > known:
            known = min(AHEAD * cells, len(centroids.means))
            of_sample = nearest_of_blocks(centroids, [sample.rows], known, len(sample.rows))
            near_blocks = (sample.near_rows[part] for part in slices(len(sample.near_rows)))
            of_near = nearest_of_blocks(centroids, near_blocks, known, len(sample.near_rows))
        probed = of_sample[:, :cells]
        inside = holding(probed, of_near[sample.place, 0])
        pairs = zip(probed[:, 0], sample.place, strict=True)
        other_way = np.stack([(of_near[near, :cells] == own).any(axis=1) for own, near in pairs])
        found = what_is_found(sample.similarities, inside, inside | other_way, k, least)
        possible, own_possible, _, shift = found
        enough = possible >= MIN_RECALL and own_possible >= MIN_OWN_RECALL and shift <= MAX_SHIFT
        if enough or cells == len(centroids.means):
            alone = ~(inside & (sample.similarities >= least + CLEAR)).any(axis=1)
            reach = Reach(cells, near)
            return Effort(reach, *found, share_compared(centroids, probed, reach, sample.rows[alone]))


def share_compared(centroids: Centroids, probed: np.ndarray, reach: Reach, alone: np.ndarray) -> float:
    """The share of all rows that each of some is compared with, which looks into the cells of its row of
    `probed`, (Q, P), while those of rows (A, D) find nobody near there."""
    wider = reach.alone(len(centroids.means))
    total = centroids.share[probed].sum()
    if wider > probed.shape[1]:
        total += centroids.share[centroids.nearest(alone, wider)].sum()
    return float(total / len(probed))


def holding(probed: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Whether each of the cells (Q, K) is among those that its row looks into, (Q, P); bool (Q, K)."""
    return np.stack([np.isin(cells, own) for cells, own in zip(cell, probed, strict=True)])


def sampled(rows: np.ndarray, usable: np.ndarray, k: int, calibration: Calibration) -> Sample:
    """SAMPLE_ROWS of the usable rows, and DEEPER times k neighbors of each."""
    count = min(DEEPER * k + 1, int(np.count_nonzero(usable)))
    sample, cosines, nearest = sample_exactly(rows, usable, count)
    asked, place = np.unique(nearest[:, 1:], return_inverse=True)  # without itself
    picked = np.zeros(len(rows), bool)
    picked[np.flatnonzero(usable)[asked]] = True
    similarities = calibration.calibrate(cosines[:, 1:])
    return Sample(sample, similarities, unit_rows(rows, picked), place.reshape(similarities.shape))


def what_is_found(
    similarities: np.ndarray, inside: np.ndarray, either: np.ndarray, k: int, least: float
) -> tuple[float, float, float, float]:
    """Recall of the k neighbors that reach `least` by either side and by the row, recall of all k, and the
    shift, of `Effort`.

    `similarities` float32 (Q, K) are those of the K nearest, best first; `inside` (Q, K) says which are
    found, and `either` which are or find the row.
    """
    possible = similarities[:, :k] >= least
    strange = similarities < least
    shifts = []
    for mask, place in ((np.ones_like(inside), k), (strange, STRANGER)):
        there = mask[:, :k].sum(axis=1) >= place
        if there.any():
            true, found = (
                value_at(similarities[there], (mask & some)[there], place) for some in (True, inside)
            )
            shifts.append(float((true - found).mean()))
    return (
        float(either[:, :k][possible].mean()) if possible.any() else 1.0,
        float(inside[:, :k][possible].mean()) if possible.any() else 1.0,
        float(inside[:, :k].mean()),
        max(shifts, default=0.0),
    )


def value_at(values: np.ndarray, mask: np.ndarray, place: int) -> np.ndarray:
    """The value where the mask of each row is true for the `place`-th time, else the last; (Q,) of (Q, K)."""
    reached = mask.cumsum(axis=1) == place
    column = np.where(reached.any(axis=1), reached.argmax(axis=1), values.shape[1] - 1)
    return values[np.arange(len(values)), column]


def sample_exactly(rows: np.ndarray, usable: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """SAMPLE_ROWS rows (Q, D), and the cosines and numbers of their k nearest, (Q, k), itself one of them."""
    sample = unit_sample(rows, usable, SAMPLE_ROWS)
    heap = faiss.ResultHeap(len(sample), k, keep_max=True)
    done = 0
    with threadpool_limits(1, "blas"):
        for cosines in in_threads(lambda block: sample @ block.T, unit_blocks(rows, usable)):
            numbers = np.arange(done, done + cosines.shape[1])
            heap.add_result_subset(np.arange(len(sample)), cosines, numbers)
            done += len(numbers)
    heap.finalize()
    return sample, heap.D, heap.I


@dataclass(frozen=True)
class Cells:
    """The N usable rows cell by cell: those of cell c are `rows[bounds[c] : bounds[c + 1]]`.

    `rows` float32 (N, D), of length one; `row_of` int64 (N,), their numbers among the usable rows; `probed`
    int32 (N, P), the cells nearest to each of `rows`, the first its own; `bounds` int64 (C + 1,). `reach` is
    how far rows look.
    """

    rows: np.ndarray
    row_of: np.ndarray
    probed: np.ndarray
    bounds: np.ndarray
    centroids: Centroids
    reach: Reach

    def neighbors(self, k: int, asking: np.ndarray | None = None) -> Iterator[Neighbors]:
        """What `found_widening` finds for each row, or for those of a mask of usable rows."""
        places = np.arange(len(self.rows)) if asking is None else np.flatnonzero(asking[self.row_of])

        def find(width: int, some: np.ndarray) -> Found:
            queries = self.rows[some]
            own = width == self.reach.cells
            probed = self.probed[some] if own else self.centroids.nearest(queries, width)
            return best_in_cells(self.rows, self.row_of, self.bounds, queries, probed, k)

        def search(runs: list[np.ndarray], width: int) -> Iterator[Found]:
            return in_threads(partial(find, width), runs)

        with threadpool_limits(1, "blas"):
            for some, cosines, found in found_widening(self.reach, len(self.centroids.means), places, search):
                yield self.row_of[some], cosines, found


def make_cells(rows: np.ndarray, usable: np.ndarray, centroids: Centroids, reach: Reach) -> Cells:
    """Lay out the usable rows of float32 (N, D), which will look so far."""
    count = int(np.count_nonzero(usable))
    probed = nearest_of_blocks(centroids, unit_blocks(rows, usable), reach.cells, count)
    row_of = np.argsort(probed[:, 0], kind="stable")
    place_of = np.empty_like(row_of)
    place_of[row_of] = np.arange(len(row_of))
    by_cell, done = np.empty((len(row_of), rows.shape[1]), np.float32), 0
    for block in unit_blocks(rows, usable):  # again, so that the rows are held once
        by_cell[place_of[done : done + len(block)]] = block
        done += len(block)
    probed = probed[row_of]
    bounds = np.searchsorted(probed[:, 0], np.arange(len(centroids.means) + 1))
    return Cells(by_cell, row_of, probed, bounds, centroids, reach)


def cells_without(cells: Cells, standing: np.ndarray) -> Cells:
    """The cells with those of their rows that stand, bool (N,) by number; in the memory of `cells`, which is
    spoilt."""
    kept = standing[cells.row_of]
    done = 0
    for part in slices(len(kept)):
        here = cells.rows[part][kept[part]]
        cells.rows[done : done + len(here)] = here
        done += len(here)
    bounds = np.concatenate([[0], np.cumsum(kept)])[cells.bounds]
    left = cells.rows[:done], cells.row_of[kept], cells.probed[kept]
    return Cells(*left, bounds, cells.centroids, cells.reach)


def found_widening(
    reach: Reach, cells: int, places: np.ndarray, search: Callable[[list[np.ndarray], int], Iterable[Found]]
) -> Iterator[Neighbors]:
    """Some of the rows at `places`, int64 (Q,), and what is found for them, until each has found enough.

    `search` gives for each of some runs of places what the rows there find in so many of `cells` cells. Those
    that find nobody near beside themselves are asked about again in more, and those that find too few in all.
    """
    for width in (reach.cells, reach.alone(cells), cells):
        size = max(1, min(QUERIES_AT_ONCE, PROBES_AT_ONCE // width))
        runs = [places[part] for part in slices(len(places), size)]
        places = places[:0]
        for some, (cosines, found) in zip(runs, search(runs, width), strict=True):
            again = found[:, -1] < 0
            if width < reach.alone(cells):
                again |= (cosines[:, 1:2] < reach.near).any(axis=1)
            yield some[~again], cosines[~again], found[~again]
            places = np.append(places, some[again])


def best_in_cells(
    by_cell: np.ndarray,
    row_of: np.ndarray,
    bounds: np.ndarray,
    queries: np.ndarray,
    probed: np.ndarray,
    k: int,
) -> Found:
    """Cosines float32 and numbers of usable rows int64, (Q, k), best first, of the rows nearest to `queries`
    in the cells `probed`, (Q, P); -1 where these hold fewer than k.

    `by_cell`, `row_of` and `bounds` are as in `Cells`.
    """
    looking = sparse.csr_array(
        (np.ones(probed.size, bool), probed.ravel(), np.arange(0, probed.size + 1, probed.shape[1])),
        (len(queries), len(bounds) - 1),
    ).tocsc()
    heap = faiss.ResultHeap(len(queries), k, keep_max=True)
    for cell in np.flatnonzero(np.diff(looking.indptr) * np.diff(bounds)):
        here = looking.indices[looking.indptr[cell] : looking.indptr[cell + 1]].astype(np.int64)
        asking, first = queries[here], bounds[cell]
        for part in slices(bounds[cell + 1] - first, max(1, PRODUCTS_AT_ONCE // len(here))):
            rows = slice(first + part.start, first + part.stop)
            heap.add_result_subset(here, asking @ by_cell[rows].T, row_of[rows])
    heap.finalize()
    return heap.D, heap.I
