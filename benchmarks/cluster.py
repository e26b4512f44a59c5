"""What a Ray cluster costs and gains: nodes of one thread on this machine, beside one process of one.

For each number of nodes it proposes and predicts on synthetic features, checks that the bytes are
those of `--engine local`, and prints the seconds of the steps and the bytes that went through the
loopback device meanwhile (what is read from the feature file by its path is not among them).

    python benchmarks/cluster.py --count 200000 --nodes 1 2 4
    python benchmarks/cluster.py --count 5000 --nodes 1
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import cli
from common.errors import FaultError

from benchmarks import synthetic

EXAMPLES = """  python benchmarks/cluster.py --count 200000 --nodes 1 2 4
  python benchmarks/cluster.py --count 5000 --nodes 1"""
ROOT = Path(__file__).resolve().parents[1]
STAGES = {"proposal": ("search", "merge"), "predict": ("score proposals", "revise members")}
OBJECT_STORE = 1 << 30


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this benchmark."""
    parser = cli.make_parser("cluster.py", "Time the stages on Ray beside one process.", EXAMPLES)
    parser.add_argument("--count", type=cli.positive_int, default=200_000, help="number of rows")
    parser.add_argument("--dim", type=cli.positive_int, default=256, help="length of a row")
    parser.add_argument(
        "--nodes", type=cli.positive_int, nargs="+", default=[1, 2, 4], help="numbers of nodes of one thread"
    )
    parser.add_argument(
        "--stage", choices=["all", *STAGES], default="all", help="time one stage, the other runs untimed once"
    )
    return parser


def main(args: argparse.Namespace) -> None:
    """Draw features, time each engine, print a row for each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        synthetic.write_features(folder / "feature.bin", args.count, args.dim, seed=0)
        stages = list(STAGES) if args.stage == "all" else [args.stage]
        steps = [step for stage in stages for step in STAGES[stage]]
        print(f"| {args.count} x {args.dim} | " + " | ".join([*stages, *steps]) + " | MB moved |")
        print("|---|" + "---|" * (len(stages) + len(steps) + 1), flush=True)
        if args.stage == "predict":
            run("proposal", folder, "super_vertex")
        print(timed("local, one thread", stages, folder, []), flush=True)
        for nodes in args.nodes:
            print(on_cluster(nodes, stages, folder), flush=True)


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
        env=os.environ | {"OMP_NUM_THREADS": "1"},
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
