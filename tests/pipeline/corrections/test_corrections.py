"""Corrections: what was said holds in every later run, of these images and of no others."""

import json
from dataclasses import replace
from pathlib import Path

from common.errors import InputError

import numpy as np
import pytest
from conftest import make_people, make_problem
from hypothesis import given
from hypothesis import strategies as st

from pipeline.corrections.apply import apply_corrections
from pipeline.corrections.matching import sketch_rows
from pipeline.corrections.said import (
    corrections_of,
    groups_of_people,
    load_corrections,
    save_corrections,
)
from pipeline.files.clusters import read_clusters
from pipeline.files.corrections import Corrections, Person, corrections_json, read_corrections
from pipeline.files.features import Features, read_features
from pipeline.files.json_object import write_json
from pipeline.groups import groups_from_labels, labels_from_groups
from pipeline.judging.corrected import correct_people
from pipeline.judging.measures import NODE_MEASURES
from pipeline.rows import Numbering

INPUT = 3


def rows(*numbers):
    return np.array(numbers, np.int64)


def person(*parts, name=None):
    return Person(name, [rows(*part) for part in parts])


def partition(labels):
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels[labels >= 0])}


def assert_hold(labels, corrections):
    """Every correction holds in the clusters, as far as its rows stand in any."""
    named = {}
    for one in corrections.people:
        labels_of_person = set(labels[one.rows].tolist()) - {-1}
        assert len(labels_of_person) <= 1
        if one.name:
            for label in labels_of_person:
                assert named.setdefault(label, one.name) == one.name
    for one, other in corrections.apart:
        assert not (set(labels[one]) & set(labels[other])) - {-1}
    assert (labels[corrections.not_faces] < 0).all()


# --- from labels to labels -----------------------------------------------------------------------


@st.composite
def labels_and_corrections(draw):
    """Any clusters of a few rows, and corrections that agree with some true people."""
    count = draw(st.integers(2, 24))
    labels = np.array(draw(st.lists(st.integers(-1, 5), min_size=count, max_size=count)), np.int64)
    true = np.array(draw(st.lists(st.integers(0, 3), min_size=count, max_size=count)))
    people = []
    for identity in range(4):
        own = np.flatnonzero(true == identity)
        number = draw(st.lists(st.integers(-1, 3), min_size=len(own), max_size=len(own)))
        parts = [own[np.array(number) == part] for part in range(4)] if len(own) else []
        parts = [part for part in parts if len(part)]
        cut = draw(st.integers(0, len(parts)))  # one true person may be spoken of twice
        name = draw(st.sampled_from([None, f"person {identity}"]))
        people += [Person(name, parts[:cut])] if cut else []
        people += [Person(None, parts[cut:])] if cut < len(parts) else []
    apart = []
    for _ in range(draw(st.integers(0, 6))):
        who = draw(st.integers(0, 3))
        own, others = np.flatnonzero(true == who), np.flatnonzero(true != who)
        if len(own) and len(others):
            pair = [
                draw(st.lists(st.sampled_from(side.tolist()), min_size=1, unique=True))
                for side in (own, others)
            ]
            apart.append((rows(*pair[0]), rows(*pair[1])))
    spoken_of = {row for person in people for row in person.rows.tolist()}
    free = [row for row in range(count) if row not in spoken_of]
    no_faces = draw(st.lists(st.sampled_from(free), unique=True)) if free else []
    return labels, Corrections(people, apart, rows(*no_faces))


@given(labels_and_corrections())
def test_every_correction_holds_whatever_the_clusters(case):
    labels, corrections = case
    corrected = apply_corrections(labels, corrections)
    assert_hold(corrected, corrections)
    gone = np.zeros(len(labels), bool)
    gone[corrections.not_faces] = True
    np.testing.assert_array_equal(corrected >= 0, (labels >= 0) & ~gone)
    placed = corrected[corrected >= 0]
    assert set(placed.tolist()) == set(range(len(np.unique(placed))))


@given(labels_and_corrections())
def test_rows_that_nothing_is_said_of_stay_together(case):
    labels, corrections = case
    said = np.zeros(len(labels), bool)
    for one in corrections.people:
        said[one.rows] = True
    for one, other in corrections.apart:
        said[one], said[other] = True, True
    said[corrections.not_faces] = True
    corrected = apply_corrections(labels, corrections)
    for cluster in partition(np.where(said, -1, labels)):
        assert len(set(corrected[list(cluster)].tolist())) == 1


