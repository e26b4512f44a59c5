"""The journal of a feature file in the making: damage is never taken for rows, and nothing is lost."""

import json
from pathlib import Path

from common.errors import InputError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.files.image_records import ABSENT, RECORD
from pipeline.files.journal import FeatureJournal, drop_journal, journal_path

RUN = {"model": "m", "count": 6}
ROWS = np.arange(12, dtype="<f4").reshape(6, 2)
MISSING = [{"row": 3, "path": "a.jpg", "reason": "not found"}]


IMAGES = np.zeros(6, RECORD)
IMAGES["path"] = IMAGES["size"] = np.arange(1, 7)


def opened(path, run=RUN, differences=lambda stopped: [], images=IMAGES):
    return FeatureJournal(path, run, 2, images, differences)


@pytest.fixture
def stopped(tmp_path):
    """The path of a run that was stopped after four of its six rows."""
    journal = opened(tmp_path / "feature.bin")
    journal.append(ROWS[:2], IMAGES[:2], [])
    journal.append(ROWS[2:4], IMAGES[2:4], MISSING)
    journal.close()
    return tmp_path / "feature.bin"


def finish(path):
    journal = opened(path)
    journal.append(ROWS[journal.done :], IMAGES[journal.done :], [])
    journal.finish()
    return journal


def test_a_stopped_run_goes_on_where_it_was(stopped):
    journal = finish(stopped)
    assert journal.unreadable == MISSING
    assert stopped.read_bytes() == ROWS.tobytes()
    drop_journal(stopped)
    assert sorted(path.name for path in stopped.parent.iterdir()) == ["feature.bin", "feature.images"]


def test_a_run_killed_after_its_file_was_named_has_every_row(stopped):
    finish(stopped)
    journal = opened(stopped)
    journal.close()
    assert (journal.done, journal.unreadable) == (6, MISSING)


def test_a_journal_of_another_file_leaves_that_file_alone(stopped):
    stopped.parent.joinpath(".feature.bin.face-clusters-part").unlink()
    stopped.write_bytes(ROWS[::-1].tobytes())
    journal = opened(stopped)
    journal.close()
    assert journal.done == 0 and stopped.read_bytes() == ROWS[::-1].tobytes()


def test_a_run_that_cannot_go_on_says_why_and_touches_nothing(stopped):
    before = {path: path.read_bytes() for path in stopped.parent.iterdir()}
    with pytest.raises(InputError, match="has made 4 rows of it with --crop none: repeat that run"):
        opened(stopped, differences=lambda run: ["--crop none"])
    assert {path: path.read_bytes() for path in stopped.parent.iterdir()} == before


def test_rows_of_another_list_are_set_aside_and_dropped_at_the_end(stopped):
    """Also where that run is stopped in its turn, and its list changes again."""
    for _ in range(2):
        journal = opened(stopped, images=IMAGES[::-1].copy())
        (aside,) = journal.set_aside
        np.testing.assert_array_equal(aside.rows, ROWS[:4])
        np.testing.assert_array_equal(aside.images, IMAGES[:4])
        assert journal.done == 0 and journal.unreadable == []
        journal.close()
    journal = opened(stopped, images=IMAGES[::-1].copy())
    journal.append(ROWS[:1], IMAGES[::-1][:1], [])
    journal.close()
    journal = opened(stopped)
    assert [len(aside.rows) for aside in journal.set_aside] == [4, 1]
    journal.close()
    drop_journal(stopped)
    assert list(stopped.parent.iterdir()) == []


def test_rows_of_images_that_are_gone_stay_and_of_changed_ones_do_not_go_on(stopped):
    images = IMAGES.copy()
    images["size"][1] = ABSENT
    journal = opened(stopped, images=images)
    journal.close()
    assert journal.done == 4
    images["size"][1] = 99
    journal = opened(stopped, images=images)
    journal.close()
    assert journal.done == 0 and len(journal.set_aside) == 1


def whole_prefix(rows):
    return any((rows[:end] == ROWS[:end]).all() for end in (0, 2, 4) if len(rows) == end)


@given(st.binary(max_size=80), st.integers(0, 400), st.booleans())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_whatever_stands_in_the_journal_only_rows_that_were_written_are_taken(
    tmp_path_factory, data, place, insert
):
    path = tmp_path_factory.mktemp("journal") / "feature.bin"
    journal = opened(path)
    journal.append(ROWS[:2], IMAGES[:2], [])
    journal.append(ROWS[2:4], IMAGES[2:4], MISSING)
    journal.close()
    text = journal_path(path).read_bytes()
    journal_path(path).write_bytes(text[:place] + data + text[place + (0 if insert else len(data)) :])
    journal = opened(path)
    journal.close()
    rows = np.fromfile(Path(path.parent, ".feature.bin.face-clusters-part"), "<f4").reshape(-1, 2)
    assert len(rows) == journal.done and whole_prefix(rows)


json_values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
json_values |= st.lists(json_values, max_size=2) | st.dictionaries(
    st.text(max_size=6), json_values, max_size=2
)


@given(st.sampled_from(["end", "sha256", "unreadable"]), json_values)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_whatever_stands_in_a_piece_only_rows_that_were_written_are_taken(tmp_path_factory, key, value):
    path = tmp_path_factory.mktemp("piece") / "feature.bin"
    journal = opened(path)
    journal.append(ROWS[:2], IMAGES[:2], [])
    journal.append(ROWS[2:4], IMAGES[2:4], MISSING)
    journal.close()
    lines = journal_path(path).read_text().splitlines()
    lines[2] = json.dumps(json.loads(lines[2]) | {key: value})
    journal_path(path).write_text("\n".join(lines))
    journal = opened(path)
    journal.close()
    assert journal.done in (2, 4)
