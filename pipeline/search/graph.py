"""The affinity graph among all usable rows, and again among those that stand once copies are known."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from common.profile import step
from common.progress import bar

import numpy as np

from pipeline.calibration import Calibration, calibrate_to_impostors
from pipeline.files.proposals import KeptGraph
from pipeline.rows import Numbering, UnitRows, UsableRows, blocks, graph_of_usable_rows
from pipeline.search.grown import copy_graph, extend_exactly, mend
from pipeline.search.knn import EXACT, Search, fill_graph

# Rows that may be searched for one with all where search is approximate: with more, to search all anew by
# cells is about as quick (a product of 256 dimensions takes 5 ns, the cells 200 microseconds a row).
MOST_MENDED = 1 << 14


@dataclass
class GraphSearch:
    """What `collapse_copies` searches with: called with the usable rows that stand, bool (U,), it gives their
    neighbors, numbered among them, their cosines and their calibration.

    `create` makes arrays for the neighbors int32 and cosines float32, (N, k), of the rows of the file,
    `search_among` prepares a search for k neighbors among those of a numbering. Where a search can go on
    without some of its rows, those alone ask again that had one of these for a neighbor.

    `kept` are graphs that an earlier run made of the first rows of the file, by the search that `kept_search`
    describes. Where one serves, new rows alone are searched for. `described` is what the manifest says of
    the search, and `asked` how many rows were searched for in all.
    """

    rows: np.ndarray
    usable: Numbering
    k: int
    prior: Calibration | None
    create: Callable[[int, int], tuple[np.ndarray, np.ndarray]]
    search_among: Callable[[Numbering, int, Calibration], Search]
    kept: list[KeptGraph] = field(default_factory=list)
    kept_search: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.search: Search | None = None
        self.described: dict[str, Any] = {}
        self.asked = 0
        self.mending = False
        self.standing = np.zeros(len(self.rows), bool)  # the rows whose graph is in the arrays
        self.neighbors, self.cosines = np.empty((0, 0), np.int32), np.empty((0, 0), np.float32)

    def __call__(self, standing: np.ndarray) -> tuple[UsableRows, UsableRows, Calibration]:
        numbering = Numbering(self.usable.at_rows(standing, False))
        k = min(self.k, len(numbering) - 1)
        with step("calibrate"):
            calibration = calibrate_to_impostors(UnitRows(self.rows, numbering), self.prior)
        if not (self._extend(numbering, k) or self._mend(numbering, k) or self._go_on(numbering, k)):
            self._search(numbering, k, calibration)
        fallen = ~numbering.usable
        self.neighbors[fallen], self.cosines[fallen] = -1, 0
        self.standing = numbering.usable
        return *graph_of_usable_rows(self.neighbors, self.cosines, numbering), calibration

    def known_stands(self) -> np.ndarray | None:
        """What stands for each of the first usable rows, int64, by a kept graph of approximate search: there,
        these are not looked at again for copies. None else."""
        if not self.kept or self.kept_search == EXACT:
            return None
        stands_for, number_of = self.kept[0].stands_for, self.usable.number_of
        return number_of[stands_for[stands_for >= 0]].astype(np.int64)

    def _extend(self, numbering: Numbering, k: int) -> bool:
        """By a graph that exact search made of the very rows that stand before the new ones."""
        if self.kept_search != EXACT:
            return False
        for graph in self.kept:
            same = (graph.standing == numbering.usable[: len(graph.standing)]).all()
            if same and k == graph.neighbors.shape[1]:
                self._take(graph, k)
                self.described = EXACT
                before = int(graph.standing.sum())
                self.asked += len(numbering) - before
                with step("search"), bar(len(numbering), "affinity graph", "faces") as progress:
                    arrays = self.neighbors, self.cosines
                    extend_exactly(self.rows, numbering, before, *arrays, progress.update)
                return True
        return False

    def _mend(self, numbering: Numbering, k: int) -> bool:
        """By a graph that approximate search made, where few rows came or fell."""
        if self.kept and self.kept_search != EXACT and k == self.kept[0].neighbors.shape[1]:
            graph = self.kept.pop()
            self._take(graph, k)
            new = int(self.usable.usable[len(graph.stands_for) :].sum())
            self.described = self.kept_search | {"grown": self.kept_search.get("grown", 0) + new}
            self.mending = True
        if not self.mending or k != self.neighbors.shape[1]:
            return False
        came = numbering.usable & ~self.standing
        asking = came | rows_with_fallen(self.neighbors, numbering.usable)
        if asking.sum() > MOST_MENDED:
            self.mending = False
            return False
        if not asking.any():
            return True
        self.asked += int(asking.sum())
        with step("search"), bar(len(numbering), "affinity graph", "faces") as progress:
            arrays = self.neighbors, self.cosines
            mend(self.rows, numbering, came, asking, *arrays, progress.update)
        return True

    def _go_on(self, numbering: Numbering, k: int) -> bool:
        """By the search that is there, without the rows that fell."""
        if self.search is None or self.search.without is None or k != self.neighbors.shape[1]:
            return False
        among = self.searched.row_of
        with step("prepare search"):
            asking = rows_with_fallen(self.neighbors, numbering.usable)[among]
            self.search = self.search.without(numbering.usable[among])
        self._ask(self.search, k, int(asking.sum()), asking)
        return True

    def _search(self, numbering: Numbering, k: int, calibration: Calibration) -> None:
        """Anew."""
        with step("prepare search"):
            self.search = None  # before the next one takes as much memory
            self.search = self.search_among(numbering, k, calibration)
            self.searched, self.described = numbering, self.search.described
            self.neighbors, self.cosines = self.create(len(self.rows), k)
        self._ask(self.search, k, len(numbering))

    def _ask(self, search: Search, k: int, count: int, asking: np.ndarray | None = None) -> None:
        self.asked += count
        with step("search"), bar(count, "affinity graph", "faces") as progress:
            results = search.neighbors(k + 1, asking)
            fill_graph(results, self.searched, self.neighbors, self.cosines, progress.update)

    def _take(self, graph: KeptGraph, k: int) -> None:
        """Begin with a graph of the first rows."""
        self.neighbors, self.cosines = self.create(len(self.rows), k)
        copy_graph((graph.neighbors, graph.cosines), (self.neighbors, self.cosines))
        self.neighbors[len(graph.standing) :], self.cosines[len(graph.standing) :] = -1, 0
        self.standing = np.zeros(len(self.rows), bool)
        self.standing[: len(graph.standing)] = graph.standing


def rows_with_fallen(neighbors: np.ndarray, standing: np.ndarray) -> np.ndarray:
    """Which rows of (N, k) that stand, bool (N,), have a neighbor that does not; bool (N,)."""
    lost = np.concatenate([~standing[near].all(axis=1) for _, near in blocks(neighbors)])
    return lost & standing
