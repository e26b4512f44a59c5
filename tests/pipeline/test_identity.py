"""Ids that people keep, whatever becomes of the rows."""

import numpy as np
from conftest import LazyModule, make_people
from hypothesis import given
from hypothesis import strategies as st

from pipeline.files.features import read_features
from pipeline.groups import canonical_groups, groups_from_labels, labels_from_groups

identity = LazyModule("pipeline.identity")


def test_images_are_known_again_by_their_features_and_else_by_name():
    before = np.array([[5, 1], [6, 2], [7, 3], [5, 4], [0, 5]], np.uint64)
    now = np.array([[7, 9], [5, 0], [8, 2], [5, 0], [5, 0], [0, 5], [0, 0]], np.uint64)
    assert identity.same_faces(before, now).tolist() == [2, 0, 1, 3, -1, 4, -1]
    assert identity.same_faces(before, before).tolist() == [0, 1, 2, 3, 4]
    assert identity.same_faces(before[:0], before).tolist() == [-1] * 5
    assert identity.same_faces(before, before[:0]).tolist() == []


def test_a_merge_keeps_the_larger_ones_id_and_a_split_gives_it_to_the_larger_part():
    before = np.array([1] * 5 + [2] * 3 + [3] * 6)
    groups = canonical_groups(groups_from_labels(np.array([0] * 8 + [1] * 2 + [2] * 4)))
    ids, next_id = identity.ids_kept(groups, before, 10)
    assert dict(zip(groups.sizes.tolist(), ids.tolist(), strict=True)) == {8: 1, 4: 3, 2: 10}
    assert next_id == 11


@given(st.lists(st.tuples(st.integers(-1, 6), st.integers(0, 6)), min_size=1, max_size=40))
def test_no_id_is_given_twice_and_the_largest_overlap_keeps_it(pairs):
    before, labels = np.array(pairs).T
    groups = groups_from_labels(labels)
    ids, next_id = identity.ids_kept(groups, before, 7)
    assert len(set(ids.tolist())) == len(groups)
    assert (ids < next_id).all() and (ids >= 0).all() and next_id == 7 + (ids >= 7).sum()
    overlap = np.zeros((7, len(groups)), int)
    np.add.at(
        overlap,
        (before[groups.members][before[groups.members] >= 0], groups.owners[before[groups.members] >= 0]),
        1,
    )
    for group in np.flatnonzero(ids >= 7):  # of whoever it had, another group has as much
        for person in np.flatnonzero(overlap[:, group]):
            assert overlap[person, ids == person].max(initial=0) >= overlap[person, group]
    for group in np.flatnonzero(ids < 7):
        assert overlap[ids[group], group]


def test_ids_follow_rows_that_are_added_moved_and_removed(tmp_path):
    people = make_people(people=10, images=6)
    rng = np.random.default_rng(0)
    some = rng.permutation(np.flatnonzero(people.labels < 8))
    orders = [some, np.append(some, np.flatnonzero(people.labels >= 8)), rng.permutation(len(people.rows))]
    halved = np.union1d(orders[-1][orders[-1] % 2 == 0], people.single)  # nobody is gone for good
    orders += [halved, orders[-2]]
    kept, id_of = None, {}
    for rows in orders:
        people.rows[rows].astype("<f4").tofile(tmp_path / "feature.bin")
        features = read_features(tmp_path / "feature.bin", people.rows.shape[1])
        groups = canonical_groups(groups_from_labels(people.labels[rows]))
        found = identity.people_kept(groups, features, None, kept)
        told = dict(
            zip(
                people.labels[rows][groups.members[groups.offsets[:-1]]].tolist(),
                found.ids.tolist(),
                strict=True,
            )
        )
        assert all(id_of.setdefault(label, number) == number for label, number in told.items())
        assert found.next_id == 1 + max(id_of.values())
        kept = groups, found
    assert len(set(id_of.values())) == len(id_of) == 11
    assert (labels_from_groups(kept[0], len(people.rows)) >= 0).sum() == len(people.rows) - 1
