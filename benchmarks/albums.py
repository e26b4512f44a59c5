"""Sets of every shape, with nothing tuned to them: small albums, nobody twice, one main person, copies.

Random sets of people whom the networks that judge them never saw: of `lfw/val`, or of a set or mix with
people who helped to train the networks in weights/, each set then of one fold's people, judged by that
fold's network alone. Peers run at one setting each for all shapes, tuned on all of `lfw/train` for the
mean of both F. Cells are pairwise F and BCubed F in percent, the mean over the random sets; `oracle` is a
perfect choice among our proposals. Where nobody appears twice, the first number is
the share of faces left alone.

    pip install -r requirements-bench.txt
    python benchmarks/albums.py
    python benchmarks/albums.py lfw/val --network dlib --draws 4 --peer none
"""

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from zlib import crc32

import faiss
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import cli
from common.errors import EnvironmentFault, UsageError
from common.progress import track

from datasets import NETWORKS, FaceSet, load, unit
from oracle import oracle
from quality import FOLDS, THRESHOLDS, add_options, is_seen, judges, prior_of, unseen_by

from pipeline.calibration import Calibration, calibrate_to_impostors
from pipeline.defaults import NEIGHBORS
from pipeline.judging.flat_cut import all_proposals
from pipeline.metrics import evaluate, own_clusters
from pipeline.search.knn import nearest_neighbors
from pipeline.training.problems import people_of, pose_problem

SETS = ("lfw/val", "lfw/val+glint8", "glint8")
PEERS = ("average linkage", "Chinese whispers", "HDBSCAN")
TUNED_ON = "lfw/train"
FRAME_DISTANCE = 0.02  # between near-copies, as a share of that of impostor pairs: the median of frames
EXAMPLES = "  python benchmarks/albums.py lfw/val --network dlib --draws 4 --peer none"

# Draws rows of a set, int64 (n,); raises `TooFew` where the set has not enough people.
Shape = Callable[[FaceSet, np.random.Generator], np.ndarray]


class TooFew(Exception):
    """The set has too few people for a shape."""


def pick(faces: FaceSet, rng: np.random.Generator, people: int, least: int, most: int) -> np.ndarray:
    """Up to `most` random faces each of so many random people who have `least`; people of glint8, who have
    hundreds, are few and are in every set of a mix."""
    sizes = np.bincount(faces.labels)
    able = np.flatnonzero(sizes >= least)
    if len(able) < people:
        raise TooFew
    chosen = rng.permutation(able)
    if "+" in faces.name:
        chosen = chosen[np.argsort(sizes[chosen] < 300, kind="stable")]
    return np.concatenate([of_person(faces, rng, person, most) for person in chosen[:people]])


def of_person(faces: FaceSet, rng: np.random.Generator, person: int, most: int) -> np.ndarray:
    """Up to `most` random faces of one person."""
    return rng.permutation(np.flatnonzero(faces.labels == person))[:most]


def up_to(people: int, most: int) -> Shape:
    """So many people, each up to so many times; people seen twice first, as far as there are."""

    def draw(faces: FaceSet, rng: np.random.Generator) -> np.ndarray:
        several = int((np.bincount(faces.labels) > 1).sum())
        if people <= several:
            return pick(faces, rng, people, 2, most)
        return pick(faces, rng, people, 1, most)

    return draw


def large(people: int, each: int) -> Shape:
    """So many people, each so many times."""
    return lambda faces, rng: pick(faces, rng, people, each, each)


def once(people: int) -> Shape:
    """Nobody twice."""
    return lambda faces, rng: pick(faces, rng, people, 1, 1)


def once_and_twice(alone: int, pairs: int) -> Shape:
    """Most people once and some twice."""

    def draw(faces: FaceSet, rng: np.random.Generator) -> np.ndarray:
        twice = pick(faces, rng, pairs, 2, 2)
        others = np.setdiff1d(np.arange(faces.labels.max() + 1), faces.labels[twice])
        if len(others) < alone:
            raise TooFew
        chosen = rng.permutation(others)[:alone]
        return np.concatenate([twice, *(of_person(faces, rng, person, 1) for person in chosen)])

    return draw


def in_front(most: int, people: int, each: int) -> Shape:
    """One person so many times, and some others."""

    def draw(faces: FaceSet, rng: np.random.Generator) -> np.ndarray:
        sizes = np.bincount(faces.labels)
        first = rng.permutation(np.flatnonzero(sizes >= most))[:1]
        others = rng.permutation(np.setdiff1d(np.flatnonzero(sizes >= each), first))[:people]
        if len(first) + len(others) <= people:
            raise TooFew
        behind = (of_person(faces, rng, person, each) for person in others)
        return np.concatenate([of_person(faces, rng, int(first[0]), most), *behind])

    return draw