@given(labels_and_corrections())
def test_corrections_applied_twice_are_as_applied_once(case):
    labels, corrections = case
    once = apply_corrections(labels, corrections)
    assert_hold(apply_corrections(once, corrections), corrections)


def test_the_same_person_brings_whole_clusters_together():
    labels = np.array([0, 0, 0, 1, 1, 2, 2, -1])
    corrections = Corrections([person([0, 1], [3, 4])])
    assert partition(apply_corrections(labels, corrections)) == {
        frozenset({0, 1, 2, 3, 4}),
        frozenset({5, 6}),
    }


def test_a_stray_face_of_a_person_comes_alone_and_leaves_strangers_where_they_are():
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    corrections = Corrections([person([0, 1, 2, 4])])
    assert partition(apply_corrections(labels, corrections)) == {
        frozenset({0, 1, 2, 3, 4}),
        frozenset({5, 6, 7}),
    }


def test_a_face_that_is_not_this_person_leaves_alone():
    labels = np.array([0, 0, 0, 0, 1])
    corrections = Corrections([], [(rows(3), rows(0, 1))])
    assert partition(apply_corrections(labels, corrections)) == {
        frozenset({0, 1, 2}),
        frozenset({3}),
        frozenset({4}),
    }


def test_a_few_faces_of_one_person_do_not_take_anothers_cluster():
    labels = np.zeros(10, np.int64)
    corrections = Corrections([person([8], [9])], [(rows(8), rows(*range(8)))])
    assert partition(apply_corrections(labels, corrections)) == {frozenset(range(8)), frozenset({8, 9})}


def test_two_names_never_share_a_cluster():
    labels = np.zeros(7, np.int64)
    corrections = Corrections([person([0, 1, 2], name="Anna"), person([3, 4], name="Bert")])
    assert partition(apply_corrections(labels, corrections)) == {
        frozenset({0, 1, 2, 5, 6}),
        frozenset({3, 4}),
    }


def test_people_said_apart_part_although_a_run_puts_them_together():
    labels = np.zeros(6, np.int64)
    corrections = Corrections([person([0, 1, 2])], [(rows(0), rows(4, 5))])
    assert partition(apply_corrections(labels, corrections)) == {frozenset({0, 1, 2, 3}), frozenset({4, 5})}


def test_two_people_whom_nothing_keeps_apart_may_turn_out_to_be_one():
    labels = np.array([0, 0, 0, 0, 1])
    corrections = Corrections([person([0, 1]), person([2, 3])])
    assert partition(apply_corrections(labels, corrections)) == {frozenset({0, 1, 2, 3}), frozenset({4})}


def test_no_correction_changes_nothing():
    labels = np.array([2, 2, 0, -1, 1])
    np.testing.assert_array_equal(apply_corrections(labels, Corrections()), labels)


# --- faces that leave find another person --------------------------------------------------------


def problem():
    return make_problem(make_people(people=40, images=8))


def by_similarity(measured):
    """Everybody belongs, most so where a face is most similar."""
    return 0.6 + measured.nodes[:, NODE_MEASURES.index("similarity to the rest of the proposal")] / 1000


def together(measured):
    """Nobody is alone."""
    return np.where(measured.proposals[:, 0] > 0, 0.9, 0.3).astype(np.float32)


def never(measured):
    return np.zeros(len(measured.rows))


def misplaced():
    """A problem, the people of its faces, the faces of person 3, and clusters that have its first with 5."""
    posed = problem()
    labels = np.unique(posed.labels, return_inverse=True)[1]
    own = np.flatnonzero(labels == 3)
    wrong = labels.copy()
    wrong[own[0]] = 5
    return posed, labels, own, wrong


def test_a_face_that_leaves_goes_to_another_person_only_on_evidence():
    posed, labels, own, wrong = misplaced()
    corrections = Corrections([], [(own[:1], np.flatnonzero(labels == 5))])
    found = correct_people(posed.graph, wrong, corrections, together, by_similarity)
    assert partition(found) == partition(labels)
    alone = correct_people(posed.graph, wrong, corrections, together, never)
    assert frozenset({int(own[0])}) in partition(alone)


