"""How well clusters match known identities: pairwise, BCubed and NMI.

All from the sparse contingency table (rows shared by each identity and each cluster), so a million
rows take about a second and no set of pairs is ever made.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix

from pipeline.groups import Groups


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision, recall and F, each from 0 to 1."""

    precision: float
    recall: float
    f: float


@dataclass(frozen=True)
class Scores:
    """What `evaluate` finds: two views of precision and recall, and one of information."""

    pairwise: PrecisionRecall
    bcubed: PrecisionRecall
    nmi: float


@dataclass(frozen=True)
class Contingency:
    """The non-empty cells of the table of identities by clusters.

    `shared` is int64 (C,), the rows in each cell; `in_identity` and `in_cluster` are int64 (C,), the
    rows of the identity and of the cluster that the cell belongs to; `identities` and `clusters` are
    int64, the sizes of all identities and of all clusters.
    """

    shared: np.ndarray
    in_identity: np.ndarray
    in_cluster: np.ndarray
    identities: np.ndarray
    clusters: np.ndarray


def evaluate(labels_true: np.ndarray, labels_pred: np.ndarray) -> Scores:
    """Score predicted clusters against identities; any integers serve as names of either.

    Both are int64 (N,), N at least 1; raises `ValueError` otherwise. A row in no cluster must be
    given one of its own first: see `own_clusters`.
    """
    table = contingency(labels_true, labels_pred)
    return Scores(pairwise(table), bcubed(table), nmi(table))


def own_clusters(labels_pred: np.ndarray) -> np.ndarray:
    """The same labels, int64 (N,), with a new one for each row that has none (a negative label)."""
    unplaced = labels_pred < 0
    labels = labels_pred.astype(np.int64)
    labels[unplaced] = labels.max(initial=-1) + 1 + np.arange(np.count_nonzero(unplaced))
    return labels


def contingency(labels_true: np.ndarray, labels_pred: np.ndarray) -> Contingency:
    """Count the rows that each identity and each cluster share."""
    if labels_true.shape != labels_pred.shape or labels_true.ndim != 1 or not len(labels_true):
        raise ValueError(f"labels of shape {labels_true.shape} and {labels_pred.shape}: not two equal rows")
    _, true, identities = np.unique(labels_true, return_inverse=True, return_counts=True)
    _, pred, clusters = np.unique(labels_pred, return_inverse=True, return_counts=True)
    cells, shared = np.unique(true * len(clusters) + pred, return_counts=True)
    row, column = np.divmod(cells, len(clusters))
    return Contingency(shared, identities[row], clusters[column], identities, clusters)


def pairwise(table: Contingency) -> PrecisionRecall:
    """Precision and recall over pairs of rows: is a pair put together one person?

    Where no pair was put together none is wrong, so precision is 1; recall likewise where no identity
    has two rows.
    """
    right = _pairs(table.shared)
    put_together, one_person = _pairs(table.clusters), _pairs(table.identities)
    return PrecisionRecall(
        precision=right / put_together if put_together else 1.0,
        recall=right / one_person if one_person else 1.0,
        f=2 * right / (put_together + one_person) if put_together + one_person else 1.0,
    )


def _pairs(sizes: np.ndarray) -> int:
    return int((sizes * (sizes - 1) // 2).sum())


def bcubed(table: Contingency) -> PrecisionRecall:
    """Mean over rows: how much of the row's cluster is its person, and of its person its cluster.

    Bagga and Baldwin, *Entity-based cross-document coreferencing using the vector space model*, 1998.
    """
    total = table.shared.sum()
    squares = table.shared.astype(np.float64) ** 2
    precision = float((squares / table.in_cluster).sum() / total)
    recall = float((squares / table.in_identity).sum() / total)
    return PrecisionRecall(precision, recall, 2 * precision * recall / (precision + recall))


def nmi(table: Contingency) -> float:
    """Mutual information over the mean of both entropies (scikit-learn's default), from 0 to 1.

    1 where neither side is split at all, since they agree.
    """
    total = table.shared.sum()
    entropy = (_entropy(table.identities / total) + _entropy(table.clusters / total)) / 2
    if entropy == 0:
        return 1.0
    expected = table.in_identity / total * (table.in_cluster / total)
    joint = table.shared / total
    return float(np.clip((joint * np.log(joint / expected)).sum() / entropy, 0, 1))


def _entropy(shares: np.ndarray) -> float:
    return float(-(shares * np.log(shares)).sum())


def majority(clusters: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The label that most rows of each cluster have, the smallest of equals; both int64 (N,)."""
    values, place = np.unique(labels, return_inverse=True)
    table = coo_matrix((np.ones(len(labels)), (clusters, place))).tocsr()
    return values[np.asarray(table.argmax(axis=1)).ravel()]


def best_iou(groups: Groups, labels: np.ndarray) -> np.ndarray:
    """Each group's highest IoU with a true person, float64 (G,); `labels` int64 (N,) by row."""
    _, person = np.unique(labels, return_inverse=True)
    totals = np.bincount(person)
    shape = (len(groups), len(totals))
    counts = coo_matrix(
        (np.ones(len(groups.members)), (groups.owners, person[groups.members])), shape
    ).tocsr()
    shared = counts.tocoo()
    iou = shared.data / (groups.sizes[shared.row] + totals[shared.col] - shared.data)
    best = np.zeros(len(groups))
    np.maximum.at(best, shared.row, iou)
    return best


def ranked_pairs(groups: Groups, scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairwise precision and recall, float64 (G',) both, of only the best 1, 2, ... clusters.

    Clusters of one face have no pair and are left out; `scores` (G,) rank the others, `labels` int64
    (N,) are the identities of all rows.
    """
    _, person = np.unique(labels, return_inverse=True)
    cells, shared = np.unique(
        groups.owners * (int(person.max()) + 1) + person[groups.members], return_counts=True
    )
    right = np.bincount(cells // (int(person.max()) + 1), shared * (shared - 1) / 2, len(groups))
    several = np.flatnonzero(groups.sizes > 1)
    order = several[np.argsort(-scores[several], kind="stable")]
    found = np.cumsum(right[order])
    put_together = np.cumsum((groups.sizes * (groups.sizes - 1) / 2)[order])
    return found / put_together, found / max(_pairs(np.bincount(person)), 1)
