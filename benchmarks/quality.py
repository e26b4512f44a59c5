"""Ours at its defaults beside peers that are tuned on the very labels they are scored on.

All see the same features. A peer is run at 26 thresholds (FINCH: at its own partitions), and its best
by pairwise F and its best by BCubed F are taken, each from whichever threshold is best for it. Ours
never saw the people of a set: where `weights/` were trained on some of them, networks trained on
lfw/train alone are used. The intervals are of ours less the best peer: 95 % of 1,000 resamplings of
the people.

    pip install -r requirements-bench.txt
    python benchmarks/quality.py
"""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import cli
from common.progress import say, track

from datasets import CACHE, NETWORKS, SPACES, add_shared, load, write_set

import train
from model.gcn import GCND, GCNS, load_networks, predictor
from pipeline.measures import NODE_MEASURES, PROPOSAL_MEASURES
from pipeline.membership import MEMBER_MEASURES
from pipeline.metrics import Scores, evaluate, own_clusters
from pipeline.people import find_people
from predict import WEIGHTS

SETS = ("lfw/val", "glint8", "lfw/val+glint8")
SEEN = "glint8"  # the set whose people the networks in weights/ saw
THRESHOLDS = 26
RESAMPLINGS = 1000
EXAMPLES = """  python benchmarks/quality.py
  python benchmarks/quality.py glint8 --network dlib --peer Infomap
  python benchmarks/quality.py lfw/val --network both --network uncropped"""