def test_a_face_that_leaves_joins_one_other_face_where_gcn_d_finds_both_likely():
    posed, labels, own, wrong = misplaced()
    wrong[own[2:]] = labels.max() + 1 + np.arange(len(own) - 2)  # but for one, its person's faces are alone
    apart = [(own[:1], np.flatnonzero(labels == 5))]
    found = correct_people(posed.graph, wrong, Corrections([], apart), together, never)
    assert found[own[0]] in found[own[1:]]
    assert_hold(found, Corrections([], apart))
    parted = Corrections([], [*apart, (own[:1], own[1:])])
    assert_hold(correct_people(posed.graph, wrong, parted, together, never), parted)


def test_faces_that_leave_never_meet_again():
    posed = problem()
    labels = np.unique(posed.labels, return_inverse=True)[1]
    own = np.flatnonzero(labels == 3)
    wrong = labels.copy()
    wrong[own[:2]] = 5
    apart = [(own[[at]], np.flatnonzero(labels == 5)) for at in range(2)] + [(own[:1], own[1:2])]
    corrections = Corrections([], apart)
    assert_hold(correct_people(posed.graph, wrong, corrections, together, by_similarity), corrections)


# --- images known again --------------------------------------------------------------------------


def features_of(rows_, meta=None):
    return Features(Path("feature.bin"), rows_, Numbering(np.abs(rows_).sum(1) > 0), "", meta or {})


SAID = Corrections(
    [person([3, 4], [10], name="Anna"), replace(person([20, 21]), hidden=True)],
    [(rows(7), rows(3, 4)), (rows(20), rows(7))],
    rows(22),
)
NAMES = [f"images/{row}.jpg" for row in range(98)]


@pytest.fixture
def features():
    """97 usable rows and one of zeros, none of which is spoken of."""
    given_rows = make_people(people=12, images=8).rows
    assert (np.abs(given_rows).sum(1) > 0)[[3, 4, 7, 10, 20, 21, 22]].all()
    return features_of(given_rows)


def as_found(corrections):
    """Corrections as a value to compare."""
    return (
        [(one.name, one.hidden, [part.tolist() for part in one.parts]) for one in corrections.people],
        [(one.tolist(), other.tolist()) for one, other in corrections.apart],
        corrections.not_faces.tolist(),
    )


def moved(corrections, place):
    return as_found(corrections.renumbered(place.__getitem__))


@pytest.mark.parametrize("names", [None, NAMES], ids=["rows alone", "names"])
def test_saved_and_read_they_say_the_same(features, tmp_path, names):
    path = tmp_path / "corrections.json"
    write_json(path, corrections_json(save_corrections(SAID, features, names)))
    found, lost = corrections_of(read_corrections(path), features, names)
    assert as_found(found) == as_found(SAID) and lost == []


@pytest.mark.parametrize("names", [None, NAMES], ids=["rows alone", "names"])
def test_a_list_sorted_anew_and_grown_keeps_them(features, names):
    saved = save_corrections(SAID, features, names)
    order = np.random.default_rng(1).permutation(len(features.rows))
    more = make_people(people=3, images=4, seed=5).rows
    grown = features_of(np.concatenate([more, features.rows[order]]))
    place = len(more) + np.argsort(order)
    names = names and [f"new/{row}.jpg" for row in range(len(more))] + [names[row] for row in order]
    assert as_found(corrections_of(saved, grown, names)[0]) == moved(SAID, place)


def test_renamed_images_are_known_by_their_features(features):
    saved = save_corrections(SAID, features, NAMES)
    renamed = [f"elsewhere/{name}" for name in NAMES]
    assert as_found(corrections_of(saved, features, renamed)[0]) == as_found(SAID)


def test_features_computed_on_another_machine_are_the_same_images(features):
    saved = save_corrections(SAID, features, None)
    noise = np.random.default_rng(0).standard_normal(features.rows.shape).astype(np.float32)
    again = features.rows * (1 + 2e-3 * noise)  # as half precision rounds
    assert as_found(corrections_of(saved, features_of(again), None)[0]) == as_found(SAID)


