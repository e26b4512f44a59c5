"""What a Ray cluster costs and gains: nodes of one thread on this machine, beside one process of one.

For each number of nodes it proposes and predicts on synthetic features, checks that the bytes are
those of `--engine local`, and prints the seconds of the steps and the bytes that went through the
loopback device meanwhile (what is read from the feature file by its path is not among them).

With --parts it prints the processor time of each part instead, whatever else the machine does: what
the machines of a cluster share, and what stays on the driver.

    python benchmarks/cluster.py --count 200000 --nodes 1 2 4
    python benchmarks/cluster.py --count 20000 --parts
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial, reduce
from pathlib import Path
from typing import Any, TypeVar

os.environ["OMP_NUM_THREADS"] = "1"  # before the libraries read it

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import cli
from common.errors import FaultError

import numpy as np
import torch

from benchmarks import synthetic
from distributed.merge import forest_of_rows, join
from pipeline.calibration import calibrate_to_impostors
from pipeline.defaults import NEIGHBORS
from pipeline.files.features import read_features
from pipeline.judging.cluster import score_rounds
from pipeline.judging.flat_cut import best_flat_cut
from pipeline.judging.measures import measured_graph
from pipeline.judging.membership import revise_members
from pipeline.proposals.edges import Edges
from pipeline.proposals.merging import NEIGHBORHOODS_SHARED, propose
from pipeline.rows import unit_rows
from pipeline.search.knn import fill_graph, nearest_rows
from predict import WEIGHTS
from stages.judges import load_judges

Result = TypeVar("Result")
EXAMPLES = """  python benchmarks/cluster.py --count 200000 --nodes 1 2 4
  python benchmarks/cluster.py --count 20000 --parts"""
ROOT = Path(__file__).resolve().parents[1]
STAGES = {"proposal": ("search", "merge"), "predict": ("score proposals", "revise members")}
OBJECT_STORE = 1 << 30


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this benchmark."""
    parser = cli.make_parser("cluster.py", "Time the stages on Ray beside one process.", EXAMPLES)
    parser.add_argument("--count", type=cli.at_least(1), default=200_000, help="number of rows")
    parser.add_argument("--dim", type=cli.at_least(1), default=256, help="length of a row")
    parser.add_argument(
        "--nodes", type=cli.at_least(1), nargs="+", default=[1, 2, 4], help="numbers of nodes of one thread"
    )
    parser.add_argument(
        "--stage", choices=["all", *STAGES], default="all", help="time one stage, the other runs untimed once"
    )
    parser.add_argument(
        "--parts", action="store_true", help="print the processor time of each part, on one thread"
    )
    return parser


