"""A Ray cluster of several nodes on this machine: the bytes of one process, whatever is lost."""

import functools
import importlib
import itertools
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from common import cli
from common.errors import EnvironmentFault
from common.progress import set_quiet

import numpy as np
import pytest
from conftest import REPOSITORY, LazyModule, make_people, without_advice
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.files.features import read_features
from pipeline.proposals.edges import strongest_edges
from pipeline.proposals.linkage import single_linkage
from pipeline.rows import unit_rows

knn = LazyModule("pipeline.search.knn")

ENDS_WITHIN = 300  # seconds, of a stage on a busy machine


@pytest.fixture(scope="module", autouse=True)
def ray():
    """The package; the tests are skipped where it is not installed, but not in CI."""
    if find_spec("ray") is None:
        reason = "requirements-ray.txt is not installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    return pytest.importorskip("ray")


pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def cluster(ray):
    """A head that computes nothing, and two nodes of one CPU."""
    from ray.cluster_utils import Cluster

    memory = {"object_store_memory": 100 << 20}
    cluster = Cluster(
        head_node_args={"num_cpus": 0, "include_dashboard": False, **memory}, initialize_head=True
    )
    for _ in range(2):
        cluster.add_node(num_cpus=1, **memory)
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images and their list, one of them missing, and features of two shards and a half."""
    folder = tmp_path_factory.mktemp("faces and spaces")
    rng = np.random.default_rng(0)
    for number in range(20):
        small = Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8))
        small.resize((112, 112), Image.Resampling.BICUBIC).save(folder / f"face {number}.jpg", quality=90)
    (folder / "faces.txt").write_text("".join(f"face {number}.jpg\n" for number in range(21)))
    people = make_people(people=100, images=25, dim=32)
    rows = people.rows
    rows[np.random.default_rng(1).integers(0, len(rows), 30)] = rows[people.twins[0]]
    rows.astype("<f4").tofile(folder / "people.bin")
    return folder


@pytest.fixture(scope="module")
def arguments(folder):
    """What each stage is run with, but for its output."""
    features = ["--features", folder / "people.bin", "--dim", "32"]
    return {
        "extract": [folder / "faces.txt", "--batch-size", "4"],
        "proposal": features,
        "predict": [*features, "--proposals", folder / "super_vertex"],
    }


OUTPUTS = {"extract": "feature.bin", "proposal": "super_vertex", "predict": "clusters.txt"}


def run_here(stage, *arguments):
    """Run a stage in this process, which is quicker than its command."""
    script = importlib.import_module(stage)
    try:
        assert cli.run(script.main, script.get_parser(), [*map(str, arguments), "--quiet"]) == 0
    finally:
        set_quiet(False)


@pytest.fixture(scope="module")
def local(folder, arguments):
    """The results of the stages without a cluster."""
    for stage, output in OUTPUTS.items():
        run_here(stage, *arguments[stage], "--output", folder / output)
    return folder


@pytest.fixture
def start_at_gate(start_process, tmp_path):
    """Start a stage whose tasks of one function, those with `text` in their arguments, wait for a file
    `open` in a folder; gives the process and that folder."""

    def run(stage, module, function, *arguments, text="", **options):
        gate = tmp_path / "gate"
        gate.mkdir()
        script = [REPOSITORY / "tests/gated_stage.py", gate, module, function, text, stage]
        command = list(map(str, [sys.executable, *script, *arguments]))
        pipe = subprocess.PIPE
        return start_process(command, stdout=pipe, stderr=pipe, text=True, **options), gate

    return run


def results(out):
    """What a stage printed, without the line that says what it reads."""
    return "".join(line for line in out.splitlines(keepends=True) if " rows x " not in line)


def bytes_of(place):
    """The files of a stage's result, by name."""
    paths = [path for path in place.rglob("*") if path.is_file()] or [place, place.with_suffix(".json")]
    return {str(path.relative_to(place.parent)): path.read_bytes() for path in paths}


def wait_for(there, process):
    """What `there` gives, as soon as it gives something."""
    until = time.monotonic() + ENDS_WITHIN
    while not (found := there()):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


@pytest.mark.parametrize(
    ("stage", "module", "function"),
    [
        ("extract", "distributed.extract", "features_of_piece"),
        ("proposal", "distributed.search", "search_shard"),
        ("proposal", "distributed.merge", "forest_of_rows"),
        ("predict", "distributed.score", "score_chunk"),
    ],
)
def test_a_node_removed_at_work_changes_no_byte(
    start_at_gate, cluster, local, arguments, tmp_path, stage, module, function
):
    options = ["--output", tmp_path / OUTPUTS[stage], "--engine", "ray", "--ray-address", cluster.address]
    options += ["--shards", "3"] if stage == "proposal" else []
    process, gate = start_at_gate(stage, module, function, *arguments[stage], *options)
    at_work = {path.name for path in wait_for(lambda: list(gate.iterdir()), process)}
    lost = next(node for node in cluster.list_all_nodes() if node.node_id in at_work)
    cluster.remove_node(lost, allow_graceful=False)
    (gate / "open").touch()
    out, err = process.communicate(timeout=ENDS_WITHIN)
    cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    assert (process.returncode, without_advice(err), results(out).count("\n")) == (0, "", 1)
    assert bytes_of(tmp_path / OUTPUTS[stage]) == bytes_of(local / OUTPUTS[stage])