def test_images_saved_anew_under_their_names_are_the_same_images(features):
    """Their features move by a fifth of their length, as those of faces aligned anew do."""
    saved = save_corrections(SAID, features, NAMES)
    noise = np.random.default_rng(0).standard_normal(features.rows.shape).astype(np.float32)
    length = np.linalg.norm(features.rows, axis=1, keepdims=True) / np.sqrt(features.rows.shape[1])
    order = np.random.default_rng(1).permutation(len(NAMES))
    anew = (features.rows + 0.2 * length * noise)[order]
    named = [NAMES[row] for row in order]
    assert as_found(corrections_of(saved, features_of(anew), named)[0]) == moved(SAID, np.argsort(order))
    with pytest.raises(InputError, match="none of its 7 faces"):
        corrections_of(saved, features_of(anew), None)  # without names nothing tells that it is the same


def test_another_networks_features_leave_the_names_to_tell(features):
    saved = save_corrections(SAID, features, NAMES)
    other = features_of(make_people(people=12, images=8, dim=32, seed=9).rows, {"model": "iresnet50"})
    assert other.usable[[3, 4, 7, 10, 20, 21, 22]].all()
    order = np.random.default_rng(1).permutation(len(NAMES))
    named = [NAMES[row] for row in order]
    other = replace(other, rows=other.rows[order], numbering=Numbering(other.usable[order]))
    assert as_found(corrections_of(saved, other, named)[0]) == moved(SAID, np.argsort(order))
    with pytest.raises(InputError, match="none of its 7 faces"):
        corrections_of(save_corrections(SAID, features, None), other, named)


def test_another_image_of_the_same_name_is_not_taken_for_it(features):
    saved = save_corrections(SAID, features, NAMES)
    changed = features.rows.copy()
    changed[4] = make_people(seed=8).rows[4]
    found, lost = corrections_of(saved, features_of(changed), NAMES)
    assert lost == ["images/4.jpg"]
    assert as_found(found) == (
        [("Anna", False, [[3], [10]]), (None, True, [[20, 21]])],
        [([7], [3]), ([20], [7])],
        [22],
    )


def test_lost_faces_are_told_of(features, tmp_path, capsys):
    path = tmp_path / "corrections.json"
    write_json(path, corrections_json(save_corrections(SAID, features, NAMES)))
    load_corrections(path, features_of(features.rows[:20]), NAMES[:20])
    assert "3 of its faces, the first images/20.jpg, are not among the features" in capsys.readouterr().err


def told_by_loading(features, tmp_path, capsys, now, names):
    path = tmp_path / "corrections.json"
    write_json(path, corrections_json(save_corrections(SAID, features, NAMES)))
    load_corrections(path, now, names)
    return capsys.readouterr().err.splitlines()


def test_changed_images_are_named_as_such(features, tmp_path, capsys):
    changed = features.rows.copy()
    changed[[4, 22]] = make_people(seed=8).rows[[4, 22]]
    changed[7] = 0  # cannot be read any more
    told = told_by_loading(features, tmp_path, capsys, features_of(changed), NAMES)
    assert len(told) == 2
    assert "2 of its images have changed, the first images/4.jpg: what it says of what" in told[0]
    assert "1 of its faces, the first images/7.jpg, are not among the features" in told[1]


def test_nothing_is_told_of_images_saved_anew_or_renamed(features, tmp_path, capsys):
    noise = np.random.default_rng(0).standard_normal(features.rows.shape).astype(np.float32)
    anew = features_of(features.rows * (1 + 0.05 * noise))
    assert told_by_loading(features, tmp_path, capsys, anew, NAMES) == []
    renamed = [f"elsewhere/{name}" for name in NAMES]
    assert told_by_loading(features, tmp_path, capsys, features, renamed) == []


def test_after_a_change_of_network_names_alone_decide_and_it_says_so(features, tmp_path, capsys):
    other = features_of(make_people(people=12, images=8, dim=32, seed=9).rows, {"model": "iresnet50"})
    told = told_by_loading(features, tmp_path, capsys, other, NAMES)
    assert len(told) == 1 and "another network's features: its images are known by their names" in told[0]
    with pytest.raises(InputError, match="only names can tell, and those of feature.bin are not"):
        told_by_loading(features, tmp_path, capsys, other, None)
    grown = [name for name in NAMES if name != "images/4.jpg"] + ["images/new.jpg"]
    told = told_by_loading(features, tmp_path, capsys, other, grown)
    assert "1 of its faces, the first images/4.jpg, are not among the features" in told[1]