def alike(people: int, most: int) -> Shape:
    """So many people, each up to so many times: a random one, and those who look most like that one."""

    def draw(faces: FaceSet, rng: np.random.Generator) -> np.ndarray:
        sums = np.zeros((faces.labels.max() + 1, faces.rows.shape[1]))
        np.add.at(sums, faces.labels, unit(faces.rows))
        means = unit(sums)
        near = np.argsort(-means @ means[rng.integers(len(means))], kind="stable")[:people]
        return np.concatenate([of_person(faces, rng, person, most) for person in near])

    return draw


SHAPES: dict[str, Shape] = {
    "1 person, 40": large(1, 40),
    "2 people, up to 20": up_to(2, 20),
    "5, up to 5": up_to(5, 5),
    "12, up to 4": up_to(12, 4),
    "30, up to 3": up_to(30, 3),
    "100, up to 5": up_to(100, 5),
    "5, up to 40": up_to(5, 40),
    "30, up to 20": up_to(30, 20),
    "12, up to 30": up_to(12, 30),
    "300, up to 4": up_to(300, 4),
    "1,000, up to 2": up_to(1000, 2),
    "60 once": once(60),
    "300 once": once(300),
    "997 once": once(997),
    "500 once, 50 twice": once_and_twice(500, 50),
    "200 of one, 3 x 5": in_front(200, 3, 5),
    "60 of one, 10 x 2": in_front(60, 10, 2),
    "300 of one, 40 x 1": in_front(300, 40, 1),
    "12 alike, up to 6": alike(12, 6),
    "40 alike, up to 6": alike(40, 6),
}
# How often each face of 30 x up to 8 is in the set: exact copies, or frames that differ a little.
REPEATS = {
    "30, up to 8": (1, 0.0),
    "each file 5 times": (5, 0.0),
    "up to 20 frames of each": (20, FRAME_DISTANCE),
}
NAMES = (*SHAPES, *REPEATS)


