"""Rows of a file, converted when they are asked for, so that a large set is never held in memory.

Both classes act as an array (N, width) of the usable rows of a memory map: `rows[index]` gives
the rows at int64 `index` as a new array. The system keeps in memory what it has room for.
"""

import mmap
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from common.inputs import refuse_shortened
from common.profile import trim_heap
from common.threads import in_threads

import numpy as np

BLOCK_ROWS = 8192
PAIRS_AT_ONCE = 1 << 12  # the rows gathered for them stay in the processor's cache
PARTS_A_TRIM = 16
PARTS_A_RELEASE = 64  # of pairs; how many pages each row maps differs from system to system, up to 1 MB
Part = TypeVar("Part")


def release_pages(array: np.ndarray) -> None:
    """Let the system take back the memory of a memory map; it is read from disk again when needed."""
    if isinstance(array.base, mmap.mmap):
        array.base.madvise(mmap.MADV_DONTNEED)


def refuse_if_shortened(rows: object) -> None:
    """Raise `InputError` where the file of a memory map is shorter than it was."""
    if isinstance(rows, np.memmap) and rows.filename:
        refuse_shortened(str(rows.filename))


class Numbering:
    """The usable rows of a file, numbered from 0: filtered once on reading, mapped back once on writing.

    `usable` is bool (N,). `row_of` int64 (U,) is the row of each number, `number_of` int32 (N,) the
    number of each row, -1 for a row that is not usable.
    """

    def __init__(self, usable: np.ndarray) -> None:
        self.usable = usable
        self.row_of = np.flatnonzero(usable)

    def __len__(self) -> int:
        return len(self.row_of)

    @property
    def is_identity(self) -> bool:
        """Whether every row is usable."""
        return len(self.row_of) == len(self.usable)

    def at_rows(self, values: np.ndarray, other: float) -> np.ndarray:
        """Values of the usable rows, (U,), spread to all rows, (N,); the others get the value `other`."""
        by_row = np.full(len(self.usable), other, values.dtype)
        by_row[self.row_of] = values
        return by_row

    @cached_property
    def number_of(self) -> np.ndarray:
        """See the class."""
        return np.where(self.usable, np.cumsum(self.usable) - 1, -1).astype(np.int32)


def slices(count: int, size: int = BLOCK_ROWS) -> Iterator[slice]:
    """Consecutive slices of `count` rows, of `size` rows or fewer."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def scales(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two factors that a row is divided by, in turn, to have length one; float32 (n, 1) both.

    The first is the largest entry, so that squares of very large or small features stay finite.
    """
    largest = np.abs(block).max(axis=1, keepdims=True, initial=1e-38)
    return largest, np.linalg.norm(block / largest, axis=1, keepdims=True)


def unit_blocks(rows: np.ndarray, usable: np.ndarray, size: int = BLOCK_ROWS) -> Iterator[np.ndarray]:
    """The usable rows scaled to length one, float32, in blocks of `size` rows of the file or fewer."""
    for part, block in blocks(rows, size):
        block = np.asarray(block[usable[part]], np.float32)
        for scale in scales(block):
            block /= scale
        yield block