def test_a_killed_driver_goes_on_with_the_rows_it_had(start_at_gate, cluster, local, arguments, tmp_path):
    output = ["--output", tmp_path / "feature.bin"]
    options = [*arguments["extract"], *output, "--engine", "ray", "--ray-address", cluster.address]
    process, _ = start_at_gate(
        "extract", "distributed.extract", "features_of_piece", *options, text="face 16.jpg"
    )
    part = tmp_path / ".feature.bin.face-clusters-part"
    wait_for(lambda: part.exists() and part.stat().st_size, process)
    process.kill()
    process.communicate()
    at_hand = part.read_bytes()
    run_here("extract", *arguments["extract"], *output)  # one machine goes on where several were
    assert (tmp_path / "feature.bin").read_bytes() == (local / "feature.bin").read_bytes()
    assert at_hand == (local / "feature.bin").read_bytes()[: len(at_hand)]


def test_ctrl_c_ends_in_one_line_and_ends_ray_where_it_was_started_for_the_run(
    start_at_gate, folder, arguments, tmp_path
):
    variables = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    options = [*arguments["proposal"], "--output", tmp_path / "super_vertex", "--engine", "ray"]
    process, gate = start_at_gate("proposal", "distributed.search", "search_shard", *options, env=variables)
    (worker,) = wait_for(lambda: [path for path in gate.iterdir() if path.read_text()], process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=ENDS_WITHIN)
    assert (process.returncode, results(out), without_advice(err).count("\n")) == (130, "", 1)
    assert "interrupted; run the same command again" in err
    assert [path.name for path in tmp_path.iterdir()] == ["gate"]
    wait_until_gone(int(worker.read_text()))


def wait_until_gone(pid):
    until = time.monotonic() + ENDS_WITHIN
    while Path(f"/proc/{pid}").exists() and "(zombie)" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture
def machines_here(monkeypatch):
    """Tasks that run in this process when they are asked for, as Ray's do on its machines."""

    class Task:
        def __init__(self, function):
            self.function = function

        def options(self, **_):
            return self

        def remote(self, *arguments):
            return self.function(*map(value_of, arguments))

    names = itertools.count()  # an address would come again when its object is gone

    class Put:
        def __init__(self, value):
            self.value, self.name = value, f"put {next(names)}"

        def hex(self):
            return self.name

    def value_of(reference):
        return reference.value if isinstance(reference, Put) else reference

    cells = importlib.import_module("distributed.cells")
    monkeypatch.setattr(cells.ray, "remote", Task)
    monkeypatch.setattr(cells.ray, "put", Put)
    monkeypatch.setattr(cells.ray, "get", value_of)
    monkeypatch.setattr(cells.ray, "cluster_resources", lambda: {"CPU": 2})
    monkeypatch.setattr(cells, "in_order", lambda pieces, ahead: pieces)
    monkeypatch.setattr(cells, "machines", lambda: [{"NodeID": "0" * 56}] * 3)
    return cells


@pytest.mark.parametrize("graph", [20, 1 << 14])
def test_cells_on_machines_find_what_one_process_finds_to_the_bit(folder, machines_here, monkeypatch, graph):
    ivf, calibration = (importlib.import_module(f"pipeline.{name}") for name in ("search.ivf", "calibration"))
    monkeypatch.setattr(ivf, "ROWS_A_CELL", 20)
    monkeypatch.setattr(ivf, "MOST_FLAT", graph)
    monkeypatch.setattr(ivf, "QUERIES_AT_ONCE", 700)
    features = read_features(folder / "people.bin", 32)
    asked = "ivf", features.rows, features.usable, 40, calibration.Calibration(0.0, 0.15)
    here, there = (
        knn.make_search(*asked, **ways)
        for ways in ({}, {"by_cells": functools.partial(machines_here.search_cells_in_shards, 4)})
    )
    standing = np.random.default_rng(0).random(int(features.usable.sum())) < 0.9
    assert here.described == there.described
    for asking in (None, standing):
        if asking is not None:
            here, there = here.without(standing), there.without(standing)
        for one, other in zip(here.neighbors(41, asking), there.neighbors(41, asking), strict=True):
            for mine, theirs in zip(one[:2], other[:2], strict=True):
                np.testing.assert_array_equal(mine, theirs)
            apart = np.diff(one[1], axis=1) != 0  # equal rows may come in another order
            alone = np.pad(apart, ((0, 0), (1, 0)), constant_values=True)[:, :-1] & apart
            np.testing.assert_array_equal(one[2][:, :-1][alone], other[2][:, :-1][alone])