def test_corrections_of_other_images_are_refused(features):
    saved = save_corrections(SAID, features, NAMES)
    with pytest.raises(InputError, match=r"none of its 7 faces, the first images/3\.jpg"):
        corrections_of(saved, features_of(make_people(seed=4).rows), NAMES)


@pytest.mark.parametrize("dim", [1, 5, 512])
def test_sketches_of_any_dimension_tell_images_apart(dim):
    sketches = sketch_rows(np.random.default_rng(0).standard_normal((5, dim)).astype(np.float32))
    assert sketches.shape == (5, 12) and sketches.dtype == np.int8


# --- contradictions and damage -------------------------------------------------------------------


def test_contradictions_name_both_sides(features):
    both = Corrections([person([3, 4])], [(rows(3), rows(4))])
    with pytest.raises(
        InputError, match=r"images/3\.jpg and images/4\.jpg that they are the same person and"
    ):
        corrections_of(save_corrections(both, features, NAMES), features, NAMES)
    through_others = Corrections([person([3, 4]), person([4, 5]), person([5, 6])], [(rows(6), rows(3))])
    with pytest.raises(InputError, match="row 6 and row 3"):
        corrections_of(save_corrections(through_others, features, None), features, None)
    names = Corrections([person([3, 4], name="Anna"), person([4, 5], name="Bert")])
    with pytest.raises(InputError, match="'Anna' and 'Bert'"):
        corrections_of(save_corrections(names, features, None), features, None)


def test_people_with_a_face_or_a_name_in_common_are_one(features):
    said = Corrections([person([3], name="Anna"), person([4, 5]), person([5, 6]), person([7], name="anna")])
    found, _ = corrections_of(save_corrections(said, features, None), features, None)
    assert [(one.name, one.rows.tolist()) for one in found.people] == [("Anna", [3, 7]), (None, [4, 5, 6])]