def unit_rows(rows: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """The usable rows scaled to length one, float32 (usable.sum(), D), in memory."""
    unit = np.empty((int(usable.sum()), rows.shape[1]), np.float32)
    end = 0
    for block in unit_blocks(rows, usable):
        unit[end : end + len(block)] = block
        end += len(block)
    return unit


def unit_sample(rows: np.ndarray, usable: np.ndarray, count: int) -> np.ndarray:
    """`count` usable rows, or all there are, scaled to length one, in order, the same in every run."""
    candidates = np.flatnonzero(usable)
    chosen = np.random.default_rng(0).choice(candidates, min(count, len(candidates)), replace=False)
    picked = np.zeros(len(rows), bool)
    picked[chosen] = True
    return unit_rows(rows, picked)


class SourceRows:
    """What both classes share: the rows `row_of`, int64 (N,), of the array `source`."""

    source: np.ndarray
    row_of: np.ndarray

    def __len__(self) -> int:
        return len(self.row_of)

    @property
    def shape(self) -> tuple[int, int]:
        """N and the width."""
        return len(self.row_of), self.source.shape[1]


class UnitRows(SourceRows):
    """The usable rows of a feature file, float32 (N, D), scaled to length one."""

    def __init__(self, rows: np.ndarray, numbering: Numbering) -> None:
        self.source, self.row_of = rows, numbering.row_of
        self.largest, self.length = np.empty((2, len(self.row_of), 1), np.float32)
        for part in slices(len(self.row_of)):
            self.largest[part], self.length[part] = scales(self._float32(part))
            release_pages(rows)

    def _float32(self, index: np.ndarray | slice) -> np.ndarray:
        refuse_if_shortened(self.source)
        return np.asarray(np.asarray(self.source).take(self.row_of[index], axis=0), np.float32)

    def __getitem__(self, index: np.ndarray | slice) -> np.ndarray:
        unit = self._float32(index)
        unit /= self.largest[index]
        unit /= self.length[index]
        return unit


@dataclass(frozen=True)
class UsableRows(SourceRows):
    """The rows `row_of`, int64 (N,), of an array, each converted."""

    source: np.ndarray
    row_of: np.ndarray
    convert: Callable[[np.ndarray], np.ndarray] = lambda rows: rows

    def __getitem__(self, index: np.ndarray | slice) -> np.ndarray:
        refuse_if_shortened(self.source)
        return self.convert(np.asarray(self.source).take(self.row_of[index], axis=0))


def graph_of_usable_rows(
    neighbors: np.ndarray, similarities: np.ndarray, numbering: "Numbering"
) -> tuple[UsableRows, UsableRows]:
    """From a graph of all rows, as `fill_graph` writes it, to that of the usable rows alone."""
    row_of, number_of = numbering.row_of, numbering.number_of
    if numbering.is_identity:
        return UsableRows(neighbors, row_of), UsableRows(similarities, row_of)
    return UsableRows(neighbors, row_of, number_of.take), UsableRows(similarities, row_of)


Rows = np.ndarray | UnitRows | UsableRows


def products(rows: Rows, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The dot products of the rows `a` and `b` of float32 (N, D), pair by pair, float32, the shape of a."""
    found = np.empty(len(a), np.float32)

    def multiply(part: slice) -> None:
        found[part] = np.einsum("nd,nd->n", rows[a[part]], rows[b[part]])

    parts = in_threads(multiply, slices(len(a), PAIRS_AT_ONCE))
    deque(giving_back(parts, rows, every=PARTS_A_RELEASE), maxlen=0)
    return found


def order_by_content(unit: Rows) -> np.ndarray:
    """An order of the rows of float32 (N, D) that depends only on their first and last values, int64 (N,)."""
    ends = np.concatenate([block[:, [0, -1]] for _, block in blocks(unit)])
    return np.lexsort((ends[:, 1], ends[:, 0]))


def keys_of_rows(block: np.ndarray) -> np.ndarray:
    """A key of the bits of each row of float32 (n, D), uint64 (n,); of others it is nearly always another."""
    factors = np.random.default_rng(0).integers(1, 1 << 63, block.shape[1], np.uint64) | np.uint64(1)
    return (block.view(np.uint32).astype(np.uint64) * factors).sum(axis=1)


def release(rows: Rows) -> None:
    """Let the system take back the memory of rows that were read; of an array in memory, nothing."""
    release_pages(rows if isinstance(rows, np.ndarray) else rows.source)


def blocks(rows: Rows, size: int = BLOCK_ROWS) -> Iterator[tuple[slice, np.ndarray]]:
    """The rows in order, in blocks of `size` or fewer, each with its place; their memory is given back."""
    for part in slices(len(rows), size):
        refuse_if_shortened(rows)
        yield part, np.asarray(rows[part])
        release(rows)


def giving_back(parts: Iterable[Part], *read: Rows, every: int | None = None) -> Iterator[Part]:
    """The parts as they come; the memory of the rows that are `read` to make them is given back at the end.

    With `every`, also after so many parts: for parts that read neighboring rows, not for parts that each
    read rows from everywhere, which would be read from disk again each time. The heap, where threads
    allocate their results, is trimmed now and then.
    """
    for number, part in enumerate(parts, 1):
        yield part
        if number % PARTS_A_TRIM == 0:
            trim_heap()
        if every and number % every == 0:
            for rows in read:
                release(rows)
    for rows in read:
        release(rows)
    trim_heap()
