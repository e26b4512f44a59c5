"""Rows read when asked for are those that would have been read at once."""

import sys

from common.profile import memory

import numpy as np
import pytest
from conftest import make_people

from pipeline import rows as rows_module
from pipeline.rows import Numbering, UnitRows, UsableRows, release, slices, unit_rows


def test_unit_rows_of_a_file_are_those_in_memory(tmp_path):
    people = make_people()
    people.rows.tofile(tmp_path / "feature.bin")
    mapped = np.memmap(tmp_path / "feature.bin", np.float32, "r", shape=people.rows.shape)
    usable = people.rows.any(axis=1)
    expected, rows = unit_rows(people.rows, usable), UnitRows(mapped, Numbering(usable))
    index = np.random.default_rng(0).integers(0, len(rows), 50)
    assert rows.shape == expected.shape and len(rows) == len(expected)
    np.testing.assert_array_equal(rows[index], expected[index])
    np.testing.assert_array_equal(rows[3:9], expected[3:9])
    release(rows)
    np.testing.assert_array_equal(rows[:], expected)


def test_usable_rows_are_chosen_and_converted():
    rows = UsableRows(np.arange(12).reshape(6, 2), np.array([1, 4, 5]), lambda block: -block)
    np.testing.assert_array_equal(rows[np.array([2, 0])], [[-10, -11], [-2, -3]])
    assert rows.shape == (3, 2)


def test_slices_cover_everything_once():
    assert [(part.start, part.stop) for part in slices(7, 3)] == [(0, 3), (3, 6), (6, 7)]
    assert list(slices(0)) == []


def test_parts_pass_as_they_are_and_the_heap_is_trimmed_now_and_then(monkeypatch):
    trims = []
    monkeypatch.setattr(rows_module, "trim_heap", lambda: trims.append(1))
    count = 2 * rows_module.PARTS_A_TRIM + 1
    assert list(rows_module.giving_back(iter(range(count)))) == list(range(count)) and len(trims) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="what a process holds is read from /proc")
def test_freed_memory_goes_back_to_the_system():
    """Blocks too small for pages of their own, freed below one that stays, are what a heap keeps."""
    held = [np.ones(2000) for _ in range(10_000)]
    before, last = memory("RssAnon"), held[-1]
    del held
    rows_module.trim_heap()
    assert before - memory("RssAnon") > 100 and last[0] == 1


def test_rows_are_numbered_and_put_back_at_their_places():
    numbering = Numbering(np.array([False, True, True, False, True]))
    assert len(numbering) == 3 and numbering.row_of.tolist() == [1, 2, 4]
    assert numbering.number_of.tolist() == [-1, 0, 1, -1, 2] and not numbering.is_identity
    assert numbering.at_rows(np.array([7, 8, 9]), -1).tolist() == [-1, 7, 8, -1, 9]
    assert Numbering(np.ones(4, bool)).is_identity
