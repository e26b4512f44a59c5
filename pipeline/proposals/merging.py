"""Iterative merging of faces into super-vertices, the cluster proposals.

The paper's Algorithm 1 (Yang et al., CVPR 2019, section 3.2) takes connected components above a
threshold, splits those over the maximum size at a higher threshold, and makes super-vertices the
nodes of the next round. Here a hierarchy of proposals is a descending sweep of thresholds over one
similarity, each round merging the super-vertices of the one before: a component over the maximum
size at one threshold stays split, into the components at the thresholds above it.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from threading import Event

from common.progress import bar, warn
from common.threads import usable_cores

import numpy as np

from pipeline.calibration import Calibration
from pipeline.defaults import MAX_SIZE, ROUNDS, THRESHOLD
from pipeline.files.proposals import Round
from pipeline.groups import Groups, groups_from_labels, take_groups
from pipeline.proposals.edges import (
    Edges,
    edges_of_graph,
    shared_neighbors,
)
from pipeline.proposals.linkage import average_linkage, single_linkage
from pipeline.rows import Rows, blocks

# Cross-validated on lfw/train+glint8 in both networks of benchmarks/, other choices change F little: width 10
# or 40 by 0.25; neighborhoods of 20 or 80 alone, or of 10, 20 and 40 as well, by 0.1; overlaps from 0.8 or
# 0.99 and down to 0.01 or 0.3 by 0.2. A quantile of 0.9 to 1 changes pairwise F by up to 0.75 and BCubed F by
# 0.3, better and worse in turn.
EDGE_WIDTH = 20  # nearest neighbors of a face that may become edges; the rest only measure
NEIGHBORHOODS_SHARED = (20, 80)  # neighborhoods whose overlap is a similarity: small and large people
# Mean similarity of two groups from which their union over the limit is likely a person cut: of lfw/val and
# lfw/train the largest group of average linkage there has 245 and 544 faces, the largest person 236 and 530.
ONE_PERSON = 2.5
HIGHEST_OVERLAP, LOWEST_OVERLAP = (
    0.95,
    0.05,
)  # of neighborhoods: nearly equal, nearly disjoint
HIGHEST_QUANTILE = 0.98  # of each face's highest similarity: where thresholds begin
AT_ONCE = 2  # hierarchies formed at the same time: more would take more memory
Linking = Callable[[int], Edges]
# A name, descending thresholds, and the sweep that gives a label array for each of them.
Hierarchy = tuple[str, np.ndarray, Callable[[np.ndarray], Iterator[np.ndarray]]]


def propose(
    unit: Rows,
    neighbors: Rows,
    similarities: Rows,
    calibration: Calibration,
    threshold: float = THRESHOLD,
    rounds: int = ROUNDS,
    max_size: int = MAX_SIZE,
    linking: Linking | None = None,
) -> list[Round]:
    """Cluster proposals of two faces or more from the affinity graph of `unit` float32 (N, D).

    `neighbors` and `similarities` (cosines) are (N, k), best first. `threshold` is the lowest similarity
    at which super-vertices merge, in standard deviations above impostor pairs, reached in `rounds` even
    steps from the similarity that only one nearest neighbor in fifty exceeds. No proposal has more than
    `max_size` faces. `linking` gives the edges that link by similarity, at width 0, or by shared nearest
    neighbors, at one of NEIGHBORHOODS_SHARED, where they are made elsewhere: any edges serve that connect
    the same rows at every threshold. Says on stderr where the limit likely cuts a person.
    """
    calibrated = calibration.calibrate(first_columns(similarities, EDGE_WIDTH))
    highest = float(np.quantile(calibrated[:, 0], HIGHEST_QUANTILE)) if calibrated.size else threshold
    fall = max(highest - threshold, 0) / max(rounds - 1, 1)
    thresholds = threshold + fall * np.arange(rounds - 1, -1, -1)
    overlaps = np.linspace(HIGHEST_OVERLAP, LOWEST_OVERLAP, rounds)
    near = first_columns(neighbors, EDGE_WIDTH)
    edges = edges_of_graph(near, calibrated)
    del calibrated
    if linking is None:
        linking = partial(linking_edges, near, neighbors, edges)

    def linked(width: int, levels: np.ndarray) -> Iterator[np.ndarray]:
        return single_linkage(linking(width), len(unit), levels)

    hierarchies: list[Hierarchy] = [
        ("single linkage", thresholds, partial(linked, 0)),
        (
            "average linkage",
            thresholds,
            lambda levels: watch(average_linkage(unit, edges, levels, calibration.calibrate)),
        ),
    ]
    for width in NEIGHBORHOODS_SHARED:
        if width <= neighbors.shape[1] or width == NEIGHBORHOODS_SHARED[0]:
            hierarchies.append((f"shared nearest neighbors {width}", overlaps, partial(linked, width)))
    stopped = Event()
    cut = [0]  # sizes of the largest groups that are likely one person

    def watch(partitions: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for labels, level in zip(partitions, thresholds, strict=True):
            if level >= ONE_PERSON:
                cut.append(int(np.bincount(labels).max()))
            yield labels

    def form(hierarchy: Hierarchy) -> list[tuple[str, float, Groups]]:
        name, levels, sweep = hierarchy
        groups = newly_formed(sweep(levels), max_size)
        formed = []
        for level in levels:
            if stopped.is_set():
                break
            formed.append((name, float(level), next(groups)))
            progress.update()
        return formed

    with (
        bar(len(hierarchies) * rounds, "merging", "rounds") as progress,
        ThreadPoolExecutor(min(AT_ONCE, usable_cores())) as pool,
    ):
        try:
            formed = list(chain.from_iterable(pool.map(form, hierarchies)))
        finally:
            stopped.set()  # else Ctrl-C would wait for all rounds
    if max(cut) > max_size:
        warn(
            f"--max-size {max_size}: cuts people; some {max(cut):,} faces look like one person, who comes "
            "out in pieces: give a larger one"
        )
    return without_repeats(formed, len(unit))


def first_columns(rows: Rows, width: int) -> np.ndarray:
    """The first `width` columns, or all there are, in memory."""
    return np.concatenate([block[:, :width] for _, block in blocks(rows)])


def linking_edges(near: np.ndarray, neighbors: Rows, edges: Edges, width: int) -> Edges:
    """The edges as they are for width 0, else weighted by the overlap of neighborhoods of that width."""
    if not width:
        return edges
    return shared_neighbors(near if width <= EDGE_WIDTH else neighbors, edges, width)


def newly_formed(partitions: Iterable[np.ndarray], max_size: int) -> Iterator[Groups]:
    """Of each partition, the groups that the one before did not have, of at most `max_size` rows.

    Partitions run from fine to coarse, the one before the first being of single rows.
    """
    before: np.ndarray | int = 1
    for labels in partitions:
        sizes = np.bincount(labels)[labels]
        yield groups_from_labels(np.where((sizes > before) & (sizes <= max_size), labels, -1))
        before = sizes


def without_repeats(formed: list[tuple[str, float, Groups]], count: int) -> list[Round]:
    """Give each proposal to the first round that formed it; later rounds refer to it by number."""
    key_of_row = np.random.default_rng(0).integers(0, 1 << 63, count, np.uint64)
    keys = np.concatenate(
        [
            np.add.reduceat(key_of_row[groups.members], groups.offsets[:-1])
            for _, _, groups in formed
            if len(groups)
        ]
        or [np.zeros(0, np.uint64)]
    )
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    is_new = first[inverse] == np.arange(len(keys))
    number = (np.cumsum(is_new) - 1)[first[inverse]]
    rounds, start = [], 0
    for hierarchy, threshold, groups in formed:
        here = slice(start, start + len(groups))
        rounds.append(
            Round(
                hierarchy,
                threshold,
                take_groups(groups, np.flatnonzero(is_new[here])),
                number[here][~is_new[here]],
            )
        )
        start = here.stop
    return rounds
