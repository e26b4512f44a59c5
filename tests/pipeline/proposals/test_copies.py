"""Copies of a picture are one face in the graph, whoever they show and however many there are."""

import numpy as np
import pytest
from conftest import LazyModule, make_people

from pipeline.calibration import Calibration, calibrate_to_impostors
from pipeline.proposals.copies import COPY_DISTANCE, collapse_copies, first_of_equal, near_copies
from pipeline.rows import unit_rows

knn, problems = LazyModule("pipeline.search.knn"), LazyModule("pipeline.training.problems")
CALIBRATION = Calibration(0.0, 0.1)


def on_a_circle(*degrees):
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def standing_for(unit, calibration=CALIBRATION):
    return near_copies(*knn.nearest_neighbors(unit, 3), calibration, np.arange(len(unit)))


def test_equal_rows_stand_for_one_another_and_others_do_not():
    rows = np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32)[[0, 1, 0, 2, 1, 0]]
    rows[5, 3] = np.nextafter(rows[5, 3], np.float32(9))
    assert first_of_equal(rows).tolist() == [0, 1, 0, 3, 1, 5]


def test_what_is_nearer_than_shots_of_a_person_is_a_copy():
    limit = np.degrees(np.arccos(1 - COPY_DISTANCE))
    assert standing_for(on_a_circle(0, 0.98 * limit, 90, 90 + 1.02 * limit)).tolist() == [0, 0, 2, 3]


def test_a_chain_of_copies_is_cut_where_the_first_is_no_longer_near():
    step = 0.9 * np.degrees(np.arccos(1 - COPY_DISTANCE))
    assert standing_for(on_a_circle(0, step, 2 * step, 3 * step)).tolist() == [0, 0, 2, 2]


def test_where_nobody_can_be_told_apart_only_equal_rows_are_copies():
    # At most (1 - 0.9) / 0.05 = 2 deviations above strangers.
    assert standing_for(on_a_circle(0, 1, 2), Calibration(0.9, 0.05)).tolist() == [0, 1, 2]


def test_how_wide_impostors_spread_above_their_middle_says_whether_people_can_be_told_apart():
    assert standing_for(on_a_circle(0, 1, 2), Calibration(0.85, 0.06, 0.5)).tolist() == [0, 0, 0]
    assert standing_for(on_a_circle(0, 1, 2), Calibration(0.85, 0.06, 1.0)).tolist() == [0, 1, 2]


def test_more_copies_than_there_are_neighbors_become_one_face():
    rng = np.random.default_rng(0)
    faces = rng.standard_normal((4, 64))
    unit = np.repeat(faces, 30, axis=0) + 0.01 * rng.standard_normal((120, 64))
    unit = unit_rows(unit.astype(np.float32), np.ones(120, bool))
    asked = []

    def search(standing):
        asked.append(int(standing.sum()))
        return *knn.nearest_neighbors(unit[standing], 5), CALIBRATION

    stands, neighbors, _, _ = collapse_copies(unit, search)
    assert len(np.unique(stands)) == 4 and neighbors.shape == (4, 3)
    np.testing.assert_array_equal(stands // 30, np.arange(120) // 30)
    assert asked[0] == 120 and asked[-1] == 4 and asked == sorted(asked, reverse=True)


def test_no_copies_ask_for_one_search():
    unit = unit_rows(make_people(people=9, images=4, noise=0.8).rows[:30], np.ones(30, bool))
    unit = unit[np.unique(first_of_equal(unit))]
    asked = []

    def search(standing):
        asked.append(standing.all())
        return *knn.nearest_neighbors(unit, 5), calibrate_to_impostors(unit)

    stands, *_ = collapse_copies(unit, search)
    assert asked == [True] and stands.tolist() == list(range(len(unit)))


def people_of(judges, rows, labels):
    posed = problems.pose_problem(rows, labels)
    return problems.people_of(posed, judges.predict_iou, judges.predict_member)


@pytest.mark.parametrize("times", [2, 5])
def test_copying_the_list_leaves_the_people_as_they_are(judges, times):
    people = make_people(people=20, images=6, noise=0.9, seed=times)
    usable = people.labels >= 0
    rows, labels = people.rows[usable], people.labels[usable]
    once = people_of(judges, rows, labels)
    order = np.random.default_rng(0).permutation(times * len(rows))
    copied = people_of(judges, np.tile(rows, (times, 1))[order], np.tile(labels, times)[order])
    pairs = np.unique(np.stack([np.tile(once, times)[order], copied]), axis=1)
    assert pairs.shape[1] == once.max() + 1 == copied.max() + 1


def test_frames_of_each_shot_do_not_split_its_person(judges):
    people = make_people(people=20, images=6, noise=0.9)
    usable = people.labels >= 0
    rows, labels = np.repeat(people.rows[usable], 20, axis=0), np.repeat(people.labels[usable], 20)
    frames = rows + 0.1 / np.sqrt(64) * np.random.default_rng(0).standard_normal(rows.shape)
    found = people_of(judges, frames.astype(np.float32), labels)
    once = people_of(judges, people.rows[usable], people.labels[usable])
    assert found.max() == once.max()
