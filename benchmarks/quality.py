"""Ours at its defaults beside peers that are tuned on the very labels they are scored on.

All see the same features. A peer is run at 26 thresholds (HDBSCAN: at five settings of
`min_samples`; FINCH: at its own partitions), and its best by pairwise F and its best by BCubed F are
taken, each from whichever setting is best for it.

The people of glint8 and lfw/train helped to train the networks in weights/: each of the four networks saw
all but those of its own fold. So a set with either is scored in four parts: each has only the people of one
fold, judged only by that fold's network, and the table shows the mean. The intervals are for ours
minus the best peer: 95 % of 1,000 resamplings of the people.

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
from common.errors import EnvironmentFault, UsageError
from common.progress import track

from datasets import NETWORKS, FaceSet, add_sets, load

from model.weights import find_dlib_weights
from pipeline.calibration import Calibration
from pipeline.defaults import NEIGHBORS
from pipeline.files.atomic import digest_file
from pipeline.files.calibration import known_calibration
from pipeline.judging.cluster import Predict
from pipeline.metrics import evaluate, own_clusters
from pipeline.rows import unit_rows
from pipeline.search.knn import nearest_neighbors
from pipeline.training.problems import divide_people, people_of, pose_problem
from predict import WEIGHTS
from stages.judges import load_judges

SETS = ("lfw/val", "glint8", "lfw/val+glint8")
TRAINED_ON, FOLDS, SEED = "lfw/train+glint8", 4, 1  # of README's command that trains the networks in weights/
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


@dataclass(frozen=True)
class Compared:
    """The results of all methods on the people of `labels`, int64 (N,), ours first."""

    labels: np.ndarray
    results: list[Result]


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this benchmark."""
    parser = cli.make_parser("quality.py", "Ours at its defaults beside tuned peers.", EXAMPLES)
    add_options(parser, SETS)
    return parser


def add_options(parser: argparse.ArgumentParser, sets: tuple[str, ...]) -> None:
    """The options of a benchmark that compares with peers, and the sets that are its default."""
    add_sets(parser, sets)
    parser.add_argument("--peer", action="append", help="a peer to run (default: all); `none` runs only ours")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="networks of `sh run_train.sh`")
    parser.add_argument("--seed", type=cli.at_least(0), default=SEED, help="seed of their training")
    parser.add_argument("--processes", type=cli.at_least(1), default=2, help="processes at work")


def main(args: argparse.Namespace) -> None:
    """Each part of each set in a process, a table for each set."""
    args.peer = chosen_peers(args.peer)
    tables = [(name, network) for name in args.sets for network in args.network or NETWORKS]
    jobs = [
        (unseen_by(fold, load(name, network, args.shared), args.shared, args.seed), fold, args)
        for name, network in tables
        for fold in folds_of(name)
    ]
    with ProcessPoolExecutor(args.processes) as pool:
        compared = track(pool.map(compare, jobs), "sets")
        for name, network in tables:
            parts = [next(compared) for _ in folds_of(name)]
            print(table_of(f"{name}, {network}", parts), flush=True)


def chosen_peers(names: list[str] | None) -> list[str]:
    """The peers to run, checked before any work; all where none is named."""
    if names == ["none"]:
        return []
    try:
        from peers import PEERS
    except ImportError as error:
        raise EnvironmentFault(
            f"{error.name}: is not installed: pip install -r requirements-bench.txt, or give --peer none"
        ) from None
    if unknown := set(names or ()) - set(PEERS):
        raise UsageError(f"--peer {min(unknown)}: is none of: {', '.join(PEERS)}, or none alone")
    return [peer for peer in PEERS if not names or peer in names]


def is_seen(name: str) -> bool:
    """Whether a set has people whom networks in weights/ saw."""
    return not set(name.split("+")).isdisjoint(TRAINED_ON.split("+"))


def folds_of(name: str) -> list[int | None]:
    """The folds whose networks each judge a part of a set; None, for all together, where nobody was seen."""
    return list(range(FOLDS)) if is_seen(name) else [None]