DAMAGE = {
    "another format": lambda said: said | {"format": 3},
    "no network": lambda said: said | {"network": None},
    "no faces": lambda said: {name: value for name, value in said.items() if name != "faces"},
    "a face that is not listed": lambda said: said | {"apart": [[[3], [99]]]},
    "a pair of one": lambda said: said | {"apart": [[[3]]]},
    "a pair with nobody": lambda said: said | {"apart": [[[3], []]]},
    "nobody": lambda said: said | {"people": [{"name": "Anna", "hidden": False, "parts": []}]},
    "an empty part": lambda said: said | {"people": [{"name": "Anna", "hidden": False, "parts": [[]]}]},
    "an empty name": lambda said: said | {"people": [{"name": " ", "hidden": False, "parts": [[3]]}]},
    "a name that is none": lambda said: said | {"people": [{"name": 7, "hidden": False, "parts": [[3]]}]},
    "hidden or not": lambda said: said | {"people": [{"name": None, "hidden": 1, "parts": [[3]]}]},
    "no face as text": lambda said: said | {"not_faces": ["3"]},
    "a sketch cut short": lambda said: said | {"faces": [{"row": 3, "name": None, "sketch": "AAAA"}]},
    "a face twice": lambda said: said | {"faces": said["faces"] * 2},
    "a negative row": lambda said: said | {"faces": [{"row": -1, "name": None, "sketch": "A" * 16}]},
    "rows as text": lambda said: said | {"people": [{"name": None, "hidden": False, "parts": [["3"]]}]},
    "lists of lists": lambda said: said | {"people": [{"name": None, "hidden": False, "parts": [[[3]]]}]},
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_files_are_refused(features, tmp_path, case):
    path = tmp_path / "corrections.json"
    write_json(path, DAMAGE[case](corrections_json(save_corrections(SAID, features, None))))
    with pytest.raises(InputError, match=r"corrections\.json: is no whole corrections file"):
        read_corrections(path)


def test_a_file_of_the_format_before_is_read(features, tmp_path):
    path = tmp_path / "corrections.json"
    said = Corrections([person([3, 4], name="Anna")], [(rows(7), rows(3, 4))])
    values = corrections_json(save_corrections(said, features, None))
    old = {
        "format": 1,
        "people": [{"name": "Anna", "parts": [[3, 4]]}],
        "apart": [{"face": 7, "person": [3, 4]}],
    }
    write_json(path, {key: values[key] for key in ("network", "faces")} | old)
    assert as_found(read_corrections(path).said) == as_found(said)


def test_an_image_is_not_both_somebody_and_no_face(features):
    both = Corrections([person([3, 4])], [], rows(4))
    with pytest.raises(InputError, match="row 4 that it is somebody and no face"):
        corrections_of(save_corrections(both, features, None), features, None)


def test_the_groups_of_people(features):
    groups = groups_from_labels(np.array([-1, 1, 1, 0, 0, 1]))
    corrections = Corrections([person([3], name="Anna"), person([1, 5]), person([0])])
    found = groups_of_people(corrections, groups, 6)
    assert [(group, one.name) for group, one in found] == [(0, "Anna"), (1, None)]
    number_of = Numbering(np.array([False, True, True, True, True, True])).number_of
    assert as_found(corrections.renumbered(number_of.__getitem__)) == (
        [("Anna", False, [[2]]), (None, False, [[0, 4]])],
        [],
        [],
    )


# --- predict.py keeps them -----------------------------------------------------------------------


def clusters_now():
    count = len(read_features(Path("feature.bin")).rows)
    return labels_from_groups(read_clusters(Path("clusters.txt")), count)


def save(corrections):
    saved = save_corrections(corrections, read_features(Path("feature.bin")), None)
    write_json(Path("corrections.json"), corrections_json(saved))


@pytest.fixture
def said(made):
    """Corrections of clusters.txt that go against the features, saved."""
    lines = [rows(*map(int, line.split())) for line in Path("clusters.txt").read_text().splitlines()]
    corrections = Corrections(
        [Person("Anna", [lines[0], lines[1]]), Person("Bert", [lines[2][1:]], hidden=True)],
        [(lines[2][:1], lines[2][1:]), (lines[3][:1], lines[3][1:]), (lines[4][:4], lines[4][4:])],
        lines[5][:1],
    )
    save(corrections)
    return corrections


PREDICT = ("predict", "--corrections", "corrections.json")


def test_no_later_run_undoes_a_correction(said, stage):
    ended = stage(*PREDICT)
    assert ended.code == 0 and "6 corrections kept" in ended.out and ended.err == ""
    assert ended.out.endswith("next: sh run_report.sh --corrections corrections.json\n")
    assert_hold(clusters_now(), said)
    for options in (("--k", "7", "--rounds", "3"), ("--max-size", "3"), ("--threshold", "6")):
        assert stage("proposal", *options).code == 0
        assert stage(*PREDICT).code == 0
        assert_hold(clusters_now(), said)
    names = json.loads(Path("clusters.json").read_text())["names"]
    assert sorted(filter(None, names)) == ["Anna", "Bert"]
    assert clusters_now()[said.people[0].rows[0]] == names.index("Anna")
    assert json.loads(Path("clusters.json").read_text())["hidden"] == [names.index("Bert")]


def test_clusters_are_done_only_with_the_same_corrections(said, stage):
    assert "is done already" not in stage(*PREDICT).out
    assert "is done already" in stage(*PREDICT).out
    save(Corrections(said.people, said.apart[:1], said.not_faces))
    assert "4 corrections kept" in stage(*PREDICT).out
    without = stage("predict")
    assert "is done already" not in without.out
    assert "leaving out the corrections it was made with" in without.err
    assert "names" not in json.loads(Path("clusters.json").read_text())
    assert "is done already" in stage("predict").out


def test_corrections_that_cannot_be_used_leave_the_clusters(said, stage):
    before = Path("clusters.txt").read_bytes()
    missing = stage("predict", "--corrections", "none.json")
    assert missing.code == INPUT and "none.json: not found" in missing.err
    save(Corrections([said.people[0]], [(said.people[0].rows[:1], said.people[0].rows[-1:])]))
    contradiction = stage(*PREDICT)
    assert contradiction.code == INPUT and "same person and that they are not" in contradiction.err
    Path("corrections.json").write_text("{")
    assert stage(*PREDICT).code == INPUT
    assert Path("clusters.txt").read_bytes() == before
