"""The affinity graph among all usable rows, and again among those that stand once copies are known."""

from collections.abc import Callable
from dataclasses import dataclass

from common.profile import step
from common.progress import bar

import numpy as np

from pipeline.calibration import Calibration, calibrate_to_impostors
from pipeline.rows import Numbering, UnitRows, UsableRows, blocks, graph_of_usable_rows
from pipeline.search.knn import Search, fill_graph


@dataclass
class GraphSearch:
    """What `collapse_copies` searches with: called with the usable rows that stand, bool (U,), it gives their
    neighbors, numbered among them, their cosines and their calibration.

    `create` makes arrays for the neighbors int32 and cosines float32, (N, k), of the rows of the file,
    `search_among` prepares a search for k neighbors among those of a numbering. Where a search can go on
    without some of its rows, those alone ask again that had one of these for a neighbor.
    """

    rows: np.ndarray
    usable: Numbering
    k: int
    prior: Calibration | None
    create: Callable[[int, int], tuple[np.ndarray, np.ndarray]]
    search_among: Callable[[Numbering, int, Calibration], Search]
    search: Search | None = None

    def __post_init__(self) -> None:
        self.searched = self.usable
        self.neighbors, self.cosines = np.empty((0, 0), np.int32), np.empty((0, 0), np.float32)

    def __call__(self, standing: np.ndarray) -> tuple[UsableRows, UsableRows, Calibration]:
        numbering = Numbering(self.usable.at_rows(standing, False))
        k = min(self.k, len(numbering) - 1)
        with step("calibrate"):
            calibration = calibrate_to_impostors(UnitRows(self.rows, numbering), self.prior)
        asking = None
        with step("prepare search"):
            if self.search and self.search.without and k == self.neighbors.shape[1]:
                asking = rows_with_fallen(self.neighbors, numbering.usable)[self.searched.row_of]
                self.search = self.search.without(numbering.usable[self.searched.row_of])
            else:
                self.search = None  # before the next one takes as much memory
                self.search = self.search_among(numbering, k, calibration)
                self.searched = numbering
                self.neighbors, self.cosines = self.create(len(self.rows), k)
        count = len(numbering) if asking is None else int(asking.sum())
        with step("search"), bar(count, "affinity graph", "faces") as progress:
            results = self.search.neighbors(k + 1, asking)
            fill_graph(results, self.searched, self.neighbors, self.cosines, progress.update)
            fallen = ~numbering.usable
            self.neighbors[fallen], self.cosines[fallen] = -1, 0
        return *graph_of_usable_rows(self.neighbors, self.cosines, numbering), calibration


def rows_with_fallen(neighbors: np.ndarray, standing: np.ndarray) -> np.ndarray:
    """Which rows of (N, k) that stand, bool (N,), have a neighbor that does not; bool (N,)."""
    lost = np.concatenate([~standing[near].all(axis=1) for _, near in blocks(neighbors)])
    return lost & standing