def test_proposals_by_cells_are_those_of_one_process(folder, arguments, cluster, tmp_path, monkeypatch):
    options = [*arguments["proposal"], "--search", "ivf"]
    run_here("proposal", *options, "--output", tmp_path / "here")
    ray_options = ["--engine", "ray", "--ray-address", cluster.address]
    run_here("proposal", *options, *ray_options, "--output", tmp_path / "there")
    here, there = (bytes_of(tmp_path / name) for name in ("here", "there"))
    assert [name.split("/", 1)[1] for name in here] == [name.split("/", 1)[1] for name in there]
    assert list(here.values()) == list(there.values())


@pytest.mark.parametrize(
    ("name", "options", "code", "words"),
    [
        ("proposal", ["--ray-address", "127.0.0.1:6379"], 2, "add --engine ray"),
        ("proposal", ["--shards", "2"], 2, "add --engine ray"),
        ("proposal", ["--engine", "ray", "--ray-address", "ray://127.0.0.1:10001"], 2, "head as HOST:6379"),
        ("predict", ["--engine", "ray", "--device", "cuda"], 2, "scores on CPUs"),
        ("extract", ["--engine", "ray", "--ray-address", "127.0.0.1:1"], 4, "no Ray cluster could be joined"),
        ("extract", ["--engine", "ray", "--ray-address", "nonsense"], 4, "no Ray cluster could be joined"),
    ],
)
def test_what_cannot_be_is_one_line(stage, arguments, tmp_path, name, options, code, words):
    ended = stage(name, *arguments[name], "--output", tmp_path / "output", *options)
    assert (ended.code, results(ended.out), without_advice(ended.err).count("\n")) == (code, "", 1)
    assert words in ended.err
    assert not (tmp_path / "output").exists()


def test_without_ray_a_line_says_what_to_install(stage, arguments, tmp_path, monkeypatch):
    monkeypatch.setattr("distributed.engine.find_spec", lambda name: None)
    ended = stage("extract", *arguments["extract"], "--output", tmp_path / "feature.bin", "--engine", "ray")
    assert (ended.code, ended.err.count("\n")) == (4, 1)
    assert "pip install -r" in ended.err and "requirements-ray.txt" in ended.err


def test_a_file_that_another_machine_lacks_is_named(ray, tmp_path):
    from distributed.engine import cause_of
    from distributed.maps import by_path, open_again

    rows = np.memmap(tmp_path / "rows.bin", "<f4", "w+", shape=(7, 3))
    rows[:] = np.arange(21).reshape(7, 3)
    np.testing.assert_array_equal(open_again(by_path(rows)), rows)
    np.testing.assert_array_equal(open_again(by_path(rows[2:4])), rows[2:4])
    parts = by_path(rows)
    (tmp_path / "rows.bin").unlink()
    with pytest.raises(EnvironmentFault, match=r"rows\.bin: cannot be read on") as raised:
        open_again(parts)
    failed = ray.exceptions.RayTaskError("search_shard", "Traceback\n...", raised.value)
    assert cause_of(failed.as_instanceof_cause()) is raised.value
    fault = cause_of(ray.exceptions.RaySystemError(raised.value))
    assert isinstance(fault, EnvironmentFault) and str(raised.value) in str(fault)


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 9))
def test_shards_hold_every_usable_row_once_and_begin_where_the_search_allows(ray, some, shards):
    from distributed import search

    usable = np.array([*some, True])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "DATABASE_ROWS", 4)
        spans = search.shard_spans(usable, shards)
    starts = [int(usable[:start].sum()) for start, _ in spans]
    assert 1 <= len(spans) <= shards and all(start % 4 == 0 for start in starts)
    assert [end for _, end in spans[:-1]] == [start for start, _ in spans[1:]]
    assert (usable[: spans[0][0]].sum(), spans[-1][1]) == (0, len(usable))


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_joined_forests_link_what_all_edges_link_at_every_threshold(ray, seed, parts):
    from distributed.merge import join, spanning_forest

    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 40, (2, 150)).astype(np.int32)
    edges = strongest_edges(a, b, rng.integers(0, 6, 150).astype(np.float32), 40)
    owner = rng.integers(0, parts, len(edges))
    forest = functools.reduce(join, (spanning_forest(edges.take(owner == part)) for part in range(parts)))
    thresholds = np.arange(6, -1, -1)
    assert len(forest) < 40
    for expected, found in zip(
        single_linkage(edges, 40, thresholds), single_linkage(forest, 40, thresholds), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_shards_find_the_cosines_of_one_search_to_the_bit(ray):
    from distributed.search import merge_found

    people = make_people(people=60, images=40, dim=48)
    rows = people.rows[people.labels >= 0]
    rows[np.random.default_rng(0).permutation(len(rows))[:200]] = rows[7]  # more than k alike
    unit = unit_rows(rows, np.ones(len(rows), bool))
    cosines, found = knn.nearest_rows(unit, unit, 81)
    bounds = [0, 1024, 2048, len(unit)]
    parts = [
        (part_cosines, part_found + start)
        for start, end in zip(bounds, bounds[1:], strict=False)
        for part_cosines, part_found in [knn.nearest_rows(unit, unit[start:end], 81)]
    ]
    merged = merge_found(81, *parts)
    np.testing.assert_array_equal(merged[0], cosines)
    np.testing.assert_array_equal(merged[1], found)
