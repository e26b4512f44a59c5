"""The demo, end to end by its command: the drawn people are found."""

from pathlib import Path

import numpy as np
import pytest

from pipeline import metrics
from pipeline.files.clusters import read_clusters
from pipeline.files.labels import read_labels
from pipeline.groups import labels_from_groups

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("work here")


@pytest.fixture
def demo(run_script, work):
    """The folder demo/, made by the first test that asks for it."""
    if not (work / "demo" / "clusters.txt").exists():
        result = run_script("run_demo.sh", cwd=work)
        assert result.returncode == 0, result.stderr
        last = result.stdout.splitlines()[-1]
        assert str(work / "demo" / "clusters.txt") in last
        assert str(work / "demo" / "report" / "index.html") in last
    return work / "demo"


def test_the_people_found_are_those_drawn(demo):
    drawn = read_labels(demo / "labels.txt")
    found = labels_from_groups(read_clusters(demo / "clusters.txt"), len(drawn))
    scores = metrics.evaluate(drawn, metrics.own_clusters(found))
    assert len(np.unique(drawn)) == 12
    assert (scores.pairwise.precision, scores.pairwise.recall, scores.bcubed.f) == (1, 1, 1)


def test_a_list_of_ones_own_is_done_in_the_working_directory(demo, run_script, work):
    result = run_script("run_demo.sh", "demo/faces.txt", cwd=work)
    assert result.returncode == 0, result.stderr
    assert (work / "clusters.txt").read_text() == (demo / "clusters.txt").read_text()


def test_the_people_can_be_looked_at(demo):
    faces = len((demo / "faces.txt").read_text().splitlines())
    assert (demo / "report" / "index.html").is_file()
    assert len(list((demo / "report" / "thumbs").glob("*/*.jpg"))) == faces


def test_order_of_the_lines_and_size_of_the_batches_change_nothing(demo, stage, monkeypatch):
    monkeypatch.chdir(demo)
    names = Path("faces.txt").read_text().splitlines()
    order = np.random.default_rng(0).permutation(len(names))
    Path("shuffled.txt").write_text("".join(f"{names[row]}\n" for row in order))
    features = ("--features", "shuffled.bin")
    for command in (
        ("extract", "shuffled.txt", "--output", "shuffled.bin", "--batch-size", "7"),
        ("proposal", *features, "--output", "shuffled_vertex"),
        ("predict", *features, "--proposals", "shuffled_vertex", "--output", "shuffled_people.txt"),
    ):
        ended = stage(*command)
        assert ended.code == 0, ended.err
    shuffled = partition(Path("shuffled_people.txt"))
    assert {frozenset(order[list(rows)].tolist()) for rows in shuffled} == partition(Path("clusters.txt"))


def partition(path):
    return {frozenset(map(int, line.split())) for line in path.read_text().splitlines()}


def test_clusters_can_be_exported(demo, run_script):
    result = run_script("run_export.sh", "--to", "folders", cwd=demo)
    assert result.returncode == 0, result.stderr
    assert len(list((demo / "export").glob("person_*/*"))) == len(
        (demo / "faces.txt").read_text().splitlines()
    )