@dataclass(frozen=True)
class Result:
    """A method's best labels for each measure, its scores there, its time and its settings."""

    method: str
    by_pairwise: np.ndarray
    by_bcubed: np.ndarray
    seconds: float
    setting: str


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this benchmark."""
    parser = cli.make_parser("quality.py", "Ours at its defaults beside tuned peers.", EXAMPLES)
    parser.add_argument("sets", nargs="*", default=SETS, metavar="SET", help="sets, joined by + to mix")
    parser.add_argument("--network", choices=SPACES, action="append", help="default: dlib and mobilefacenet")
    parser.add_argument("--peer", action="append", help="a peer to run (default: all)")
    parser.add_argument("--processes", type=cli.positive_int, default=2, help="sets at work at once")
    add_shared(parser)
    return parser


def main(args: argparse.Namespace) -> None:
    """Each set in a process, a table for each."""
    for name in dict.fromkeys(part for set_ in args.sets for part in set_.split("+")):
        for network in args.network or NETWORKS:
            load(name, network, args.shared)  # extracts what is not in the cache, before processes ask for it
    if any(SEEN in name.split("+") for name in args.sets):
        train_without_seen(args.shared)
    jobs = [(name, network, args) for name in args.sets for network in args.network or NETWORKS]
    with ProcessPoolExecutor(args.processes) as pool:
        for table in track(pool.map(compare, jobs), "sets"):
            print(table, flush=True)


def train_without_seen(shared: Path) -> Path:
    """The folder of networks trained on lfw/train alone, made once."""
    output = CACHE / "trained_on_lfw"
    if not (output / "README.md").exists():
        sets = []
        for network in NETWORKS:
            path = CACHE / f"train_{network}.bin"
            sets += ["--set", str(path), str(write_set(load("lfw/train", network, shared), path))]
        say("training on lfw/train alone, once")
        train.main(train.get_parser().parse_args([*sets, "--output", str(output)]))
    return output


def compare(job: tuple[str, str, argparse.Namespace]) -> str:
    """The table of one set in one feature space."""
    from peers import PEERS, Peerset, finch

    name, network, args = job
    faiss.omp_set_num_threads(1)
    torch.set_num_threads(1)
    faces = load(name, network, args.shared)
    weights = CACHE / "trained_on_lfw" if SEEN in name.split("+") else WEIGHTS
    started = time.monotonic()
    problem = train.pose_problem(faces.rows, faces.labels)
    found = people_found(problem, weights)
    results = [Result("ours, defaults", found, found, time.monotonic() - started, "")]
    calibration, cosines = problem.graph.calibration, problem.graph.cosines
    peerset = Peerset(problem.graph.unit, problem.graph.neighbors, cosines)
    grid = np.linspace(calibration.middle, np.quantile(cosines[:, 0], 0.98), THRESHOLDS)
    for peer, cluster in PEERS.items():
        if not args.peer or peer in args.peer:
            results.append(best_of(peer, cluster, peerset, grid, faces.labels))
    if not args.peer or "FINCH" in args.peer:
        partitions = np.arange(peerset.finch.shape[1])
        results.append(best_of("FINCH", finch, peerset, partitions, faces.labels))
    return table_of(f"{name}, {network}, {len(faces.rows)} faces", results, faces.labels)


def people_found(problem: train.Problem, weights: Path) -> np.ndarray:
    """Our labels, from networks in a folder."""
    cpu = torch.device("cpu")
    gcn_d = load_networks(weights, GCND, NODE_MEASURES, PROPOSAL_MEASURES, cpu)
    gcn_s = load_networks(weights, GCNS, MEMBER_MEASURES, PROPOSAL_MEASURES, cpu)
    return find_people(problem.graph, problem.rounds, predictor(gcn_d), predictor(gcn_s))


def best_of(method: str, cluster, peerset, grid: np.ndarray, labels: np.ndarray) -> Result:  # noqa: ANN001
    """A peer at the best of a grid for each measure; its time is the mean of one run."""
    started = time.monotonic()
    tried = [own_clusters(cluster(peerset, setting)) for setting in grid]
    seconds = (time.monotonic() - started) / len(grid)
    scores = [evaluate(labels, found) for found in tried]
    pairwise = int(np.argmax([s.pairwise.f for s in scores]))
    bcubed = int(np.argmax([s.bcubed.f for s in scores]))
    return Result(
        method, tried[pairwise], tried[bcubed], seconds, f"{grid[pairwise]:.3g}, {grid[bcubed]:.3g}"
    )


def table_of(title: str, results: list[Result], labels: np.ndarray) -> str:
    """Rows of scores, in percent, then ours less the best peer with its interval."""
    lines = [
        f"\n**{title}**\n",
        "| | pairwise P | R | F | BCubed P | R | F | NMI | s a run | best at |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        scores = evaluate(labels, result.by_pairwise), evaluate(labels, result.by_bcubed)
        lines.append(
            f"| {result.method} | {cells(scores[0], 'pairwise')} | {cells(scores[1], 'bcubed')} "
            f"| {100 * scores[1].nmi:.2f} | {result.seconds:.1f} | {result.setting} |"
        )
    if len(results) > 1:
        lines += ["", *differences(results, labels)]
    return "\n".join(lines)


def cells(scores: Scores, measure: str) -> str:
    """Precision, recall and F of one measure, as cells of a row."""
    score = getattr(scores, measure)
    return f"{100 * score.precision:.2f} | {100 * score.recall:.2f} | {100 * score.f:.2f}"


def differences(results: list[Result], labels: np.ndarray) -> list[str]:
    """Ours less the best peer by each measure, with the bootstrap interval over people."""
    people = int(labels.max()) + 1
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(people, np.full(people, 1 / people), RESAMPLINGS).astype(float)
    lines = []
    for measure, title in (("pairwise", "Pairwise"), ("bcubed", "BCubed")):
        of_method = [getattr(result, f"by_{measure}") for result in results]
        sums = [sums_by_person(labels, found)[measure] for found in of_method]
        f = [f_of(weights) for weights in (part.sum(0, keepdims=True) for part in sums)]
        best = 1 + int(np.argmax([float(value[0]) for value in f[1:]]))
        spread = 100 * (f_of(drawn @ sums[0]) - f_of(drawn @ sums[best]))
        low, high = np.quantile(spread, [0.025, 0.975])
        lines.append(
            f"{title} F, ours less {results[best].method}: {100 * float(f[0][0] - f[best][0]):+.2f} "
            f"({low:+.2f} to {high:+.2f})  "
        )
    return lines


def sums_by_person(labels: np.ndarray, found: np.ndarray) -> dict[str, np.ndarray]:
    """What each person adds to the sums that F is made of, float (people, 4): the numerator and
    denominator of precision, then of recall. A pair put together wrongly is shared by its faces."""
    people, clusters = int(labels.max()) + 1, int(found.max()) + 1
    pair, inverse, shared = np.unique(labels * clusters + found, return_inverse=True, return_counts=True)
    in_person, in_cluster = np.bincount(labels), np.bincount(found)
    together, person, cluster = shared[inverse], in_person[labels], in_cluster[found]

    def summed(*columns: np.ndarray) -> np.ndarray:
        return np.stack([np.bincount(labels, column, people) for column in columns], 1)

    one = np.ones(len(labels))
    return {
        "pairwise": summed(together - 1, cluster - 1, together - 1, person - 1),
        "bcubed": summed(together / cluster, one, together / person, one),
    }


def f_of(sums: np.ndarray) -> np.ndarray:
    """F from float (R, 4) sums as of `sums_by_person`, (R,)."""
    precision = sums[:, 0] / np.maximum(sums[:, 1], 1e-12)
    recall = sums[:, 2] / np.maximum(sums[:, 3], 1e-12)
    return 2 * precision * recall / np.maximum(precision + recall, 1e-12)


if __name__ == "__main__":
    sys.exit(cli.run(main, get_parser()))