def compare(job: tuple[FaceSet, int | None, argparse.Namespace]) -> Compared:
    """All methods on some faces, ours by the networks of one fold where it is not None."""
    faces, fold, args = job
    faiss.omp_set_num_threads(1)
    torch.set_num_threads(1)
    started = time.monotonic()
    problem = pose_problem(faces.rows, faces.labels, prior=prior_of(faces.network))
    found = people_of(problem, *judges(args.weights, fold))
    results = [Result("ours, defaults", found, found, time.monotonic() - started, "")]
    if args.peer:
        from peers import PEERS, Peerset

        calibration, cosines = problem.graph.calibration, problem.graph.cosines
        every = unit_rows(faces.rows, np.ones(len(faces.rows), bool))
        peerset = Peerset(every, *nearest_neighbors(every, NEIGHBORS))
        grid = np.linspace(calibration.middle, np.quantile(cosines[:, 0], 0.98), THRESHOLDS)
        for peer in args.peer:
            settings = peerset.own_settings(peer)
            settings = grid if settings is None else settings
            results.append(best_of(peer, PEERS[peer], peerset, settings, faces.labels))
    return Compared(faces.labels, results)


def unseen_by(fold: int | None, faces: FaceSet, shared: Path, seed: int = SEED) -> FaceSet:
    """The faces of people that the network of one fold never saw; all faces where `fold` is None."""
    if fold is None:
        return faces
    trained = load(TRAINED_ON, faces.network, shared)
    seen = trained.names[divide_people(trained.labels, FOLDS, seed) != fold]
    kept = ~np.isin(faces.names, seen)
    labels = np.unique(faces.names[kept], return_inverse=True)[1]
    return FaceSet(faces.name, faces.network, faces.rows[kept], labels, faces.names[kept])


def prior_of(network: str) -> Calibration | None:
    """The calibration that comes with a network: only with the default one."""
    return known_calibration(digest_file(find_dlib_weights()), "arcface") if network == "dlib" else None


def judges(weights: Path, fold: int | None = None) -> tuple[Predict, Predict]:
    """Predictions of IoU and of membership by the networks in a folder, or by those of one fold alone."""
    loaded = load_judges(weights, torch.device("cpu"), fold)
    return loaded.predict_iou, loaded.predict_member


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


def table_of(title: str, parts: list[Compared]) -> str:
    """Rows of scores, in percent, the mean over the parts; then ours less the best peer with its interval."""
    faces = sum(len(part.labels) for part in parts)
    of = f"{faces} faces" if len(parts) == 1 else f"{len(parts)} parts of {faces // len(parts)} faces"
    lines = [
        f"\n**{title}, {of}**\n",
        "| | pairwise P | R | F | BCubed P | R | F | NMI | s a run | best at |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for method in range(len(parts[0].results)):
        results = [part.results[method] for part in parts]
        cells = np.mean([scores_of(part, method) for part in parts], axis=0)
        settings = results[0].setting if len(parts) == 1 else ""
        lines.append(
            f"| {results[0].method} | "
            + " | ".join(f"{100 * cell:.2f}" for cell in cells)
            + f" | {np.mean([result.seconds for result in results]):.1f} | {settings} |"
        )
    if len(parts[0].results) > 1:
        lines += ["", difference(parts, "pairwise"), difference(parts, "bcubed")]
    return "\n".join(lines)


def scores_of(part: Compared, method: int) -> list[float]:
    """Precision, recall and F of both measures, each at its best setting, and NMI."""
    result = part.results[method]
    pairwise = evaluate(part.labels, result.by_pairwise).pairwise
    scores = evaluate(part.labels, result.by_bcubed)
    return [value for s in (pairwise, scores.bcubed) for value in (s.precision, s.recall, s.f)] + [scores.nmi]


def difference(parts: list[Compared], measure: str) -> str:
    """Ours less the best peer by one measure, with the bootstrap interval over people."""
    spreads, scores = [], []
    for number, part in enumerate(parts):
        people = int(part.labels.max()) + 1
        rng = np.random.default_rng(number)
        drawn = rng.multinomial(people, np.full(people, 1 / people), RESAMPLINGS).astype(float)
        found = [getattr(result, f"by_{measure}") for result in part.results]
        sums = [sums_by_person(part.labels, labels)[measure] for labels in found]
        scores.append([f_of(of_method.sum(0, keepdims=True))[0] for of_method in sums])
        spreads.append([f_of(drawn @ of_method) for of_method in sums])
    mean, spread = np.mean(scores, axis=0), np.mean(spreads, axis=0)
    best = 1 + int(np.argmax(mean[1:]))
    low, high = np.quantile(100 * (spread[0] - spread[best]), [0.025, 0.975])
    name = {"pairwise": "Pairwise", "bcubed": "BCubed"}[measure]
    return (
        f"{name} F, ours less {parts[0].results[best].method}: {100 * (mean[0] - mean[best]):+.2f} "
        f"({low:+.2f} to {high:+.2f})  "
    )


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
