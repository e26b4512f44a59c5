"""Rows read when asked for are those that would have been read at once."""

import numpy as np
from conftest import make_people

from pipeline.rows import UnitRows, UsableRows, release, slices, unit_rows


def test_unit_rows_of_a_file_are_those_in_memory(tmp_path):
    people = make_people()
    people.rows.tofile(tmp_path / "feature.bin")
    mapped = np.memmap(tmp_path / "feature.bin", np.float32, "r", shape=people.rows.shape)
    usable = people.rows.any(axis=1)
    expected, rows = unit_rows(people.rows, usable), UnitRows(mapped, usable)
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
