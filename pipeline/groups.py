"""Sets of rows in CSR form, such as clusters and proposals, and what is made of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from common.progress import count as number_of

import numpy as np

MEMBER_DTYPE = np.dtype("<i4")
OFFSET_DTYPE = np.dtype("<i8")


@dataclass(frozen=True)
class Groups:
    """Sets of rows in CSR form: group g is `members[offsets[g]:offsets[g + 1]]`, ascending.

    `members` is int32 (M,), `offsets` is int64 (G + 1,).
    """

    members: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def sizes(self) -> np.ndarray:
        """Rows in each group, int64 (G,)."""
        return np.diff(self.offsets)

    @property
    def owners(self) -> np.ndarray:
        """The group of each entry of `members`, int64 (M,)."""
        return np.repeat(np.arange(len(self)), self.sizes)


def groups_from_labels(labels: np.ndarray) -> Groups:
    """Rows with the same non-negative label, one group for each label in use, by ascending label."""
    rows = np.flatnonzero(labels >= 0)
    order = rows[np.argsort(labels[rows], kind="stable")]
    sizes = np.bincount(labels[rows]) if len(rows) else np.zeros(0, np.int64)
    sizes = sizes[sizes > 0]
    return Groups(order.astype(MEMBER_DTYPE), np.concatenate([[0], np.cumsum(sizes)]).astype(OFFSET_DTYPE))


def labels_from_groups(groups: Groups, count: int) -> np.ndarray:
    """The group of each row, int64 (count,), -1 for a row in none; groups must not overlap."""
    labels = np.full(count, -1, np.int64)
    labels[groups.members] = groups.owners
    return labels


def take_groups(groups: Groups, chosen: np.ndarray) -> Groups:
    """The chosen groups, in that order."""
    sizes = groups.sizes[chosen]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(OFFSET_DTYPE)
    starts = np.repeat(groups.offsets[:-1][chosen] - offsets[:-1], sizes)
    return Groups(groups.members[np.arange(offsets[-1]) + starts], offsets)


def canonical_groups(groups: Groups) -> Groups:
    """Groups in the order of `clusters.txt`: by size, then first id."""
    first = groups.members[groups.offsets[:-1]]
    return take_groups(groups, np.lexsort((first, -groups.sizes)))


def single_faces(count: int) -> Groups:
    """Each of `count` faces as a group of its own."""
    return Groups(np.arange(count, dtype=MEMBER_DTYPE), np.arange(count + 1, dtype=OFFSET_DTYPE))


def sums_of_groups(unit: np.ndarray, offsets: np.ndarray, chosen: np.ndarray | None = None) -> np.ndarray:
    """The sum of each group's rows, or of those `chosen`, bool (M,), float32 (G, D).

    Group g is the rows `offsets[g]` up to `offsets[g + 1]` of `unit`, float32 (M, D). The product with a
    sparse matrix of ones reads each row once, where `np.add.reduceat` goes down column by column.
    """
    from scipy.sparse import csr_array  # not where groups are only read

    weight = np.ones(len(unit), np.float32) if chosen is None else chosen.astype(np.float32)
    return csr_array((weight, np.arange(len(unit)), offsets), (len(offsets) - 1, len(unit))) @ unit


def join_groups(first: Groups, second: Groups) -> Groups:
    """The groups of both, those of `first` before those of `second`."""
    return Groups(
        np.concatenate([first.members, second.members]),
        np.concatenate([first.offsets, first.offsets[-1] + second.offsets[1:]]),
    )


def people_in_words(groups: Groups, hidden: Sequence[int], count: int) -> str:
    """How many people and faces, in the words of every stage: a person is a cluster of two faces or more.

    `groups` are clusters, `hidden` the numbers of those whom nobody wants to see, `count` is that of the
    rows, of which those in no cluster could not be read, or were said to show no face.
    """
    shown = np.delete(groups.sizes, hidden)
    people, alone = shown[shown > 1], shown[shown == 1]
    unseen, outside = groups.sizes[hidden], count - len(groups.members)
    words = f"{number_of(len(people), 'person', 'people')} in {number_of(int(people.sum()), 'face')}"
    words += f", {number_of(len(alone), 'face')} alone"
    if len(unseen):
        words += f", {number_of(len(unseen), 'hidden person', 'hidden people')}"
        words += f" in {number_of(int(unseen.sum()), 'face')}"
    if outside:
        words += f", {number_of(outside, 'image')} unreadable or without a face"
    return words
