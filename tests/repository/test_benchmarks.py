"""The benchmarks: that they load, their own arithmetic, and the oracle's bars on real faces."""

import importlib
import os
import sys

from common.errors import EnvironmentFault, InputError, UsageError

import numpy as np
import pytest
from conftest import REPOSITORY

from pipeline.files.labels import read_labels
from pipeline.groups import Groups
from pipeline.metrics import evaluate


@pytest.fixture
def benchmark(monkeypatch):
    """Import a benchmark by name, as `python benchmarks/NAME.py` finds its neighbors."""
    monkeypatch.setattr(sys, "path", [str(REPOSITORY / "benchmarks"), *sys.path])
    return importlib.import_module


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in (REPOSITORY / "benchmarks").glob("*.py")))
def test_every_benchmark_still_finds_what_it_imports(benchmark, name, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))  # which some set before they import
    try:
        benchmark(name)
    except ModuleNotFoundError as error:
        if name != "peers":
            raise
        pytest.skip(f"{error.name} of requirements-bench.txt is not there")


def test_sums_by_person_make_the_scores_of_evaluate(benchmark):
    quality = benchmark("quality")
    rng = np.random.default_rng(0)
    labels, found = rng.integers(0, 9, 200), rng.integers(0, 12, 200)
    labels = np.unique(labels, return_inverse=True)[1]
    found = np.unique(found, return_inverse=True)[1]
    scores, sums = evaluate(labels, found), quality.sums_by_person(labels, found)
    for measure in ("pairwise", "bcubed"):
        f = quality.f_of(sums[measure].sum(0, keepdims=True))[0]
        assert f == pytest.approx(getattr(scores, measure).f)


def test_a_peer_that_is_none_ends_before_any_work(benchmark):
    chosen_peers = benchmark("quality").chosen_peers
    assert chosen_peers(["none"]) == []
    # Where the peers' packages are missing, it says so instead.
    with pytest.raises((UsageError, EnvironmentFault), match="is none of|is not installed"):
        chosen_peers(["FINCH", "no such peer"])


def test_oracle_prefers_the_better_proposal_and_leaves_the_rest_alone(benchmark):
    oracle = benchmark("oracle").oracle
    labels = np.array([0, 0, 0, 1, 1, 2])
    mixed, whole, pair = [0, 1, 2, 3, 4], [0, 1, 2], [3, 4]
    every = Groups(np.array(mixed + whole + pair, np.int32), np.array([0, 5, 8, 10]))
    assert oracle(every, labels).bcubed.f == 1
    only_mixed = Groups(np.array(mixed, np.int32), np.array([0, 5]))
    assert oracle(only_mixed, labels).bcubed.f < 1


def test_the_same_name_is_one_person_in_a_mix(benchmark, shared):
    load = benchmark("datasets").load
    val, glint, mix = (
        load(name, "mobilefacenet", shared) for name in ("lfw/val", "glint8", "lfw/val+glint8")
    )
    assert evaluate(read_labels(shared / "lfw" / "val_labels.txt"), val.labels).pairwise.f == 1
    assert evaluate(mix.labels[: len(val.labels)], val.labels).pairwise.f == 1
    assert mix.labels.max() + 1 < val.labels.max() + 1 + glint.labels.max() + 1


def test_growth_is_the_exponent_and_goals_say_whether_they_hold(benchmark):
    speed = benchmark("speed")
    assert speed.exponent([10, 100, 1000], [3 * 10**1.2, 3 * 100**1.2, 3 * 1000**1.2]) == pytest.approx(1.2)
    assert speed.Goal("a", 0.95, 0.9).row().endswith("| >= 0.9 | yes |")
    assert speed.Goal("a", 1.3, 1.25, most=True).row().endswith("| <= 1.25 | NO |")