def main(args: argparse.Namespace) -> None:
    """Draw features, time each engine or each part, print a row for each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        synthetic.write_features(folder / "feature.bin", args.count, args.dim, seed=0)
        if args.parts:
            print("\n".join(parts_of_the_work(folder / "feature.bin")))
            return
        stages = list(STAGES) if args.stage == "all" else [args.stage]
        steps = [step for stage in stages for step in STAGES[stage]]
        print(f"| {args.count} x {args.dim} | " + " | ".join([*stages, *steps]) + " | MB moved |")
        print("|---|" + "---|" * (len(stages) + len(steps) + 1), flush=True)
        if args.stage == "predict":
            run("proposal", folder, "super_vertex")
        print(timed("local, one thread", stages, folder, []), flush=True)
        for nodes in args.nodes:
            print(on_cluster(nodes, stages, folder), flush=True)


def parts_of_the_work(path: Path) -> list[str]:
    """Processor time of each part, in microseconds per row, on one thread; and what is sent of it."""
    features = read_features(path)
    count, dim = features.rows.shape
    unit = unit_rows(features.rows, features.usable)
    neighbors, cosines = np.empty((count, NEIGHBORS), np.int32), np.empty((count, NEIGHBORS), np.float32)
    times: dict[str, float] = {}

    def timed_part(name: str, function: Callable[..., Result], *arguments: Any) -> Result:
        started = time.process_time()
        result = function(*arguments)
        times[name] = (time.process_time() - started) / count * 1e6
        return result

    found = timed_part("search", nearest_rows, unit, unit, NEIGHBORS + 1, 1)
    fill_graph([found], features.numbering, neighbors, cosines)
    calibration = calibrate_to_impostors(unit)
    bounds = [count * part // 4 for part in range(5)]
    spans = list(zip(bounds, bounds[1:], strict=False))

    def forests_of_parts(width: int) -> list[Edges]:
        return [forest_of_rows(neighbors, cosines, *span, calibration, width) for span in spans]

    forests = {}
    for width in (0, *NEIGHBORHOODS_SHARED):
        name = f"by {width} shared neighbors" if width else "by similarity"
        parts = timed_part(f"forests {name}", forests_of_parts, width)
        forests[width] = timed_part(f"forests {name} joined", reduce, join, parts)
    graph_parts = (unit, neighbors, cosines, calibration)
    rounds = timed_part("driver: merge", partial(propose, linking=forests.__getitem__), *graph_parts)
    graph = timed_part("driver: measure graph", measured_graph, *graph_parts)
    judges = load_judges(WEIGHTS, torch.device("cpu"))
    scores = timed_part("score", score_rounds, graph, rounds, judges.predict_iou)
    labels = timed_part("driver: select", best_flat_cut, rounds, *scores)
    timed_part("driver: revise members", revise_members, graph, labels, judges.predict_member)
    members = sum(len(round_.proposals.members) for round_ in rounds)
    flops = 2 * count * dim / times["search"] / 1e3
    return [
        f"| {count} x {dim} | microseconds per row |",
        "|---|---|",
        *(f"| {name} | {value:.1f} |" for name, value in times.items()),
        f"search: {flops:.0f} GFLOP per second; scoring: {4 * members / count:.0f} bytes of members per row",
    ]


def on_cluster(nodes: int, stages: list[str], folder: Path) -> str:
    """The row of a cluster of so many nodes, each of one thread."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": OBJECT_STORE}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE)
        options = ["--engine", "ray", "--ray-address", cluster.address]
        return timed(f"ray, nodes: {nodes}", stages, folder, options)
    finally:
        cluster.shutdown()


def timed(title: str, stages: list[str], folder: Path, options: list[str]) -> str:
    """A row of the table; the results of a cluster are compared with those there are."""
    seconds, printed, before = [], "", loopback_bytes()
    for stage in stages:
        output = {"proposal": "super_vertex", "predict": "clusters.txt"}[stage]
        place = f"ray_{output}" if options else output
        started = time.monotonic()
        printed += run(stage, folder, place, *options)
        seconds.append(time.monotonic() - started)
        if (
            options
            and subprocess.run(["diff", "-r", folder / place, folder / output], check=False).returncode
        ):
            raise FaultError(f"{title}: {output} is not that of one process")
    moved = (loopback_bytes() - before) / 1e6
    for stage in stages:
        for step in STAGES[stage]:
            seconds += [float(value) for value in re.findall(rf"^{step} +([\d.]+)", printed, re.MULTILINE)]
    return f"| {title} | " + " | ".join(f"{value:.1f}" for value in seconds) + f" | {moved:.0f} |"


def run(stage: str, folder: Path, output: str, *options: str) -> str:
    """Run a stage anew on one thread and return what it printed."""
    exact = ["--search", "exact"] if stage == "proposal" else []
    command = [sys.executable, ROOT / f"{stage}.py", "--output", output, "--restart", "--profile"]
    done = subprocess.run(
        [*command, *exact, *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise FaultError(done.stderr.strip())
    return done.stdout


def loopback_bytes() -> int:
    """Bytes that the loopback device has carried so far."""
    line = next(line for line in Path("/proc/net/dev").read_text().splitlines() if line.strip()[:3] == "lo:")
    return int(line.split()[1])


if __name__ == "__main__":
    sys.exit(cli.run(main, get_parser()))
