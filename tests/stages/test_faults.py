"""Stages killed, interrupted, run twice, and out of disk: nothing lost, nothing half written.

FAULT_KILLS says how often each stage is killed (default 3).
"""

import resource
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from conftest import KILLS, REPOSITORY, is_locking, make_people, quickest, wait_until

pytestmark = pytest.mark.slow

RESULTS = {
    "proposal": "super_vertex",
    "predict": "clusters.txt",
}


@pytest.fixture
def start(start_process):
    """Start a stage in the working directory; `limit` is the most bytes a file may have."""

    def run(name, *arguments, limit=None):
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        return start_process(
            [sys.executable, REPOSITORY / f"{name}.py", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            preexec_fn=lambda: resource.setrlimit(
                resource.RLIMIT_FSIZE, (hard if limit is None else limit, hard)
            ),
        )

    return run


@pytest.fixture
def finish(start):
    """Run a stage to its end: exit code, and what it printed."""

    def run(name, *arguments, **options):
        process = start(name, *arguments, **options)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    return run


def bytes_of(place):
    """Every file of a result with its bytes."""
    place = Path(place)
    files = sorted(place.rglob("*")) if place.is_dir() else [place, place.with_suffix(".json")]
    return {str(path): path.read_bytes() for path in files if path.is_file()}


def leftovers():
    return [path.name for path in Path().iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", RESULTS)
def test_killed_at_any_moment_and_run_again(made, start, stage, name):
    expected = bytes_of(RESULTS[name])

    def at_work():
        process = start(name, "--restart")
        wait_until(process, lambda: is_locking(process, made))
        return process

    process, began = at_work(), time.monotonic()
    process.communicate(timeout=120)
    work = time.monotonic() - began
    rng = np.random.default_rng(0)
    killed = 0
    for _ in range(KILLS):
        process = at_work()
        time.sleep(work * rng.uniform())
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        assert bytes_of(RESULTS[name]) == expected  # the earlier result is whole
    assert killed > 0
    assert stage(name, "--restart").code == 0
    assert bytes_of(RESULTS[name]) == expected
    assert leftovers() == []


@pytest.mark.parametrize("name", RESULTS)
def test_killed_before_each_renaming(made, start_process, stage, name):
    expected = bytes_of(RESULTS[name])
    for number in count(1):
        command = [sys.executable, REPOSITORY / "tests/die_at.py", str(number), REPOSITORY / f"{name}.py"]
        process = start_process([*command, "--restart"], stdout=subprocess.DEVNULL)
        if process.wait(120) == 0:
            break
        assert process.returncode == -signal.SIGKILL
        assert stage(name, *["--restart"] * (name == "predict")).code == 0
        assert bytes_of(RESULTS[name]) == expected
        assert leftovers() == []
    assert number > 2  # two at least were killed


@pytest.fixture(scope="module")
def made_large(tmp_path_factory):
    """A folder with features, labels and proposals that keep every stage at work for a while."""
    folder = tmp_path_factory.mktemp("large")
    people = make_people(people=1000, images=10)
    people.rows.astype("<f4").tofile(folder / "feature.bin")
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in people.labels))
    command = [sys.executable, REPOSITORY / "proposal.py", "--dim", "64"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("name", ["proposal", "predict", "train"])
def test_ctrl_c_ends_within_two_seconds_with_a_line(made_large, monkeypatch, start, name):
    monkeypatch.chdir(made_large)
    options = ["--set", "feature.bin", "labels.txt"] if name == "train" else ["--restart"]

    def interrupted():
        process = start(name, *options, "--dim", "64")
        wait_until(process, lambda: is_locking(process, made_large / ("trained" if name == "train" else "")))
        process.send_signal(signal.SIGINT)
        sent = time.monotonic()
        _, err = process.communicate(timeout=30)
        seconds = time.monotonic() - sent
        assert process.returncode == 130
        assert len(err.splitlines()) == 1 and "interrupted; run the same command again" in err
        assert leftovers() == []
        return seconds

    assert quickest(interrupted, enough=2) < 2


@pytest.mark.parametrize(("name", "limit"), [("proposal", 20_000), ("predict", 200)])
def test_a_full_disk_leaves_the_earlier_result(made, finish, name, limit):
    expected = bytes_of(RESULTS[name])
    code, _, err = finish(name, "--restart", limit=limit)
    assert code == 4
    assert len(err.strip().splitlines()) == 1 and "error: " in err
    assert bytes_of(RESULTS[name]) == expected
    assert leftovers() == []


def test_training_goes_on_after_a_full_disk(made, finish, stage):
    np.savetxt("labels.txt", make_people(people=20, images=10).labels, "%d")
    options = ["--set", "feature.bin", "labels.txt", "--folds", "2", "--draws", "4", "--epochs", "2"]
    code, _, err = finish("train", *options, limit=300_000)  # enough for the first of its checkpoints
    assert (code, len(err.splitlines())) == (4, 1)
    assert "allowed size" in err
    assert [path.name for path in Path("trained").iterdir()] == ["checkpoint.pt"]
    ended = stage("train", *options)
    assert ended.code == 0 and "going on from there" in ended.out
    modes = {path.name: path.stat().st_mode & 0o777 for path in Path("trained").iterdir()}
    assert len(modes) == 3 and len(set(modes.values())) == 1  # whoever reads the card reads the weights


def test_two_runs_at_once_never_mix(made, start, stage):
    first, second = start("proposal", "--restart"), start("proposal", "--restart")
    ends = [process.communicate(timeout=120) for process in (first, second)]
    codes = sorted(process.returncode for process in (first, second))
    assert codes in ([0, 4], [0, 0])  # or one after the other
    if codes == [0, 4]:
        assert any("another run is writing here" in err for _, err in ends)
    assert stage("predict").code == 0


def test_the_order_of_the_rows_changes_ids_alone(made, stage):
    rows = np.fromfile("feature.bin", "<f4").reshape(-1, 64)
    before = partition(Path("clusters.txt"))
    order = np.random.default_rng(1).permutation(len(rows))
    rows[order].tofile("feature.bin")
    assert stage("proposal").code == 0
    assert stage("predict").code == 0
    after = {frozenset(order[list(cluster)].tolist()) for cluster in partition(Path("clusters.txt"))}
    assert after == before


def partition(path):
    return {frozenset(map(int, line.split())) for line in path.read_text().splitlines()}