def draw_album(faces: FaceSet, name: str, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The `number`-th random set of a shape: rows float32 (n, D) and people int64 (n,)."""
    rng = np.random.default_rng([crc32(name.encode()) if name in SHAPES else 0, number])
    if name in SHAPES:
        rows = SHAPES[name](faces, rng)
        return faces.rows[rows], faces.labels[rows]
    rows = up_to(30, 8)(faces, rng)
    most, distance = REPEATS[name]
    times = rng.integers(1, most + 1, len(rows)) if distance else np.full(len(rows), most)
    rows = np.repeat(rows, times)
    return with_noise(faces.rows[rows], distance, rng), faces.labels[rows]


def with_noise(rows: np.ndarray, distance: float, rng: np.random.Generator) -> np.ndarray:
    """Rows that differ from the given ones as frames do: by `distance` (one minus the cosine), as a share of
    that of impostor pairs."""
    rows = unit(rows)
    apart = 1 - calibrate_to_impostors(rows).middle
    noise = rng.standard_normal(rows.shape) * np.sqrt(distance * apart / rows.shape[1])
    return (rows + noise).astype(np.float32)


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this benchmark."""
    parser = cli.make_parser("albums.py", "Random sets of every shape, ours at its defaults.", EXAMPLES)
    add_options(parser, SETS)
    parser.add_argument("--shape", choices=NAMES, action="append", help="default: all")
    parser.add_argument(
        "--calibrated", action="store_true", help="as with --calibration, measured on all of lfw/train"
    )
    parser.add_argument("--draws", type=cli.at_least(1), default=20, help="random sets of each shape")
    return parser


def main(args: argparse.Namespace) -> None:
    """Each shape of each set in a process, a table for each set."""
    args.peer = [] if args.peer == ["none"] else args.peer or list(PEERS)
    if unknown := set(args.peer) - set(PEERS):
        raise UsageError(f"--peer {min(unknown)}: is none of: {', '.join(PEERS)}, or none alone")
    tables = [(name, network) for name in args.sets for network in args.network or NETWORKS]
    shapes = args.shape or list(NAMES)
    for table in tables:
        load(*table, args.shared)  # once, before the processes that share it
    settings = {network: tuned(network, args) for network in {network for _, network in tables}}
    jobs = [(*table, shape, settings[table[1]], args) for table in tables for shape in shapes]
    with ProcessPoolExecutor(args.processes) as pool:
        cells = track(pool.map(row_of, jobs), "shapes")
        for name, network in tables:
            print(f"\n**{name}, {network}**\n")
            heads = ["people, faces of each", "faces", "ours, defaults", *args.peer, "oracle"]
            print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
            for _ in shapes:
                print(next(cells), flush=True)


def tuned(network: str, args: argparse.Namespace) -> dict[str, float]:
    """The setting of each peer that is best on all of `lfw/train`."""
    if not args.peer:
        return {}
    try:
        from peers import PEERS as FUNCTIONS
        from peers import Peerset
    except ImportError as error:
        raise EnvironmentFault(
            f"{error.name}: is not installed: pip install -r requirements-bench.txt, or give --peer none"
        ) from None
    faces = load(TUNED_ON, network, args.shared)
    problem = pose_problem(faces.rows, faces.labels)
    graph, settings = problem.graph, {}
    peerset = Peerset(graph.unit, graph.neighbors, graph.cosines)
    grid = np.linspace(graph.calibration.middle, np.quantile(graph.cosines[:, 0], 0.98), THRESHOLDS)
    for peer in args.peer:
        own = peerset.own_settings(peer)
        candidates = grid if own is None else own
        scores = [both_f(problem.labels, FUNCTIONS[peer](peerset, value)).sum() for value in candidates]
        settings[peer] = float(candidates[int(np.argmax(scores))])
    return settings


def row_of(job: tuple[str, str, str, dict[str, float], argparse.Namespace]) -> str:
    """One row of a table: the mean over the random sets of one shape."""
    name, network, shape, settings, args = job
    faiss.omp_set_num_threads(1)
    torch.set_num_threads(1)
    folds = list(range(FOLDS)) if is_seen(name) else [None]
    counts, scores = [], []
    for number in range(args.draws):
        fold = folds[number % len(folds)]
        faces = unseen_people(fold, name, network, args.shared, args.seed)
        try:
            rows, labels = draw_album(faces, shape, number)
        except TooFew:
            continue
        counts.append(len(rows))
        scores.append(scored(rows, labels, fold, network, settings, args))
    if not scores:
        return f"| {shape} | too few people |"
    cells = [f"{100 * f:.1f} / {100 * b:.1f}" for f, b in np.mean(scores, axis=0)]
    return f"| {shape} | {np.mean(counts):.0f} | " + " | ".join(cells) + " |"


@cache
def unseen_people(fold: int | None, name: str, network: str, shared: Path, seed: int) -> FaceSet:
    """`unseen_by`, once."""
    return unseen_by(fold, load(name, network, shared), shared, seed)


@cache
def measured_prior(network: str, shared: Path) -> Calibration:
    """The calibration of a network on `lfw/train`, as a user would measure it once."""
    faces = load(TUNED_ON, network, shared)
    return pose_problem(faces.rows, faces.labels).graph.calibration


def scored(
    rows: np.ndarray,
    labels: np.ndarray,
    fold: int | None,
    network: str,
    settings: dict[str, float],
    args: argparse.Namespace,
) -> list[np.ndarray]:
    """Both F of ours, of each peer, and of a perfect choice."""
    prior = measured_prior(network, args.shared) if args.calibrated else prior_of(network)
    problem = pose_problem(rows, labels, prior=prior)
    found = people_of(problem, *judges(args.weights, fold))
    cells = [both_f(problem.faces, found)]
    if settings:
        from peers import PEERS as FUNCTIONS
        from peers import Peerset

        every = unit(rows).astype(np.float32)
        peerset = Peerset(every, *nearest_neighbors(every, NEIGHBORS))
        cells += [both_f(labels, FUNCTIONS[peer](peerset, value)) for peer, value in settings.items()]
    perfect = oracle(all_proposals(problem.rounds), problem.labels)
    return [*cells, np.array([perfect.pairwise.f, perfect.bcubed.f])]


def both_f(labels: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Pairwise and BCubed F; where nobody appears twice, the first is the share of faces left alone."""
    found = own_clusters(found)
    scores = evaluate(labels, found)
    if len(np.unique(labels)) == len(labels):
        return np.array([(np.bincount(found)[found] == 1).mean(), scores.bcubed.f])
    return np.array([scores.pairwise.f, scores.bcubed.f])


if __name__ == "__main__":
    sys.exit(cli.run(main, get_parser()))