def test_peak_memory_is_that_of_the_process_that_ran(benchmark, tmp_path):
    speed = benchmark("speed")
    (tmp_path / "holds.py").write_text(
        "import time\nheld = bytearray(300 << 20)\ntime.sleep(0.3)\nprint(len(held))\n"
    )
    (tmp_path / "fails.py").write_text("raise SystemExit('no reason')\n")
    ran = speed.run(tmp_path / "holds.py", cwd=tmp_path)
    assert ran.output == f"{300 << 20}\n" and 310 < ran.peak < 400
    with pytest.raises(InputError, match="no reason"):
        speed.run(tmp_path / "fails.py", cwd=tmp_path)


def test_repeats_are_alike_inside_and_strangers_to_one_another(benchmark):
    datasets, approximate = benchmark("datasets"), benchmark("approximate")
    rows = np.random.default_rng(0).standard_normal((20, 64)).astype(np.float32)
    faces = datasets.FaceSet("a", "b", rows, np.repeat(np.arange(5), 4), np.array(["name"] * 20))
    thrice = approximate.repeated(faces, 3)
    np.testing.assert_allclose(thrice.rows[20:40] @ thrice.rows[20:40].T, rows @ rows.T, atol=1e-3)
    assert np.abs(thrice.rows[:20] - thrice.rows[20:40]).max() > 0.5
    np.testing.assert_array_equal(np.bincount(thrice.labels), np.full(15, 4))


@pytest.fixture
def faces(benchmark):
    """Forty people with one to forty faces each."""
    labels = np.repeat(np.arange(40), np.arange(1, 41))
    rows = np.random.default_rng(0).standard_normal((len(labels), 64)).astype(np.float32)
    return benchmark("datasets").FaceSet("a", "b", rows, labels, labels.astype(str))


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        (("up_to", 5, 4), lambda sizes: len(sizes) == 5 and sizes.min() >= 2 and sizes.max() <= 4),
        (("up_to", 40, 2), lambda sizes: len(sizes) == 40 and sizes.min() == 1 and sizes.max() == 2),
        (("large", 3, 30), lambda sizes: sizes.tolist() == [30, 30, 30]),
        (("once", 12), lambda sizes: sizes.tolist() == 12 * [1]),
        (("once_and_twice", 30, 5), lambda sizes: np.sort(sizes).tolist() == 30 * [1] + 5 * [2]),
        (("in_front", 25, 3, 2), lambda sizes: np.sort(sizes).tolist() == [2, 2, 2, 25]),
    ],
)
def test_albums_have_the_people_and_faces_of_their_shape(benchmark, faces, shape, sizes):
    albums = benchmark("albums")
    for number in range(5):
        rows = getattr(albums, shape[0])(*shape[1:])(faces, np.random.default_rng(number))
        assert len(np.unique(rows)) == len(rows)
        assert sizes(np.unique(faces.labels[rows], return_counts=True)[1])


def test_a_shape_of_more_people_than_there_are_is_too_few(benchmark, faces):
    albums = benchmark("albums")
    for shape in (
        albums.once(41),
        albums.large(1, 41),
        albums.once_and_twice(39, 5),
        albums.in_front(50, 1, 1),
    ):
        with pytest.raises(albums.TooFew):
            shape(faces, np.random.default_rng(0))


def test_frames_are_as_far_apart_as_said(benchmark, faces):
    albums = benchmark("albums")
    rows = albums.unit(np.repeat(faces.rows, 2, axis=0))
    frames = albums.unit(albums.with_noise(rows, 0.02, np.random.default_rng(0)))
    distances = 1 - np.einsum("nd,nd->n", frames[::2], frames[1::2])
    assert distances.mean() == pytest.approx(0.02, rel=0.1)  # strangers are at 1 here
    copies, labels = albums.draw_album(faces, "each file 5 times", 0)
    once, _ = albums.draw_album(faces, "30, up to 8", 0)
    assert len(copies) == 5 * len(once) == len(labels) and len(np.unique(copies, axis=0)) == len(once)
