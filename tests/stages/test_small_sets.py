"""Small sets and sets of copies, by the stages: what is known of a network is used, copies stay together."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import make_people

from pipeline.calibration import PRIOR_FACES
from pipeline.files.clusters import read_clusters
from pipeline.groups import labels_from_groups

INPUT = 3
STANDING = 29  # faces of the album: one of its 30 is a copy


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with large.bin, of many people, album.bin, of a few, in one feature space."""
    monkeypatch.chdir(tmp_path)
    people = make_people(people=120, images=6, noise=0.9, mean=1.0)
    for name, most in (("large", 120), ("album", 5)):
        chosen = (people.labels >= 0) & (people.labels < most)
        people.rows[chosen].astype("<f4").tofile(f"{name}.bin")
        meta = {"format": 1, "count": int(chosen.sum()), "dim": 64, "weights_sha256": "a" * 64}
        Path(f"{name}.json").write_text(json.dumps(meta))
    return tmp_path


def calibration_of(folder):
    return json.loads(Path(folder, "manifest.json").read_text())["calibration"]


def propose(stage, name, *options):
    return stage("proposal", "--features", f"{name}.bin", "--output", f"{name}_vertex", *options)


def test_a_small_set_is_calibrated_by_a_larger_one_of_its_network(work, stage):
    assert propose(stage, "large").code == 0 and propose(stage, "album").code == 0
    known, own = calibration_of("large_vertex"), calibration_of("album_vertex")
    assert propose(stage, "album", "--calibration", "large_vertex/manifest.json").code == 0
    weight = STANDING / (STANDING + PRIOR_FACES)
    both = weight * own["middle"] + (1 - weight) * known["middle"]
    assert calibration_of("album_vertex")["middle"] == pytest.approx(both)
    assert "is done already" in propose(stage, "album", "--calibration", "large_vertex/manifest.json").out
    assert "is done already" not in propose(stage, "album").out


def test_few_faces_of_an_unknown_network_are_said_to_be_few(work, stage):
    few = "album.bin: 30 faces do not show how similar different people look to their network"
    assert few in propose(stage, "album").err
    assert "do not show" not in propose(stage, "album", "--calibration", "large_vertex/manifest.json").err
    assert "do not show" not in propose(stage, "large").err


def test_what_the_json_beside_features_says_is_used_unless_another_is_given(work, stage):
    assert propose(stage, "album").code == 0
    own = calibration_of("album_vertex")
    meta = json.loads(Path("album.json").read_text())
    Path("album.json").write_text(json.dumps(meta | {"calibration": {"middle": 9, "spread": 1, "upper": 1}}))
    assert propose(stage, "album").code == 0
    weight = STANDING / (STANDING + PRIOR_FACES)
    assert calibration_of("album_vertex")["middle"] == pytest.approx(
        weight * own["middle"] + 9 * (1 - weight)
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "holds no `calibration`"),
        ({"calibration": {"middle": 0, "spread": 0, "upper": 1}}, "holds no `calibration`"),
        ({"calibration": {"middle": 0, "spread": "x", "upper": 1}}, "holds no `calibration`"),
        (
            {"weights_sha256": "b" * 64, "calibration": {"middle": 0, "spread": 1, "upper": 1}},
            "of another network",
        ),
    ],
)
def test_a_calibration_that_does_not_fit_is_refused(work, stage, values, said):
    Path("other.json").write_text(json.dumps(values))
    ended = propose(stage, "album", "--calibration", "other.json")
    assert ended.code == INPUT and ended.err.startswith("run_proposal.sh: error: other.json: ")
    assert said in ended.err and ended.err.count("\n") == 1
    assert not Path("album_vertex").exists()


def people_of(stage, name, *options):
    assert propose(stage, name).code == 0
    ended = stage(
        "predict",
        "--features",
        f"{name}.bin",
        "--proposals",
        f"{name}_vertex",
        "--output",
        f"people_{name}.txt",
        *options,
    )
    assert ended.code == 0, ended.err
    count = json.loads(Path(f"{name}.json").read_text())["count"]
    return labels_from_groups(read_clusters(Path(f"people_{name}.txt")), count)


def test_each_file_five_times_is_the_same_people_with_five_times_the_faces(work, stage):
    rows = np.fromfile("album.bin", "<f4").reshape(-1, 64)
    rows = np.concatenate([rows, np.zeros((1, 64), np.float32)])
    order = np.random.default_rng(0).permutation(5 * len(rows))
    np.tile(rows, (5, 1))[order].tofile("copied.bin")
    Path("copied.json").write_text(json.dumps({"format": 1, "count": 5 * len(rows), "dim": 64}))
    once, copied = people_of(stage, "album"), people_of(stage, "copied")
    back = np.empty((5, len(rows)), np.int64)
    back.ravel()[order] = copied
    assert (back == back[0]).all() and (back[0, -1] == -1)
    pairs = np.unique(np.stack([once, back[0, :-1]]), axis=1)
    assert pairs.shape[1] == once.max() + 1 == copied.max() + 1
    assert json.loads(Path("copied_vertex", "manifest.json").read_text())["copies"] >= 4 * (len(rows) - 1)


@pytest.mark.parametrize("copies", [2_000, pytest.param(50_000, marks=pytest.mark.slow)])
def test_copies_of_one_face_by_the_thousand_leave_the_others_as_they_are(work, stage, copies):
    people = make_people(people=20, images=5, noise=0.9)
    rows = people.rows[people.labels >= 0]
    before = propose_and_predict(stage, "once", rows)
    order = np.random.default_rng(0).permutation(len(rows) + copies)
    started = time.process_time()
    after = propose_and_predict(stage, "many", np.concatenate([rows, np.repeat(rows[:1], copies, 0)])[order])
    assert time.process_time() - started < 60
    back = np.empty(len(order), np.int64)
    back[order] = after
    assert (back[len(rows) :] == back[0]).all()
    pairs = np.unique(np.stack([before, back[: len(rows)]]), axis=1)
    assert pairs.shape[1] == before.max() + 1 == after.max() + 1 == 21


def propose_and_predict(stage, name, rows):
    rows.astype("<f4").tofile(f"{name}.bin")
    Path(f"{name}.json").write_text(json.dumps({"format": 1, "count": len(rows), "dim": rows.shape[1]}))
    return people_of(stage, name)
