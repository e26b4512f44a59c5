"""Train the graph networks on labelled features.

Reads feature files and labels, one pair a feature space; writes a folder with the weights of GCN-D
and GCN-S (safetensors: one network a fold, whose mean is the prediction) and a model card. Each
network is trained on sets drawn from the people outside its fold and stopped by the people inside.
A run that was stopped goes on from its last epoch.

    python train.py --set mix.bin mix_labels.txt --output trained
"""

import argparse
import hashlib
import io
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from common import cli
from common.errors import InputError
from common.progress import say, track
from common.threads import in_threads

import numpy as np
import torch

from model.device import choose_device
from model.gcn import GCND, GCNS, GCNConfig, Network, predictor, save_networks
from model.training import Examples, Schedule, join_examples, predicted, train_network
from pipeline.calibration import Calibration, calibrate_to_strangers
from pipeline.files.atomic import digest_file, whole_file
from pipeline.files.features import read_features
from pipeline.files.labels import read_labels
from pipeline.files.locks import only_run
from pipeline.files.proposals import Round
from pipeline.groups import Groups, take_groups
from pipeline.judging.cluster import Predict, find_people
from pipeline.judging.flat_cut import cluster_index, solutions_of_families
from pipeline.judging.measures import (
    NODE_MEASURES,
    NODES_AT_ONCE,
    PROPOSAL_MEASURES,
    Graph,
    Measured,
    bounded_chunks,
    measure,
    measured_graph,
    measured_sizes,
    single_faces,
)
from pipeline.judging.membership import MEMBER_MEASURES, judge_members
from pipeline.metrics import Scores, best_iou, evaluate, majority
from pipeline.proposals.copies import collapse_copies
from pipeline.proposals.merging import propose
from pipeline.rows import unit_rows
from pipeline.search.knn import NEIGHBORS, nearest_neighbors
from pipeline.training.resampling import draw_album, draw_set

EXAMPLES = """  sh run_train.sh --set mix.bin mix_labels.txt --output trained
  sh run_train.sh --set a.bin people.txt --set b.bin people.txt --dim 128"""
LEAST_PEOPLE = 8
ALBUMS_A_DRAW = 5  # small sets for each large one
UNSEEN_DRAWS = 6  # of the people by whom a network is stopped, beside all of them as they are
NEIGHBORHOODS = (80, 80, 50, 30)  # k of the sets drawn, the default most often


@dataclass(frozen=True)
class LabelledSet:
    """Features of one space with their people: rows float32 (N, D), labels int64 (N,)."""

    path: Path
    rows: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Problem:
    """A labelled set with its affinity graph and proposals.

    `labels` int64 (N,) are the people of the graph's faces. Of all M faces, copies included, `faces`
    int64 (M,) are the people, and `stands` int64 (M,) the face of the graph that stands for each.
    """

    graph: Graph
    rounds: list[Round]
    labels: np.ndarray
    faces: np.ndarray
    stands: np.ndarray


def get_parser() -> argparse.ArgumentParser:
    """The arguments of training."""
    parser = cli.make_parser("run_train.sh", "Train the graph networks on labelled features.", EXAMPLES)
    parser.add_argument(
        "--set",
        type=Path,
        nargs=2,
        action="append",
        required=True,
        metavar=("FEATURES", "LABELS"),
        help="a feature file and an identity a row; once for each feature space",
    )
    parser.add_argument(
        "--dim", type=cli.positive_int, help="length of a row, where no .json lies beside the features"
    )
    parser.add_argument("--output", type=cli.output_path, default=Path("trained"), help="folder to write")
    parser.add_argument(
        "--folds", type=cli.several_int, default=4, help="parts to divide the people into, a network each"
    )
    parser.add_argument(
        "--draws", type=cli.positive_int, default=80, help="resampled sets from each feature space"
    )
    parser.add_argument("--epochs", type=cli.positive_int, default=8, help="most epochs of a network")
    parser.add_argument(
        "--patience", type=cli.positive_int, default=4, help="epochs without gain before it stops"
    )
    parser.add_argument(
        "--learning-rate", type=cli.positive_float, default=3e-3, help="highest learning rate"
    )
    parser.add_argument("--seed", type=cli.non_negative_int, default=0, help="seed of every random choice")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--restart", action="store_true", help="begin anew instead of going on")
    return parser


def main(args: argparse.Namespace) -> None:
    """Train both networks for each fold, scored on people they never saw; write weights and card."""
    started = time.monotonic()
    device = choose_device(args.device)
    torch.set_num_threads(1)  # batches are too small to divide: threads would wait for one another
    sets = [read_set(features, labels, args.dim, args.folds) for features, labels in args.set]
    with only_run(args.output):
        checkpoint = args.output / "checkpoint.pt"
        if args.restart:
            checkpoint.unlink(missing_ok=True)
        progress = load_progress(checkpoint, run_key(args, sets))
        scores = [train_fold(args, sets, fold, device, progress, checkpoint) for fold in range(args.folds)]
        for network_class in (GCND, GCNS):
            networks = [network_with(network_class, done[network_class.kind]) for done in progress["folds"]]
            with whole_file(args.output / network_class.file_name) as part:
                save_networks(part, networks)
        card = model_card(args, sets, scores)
        with whole_file(args.output / "README.md") as part:
            part.write_text(card, encoding="utf-8")
        checkpoint.unlink(missing_ok=True)
    say(card)
    say(
        f"{args.output}: {args.folds} networks of each kind in {time.monotonic() - started:.0f} s; "
        f"next: sh run_predict.sh --weights {shlex.quote(str(args.output))}"
    )


def read_set(features_path: Path, labels_path: Path, dim: int | None, folds: int) -> LabelledSet:
    """Read one feature space; rows that could not be read are left out.

    Raises `InputError` where LEAST_PEOPLE or two for each fold do not have two images.
    """
    features = read_features(features_path, dim)
    labels = read_labels(labels_path, len(features.rows))
    people = int((np.unique(labels[features.usable], return_counts=True)[1] > 1).sum())
    least = max(LEAST_PEOPLE, 2 * folds)
    if people < least:
        raise InputError(
            f"{labels_path}: {people} people have two images or more, too few to train on in {folds} folds: "
            f"give labels of {least} at least"
        )
    return LabelledSet(features_path, np.asarray(features.rows[features.usable]), labels[features.usable])


def run_key(args: argparse.Namespace, sets: list[LabelledSet]) -> str:
    """What must be the same for a stopped run to go on, as a digest."""
    options = (args.folds, args.draws, args.epochs, args.patience, args.learning_rate, args.seed)
    digest = hashlib.sha256(repr(options).encode())
    for set_ in sets:
        digest.update(digest_file(set_.path).encode() + set_.labels.tobytes())
    return digest.hexdigest()


def train_fold(
    args: argparse.Namespace,
    sets: list[LabelledSet],
    fold: int,
    device: torch.device,
    progress: dict[str, Any],
    checkpoint: Path,
) -> list[Scores]:
    """Train the fold's networks unless they are done; their scores on its people, one for each set."""
    folds = [divide_people(set_.labels, args.folds, args.seed) for set_ in sets]
    unseen = [
        pose_problem(set_.rows[fold_of_row == fold], set_.labels[fold_of_row == fold])
        for set_, fold_of_row in zip(sets, folds, strict=True)
    ]
    if fold == len(progress["folds"]):
        progress["folds"].append({})
    done = progress["folds"][fold]
    if len(done) < 2:
        seen, others = (
            [
                LabelledSet(set_.path, set_.rows[kept], set_.labels[kept])
                for set_, fold_of_row in zip(sets, folds, strict=True)
                for kept in [(fold_of_row == fold) == is_unseen]
            ]
            for is_unseen in (False, True)
        )
        rng = np.random.default_rng([args.seed, fold])
        drawn = draw_problems(seen, args.draws, rng, fold)
        stops_by = unseen + draw_problems(others, UNSEEN_DRAWS, rng, fold)
        examples, unseen_examples = proposals_of(drawn), proposals_of(stops_by)
        train = partial(train_one, args, fold, device, progress, checkpoint)
        if GCND.kind not in done:
            done[GCND.kind] = train(GCND, examples, unseen_examples)
        network = network_with(GCND, done[GCND.kind])
        members = members_of(drawn, predicted(network, examples), fold)
        unseen_members = members_of(stops_by, predicted(network, unseen_examples), fold)
        del examples, unseen_examples, drawn  # they take the most memory
        done[GCNS.kind] = train(GCNS, members, unseen_members)
    predict_iou, predict_member = fold_predictor(GCND, done), fold_predictor(GCNS, done)
    return [evaluate(problem.faces, people_of(problem, predict_iou, predict_member)) for problem in unseen]


def train_one(
    args: argparse.Namespace,
    fold: int,
    device: torch.device,
    progress: dict[str, Any],
    checkpoint: Path,
    network_class: type[Network],
    examples: Examples,
    unseen: Examples,
) -> dict[str, torch.Tensor]:
    """The weights of one network of the fold, trained on `examples`, stopped by those of unseen people."""
    torch.manual_seed(args.seed + fold)
    network = network_with(network_class, None)
    train_network(
        network,
        examples,
        unseen,
        Schedule(args.epochs, args.patience, args.learning_rate),
        args.seed + fold,
        device,
        lambda epoch, loss, unseen_loss: say(
            f"fold {fold} {network_class.__name__} epoch {epoch}: loss {loss:.4f}, "
            f"on unseen people {unseen_loss:.4f}"
        ),
        progress["state"],
        lambda state: save_progress(checkpoint, progress | {"state": state}),
    )
    progress["state"] = None
    weights = {name: value.cpu() for name, value in network.state_dict().items()}
    progress["folds"][fold][network_class.kind] = weights
    save_progress(checkpoint, progress)
    return weights


def proposals_of(problems: list[Problem]) -> Examples:
    """The examples for GCN-D of all problems, in order."""
    return join_examples([part for problem in problems for part in proposal_examples(problem)])


def members_of(problems: list[Problem], scores: np.ndarray, fold: int) -> Examples:
    """The examples for GCN-S of all problems, in order, from GCN-D's scores of `proposals_of` them.

    Raises `InputError` where there are none: no cluster has members.
    """
    counts = [sum(len(r.proposals) for r in problem.rounds) + len(problem.labels) for problem in problems]
    of_problem = np.split(scores, np.cumsum(counts)[:-1])
    parts = [part for both in zip(problems, of_problem, strict=True) for part in member_examples(*both)]
    if not parts:
        raise InputError(
            f"fold {fold}: GCN-D makes no cluster of its faces, so there are no members to learn from: "
            "give labels of more faces, or --restart with more --draws and --epochs"
        )
    return join_examples(parts)


def draw_problems(sets: list[LabelledSet], draws: int, rng: np.random.Generator, fold: int) -> list[Problem]:
    """`draws` resampled problems from each set."""
    problems = []
    for _ in track(range(draws), f"fold {fold}: drawing sets", "draws"):
        for set_ in sets:
            for draw in [draw_set] + ALBUMS_A_DRAW * [draw_album]:
                drawn = draw(set_.rows, set_.labels, rng)
                k = int(rng.choice(NEIGHBORHOODS))
                problems.append(pose_problem(drawn.rows, drawn.labels, k, drawn.prior))
    return problems


def divide_people(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of each row, int64 (N,): whole people, large and small ones spread evenly."""
    _, person, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    order = np.lexsort((np.random.default_rng(seed).random(len(sizes)), -sizes))
    fold_of_person = np.empty(len(sizes), np.int64)
    fold_of_person[order] = np.arange(len(sizes)) % folds
    return fold_of_person[person]


def pose_problem(
    rows: np.ndarray, labels: np.ndarray, k: int = NEIGHBORS, prior: Calibration | None = None
) -> Problem:
    """The affinity graph and the proposals of labelled rows, as the stages make them."""
    unit = unit_rows(rows, np.ones(len(rows), bool))

    def search(standing: np.ndarray) -> tuple[np.ndarray, np.ndarray, Calibration]:
        return *nearest_neighbors(unit[standing], k), calibrate_to_strangers(unit[standing], prior)

    stands, neighbors, cosines, calibration = collapse_copies(unit, search)
    standing = np.unique(stands)
    unit = unit[standing]
    rounds = propose(unit, neighbors, cosines, calibration)
    graph = measured_graph(unit, neighbors, cosines, calibration)
    return Problem(graph, rounds, labels[standing], labels, np.searchsorted(standing, stands))


def people_of(problem: Problem, predict_iou: Predict, predict_member: Predict) -> np.ndarray:
    """The person found of each face of the set, int64 (M,), numbered from 0."""
    return find_people(problem.graph, problem.rounds, predict_iou, predict_member)[problem.stands]


def proposal_examples(
    problem: Problem, seen_as: Callable[[Measured], Measured] = lambda measured: measured
) -> Iterator[dict[str, np.ndarray]]:
    """For GCN-D: every proposal, then each face alone, with the true IoU, weighted by the root of size.

    `seen_as` may change what the network sees of the proposals.
    """

    def example(part: Groups) -> dict[str, np.ndarray]:
        target = best_iou(part, problem.labels)
        measured = seen_as(measure(problem.graph, part))
        return input_arrays(measured) | {"target": target, "weight": np.sqrt(part.sizes)}

    levels = [*(round_.proposals for round_ in problem.rounds), single_faces(len(problem.labels))]
    yield from in_threads(
        example,
        (
            take_groups(groups, chunk)
            for groups in levels
            for chunk in bounded_chunks(measured_sizes(groups), NODES_AT_ONCE)
        ),
    )


def member_examples(problem: Problem, scores: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    """For GCN-S: the faces of and around the clusters that each family of proposals makes, chosen by
    the scores of proposals and faces alone; does the face belong?"""
    single_scores = scores[-len(problem.labels) :]
    for solution in solutions_of_families(problem.rounds, scores, single_scores):
        clusters = cluster_index(solution.chosen)
        person = majority(clusters, problem.labels)
        for part in judge_members(problem.graph, clusters):
            target = problem.labels[part.rows] == person[part.cluster]
            yield input_arrays(part.measured) | {"target": target, "weight": np.ones(len(target))}


def input_arrays(measured: Measured) -> dict[str, np.ndarray]:
    """The networks' inputs by name."""
    names = ("nodes", "proposals", "owner", "edges", "edge_similarity")
    return dict(zip(names, measured.inputs, strict=True))


def network_with(network_class: type[Network], weights: dict[str, torch.Tensor] | None) -> Network:
    """A network on the CPU in evaluation mode, with the given weights or new ones."""
    node_measures = MEMBER_MEASURES if network_class.per_node else NODE_MEASURES
    network = network_class(GCNConfig(node_measures, PROPOSAL_MEASURES))
    if weights is not None:
        network.load_state_dict(weights)
    return network.eval()


def fold_predictor(network_class: type[Network], done: dict[str, Any]) -> Predict:
    """The prediction of one fold's network."""
    return predictor([network_with(network_class, done[network_class.kind])])


def load_progress(path: Path, key: str) -> dict[str, Any]:
    """What an earlier, stopped run of the same key had done, or nothing."""
    if not path.exists():
        return {"key": key, "folds": [], "state": None}
    try:
        progress = torch.load(path, weights_only=True)
    except Exception:  # torch.load raises many kinds for a damaged file
        raise InputError(f"{path}: is no whole checkpoint of training: --restart begins anew") from None
    if not isinstance(progress, dict) or progress.get("key") != key:
        raise InputError(f"{path}: is of a run with other data or options: --restart begins anew")
    say(f"{path}: going on from there; --restart begins anew")
    return progress


def save_progress(path: Path, progress: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all."""
    content = io.BytesIO()
    torch.save(progress, content)
    with whole_file(path) as part:
        part.write_bytes(content.getvalue())  # torch does not say why it cannot write


def model_card(args: argparse.Namespace, sets: list[LabelledSet], scores: list[list[Scores]]) -> str:
    """What the weights were trained on, and how well each network does on people it never saw."""
    lines = [
        "# Weights of the graph networks",
        "",
        f"`{GCND.file_name}` predicts the IoU of a cluster proposal with a true person, and",
        f"`{GCNS.file_name}` whether a face belongs to a cluster. Both take calibrated measures of the",
        "affinity graph (`pipeline/judging/`), so they serve features of any",
        "network and dimension.",
        "",
        f"- command: `sh run_train.sh {shlex.join(options_given(args))}`",
        f"- seed: {args.seed}; folds: {args.folds}, by people; draws from each feature space: {args.draws}",
    ]
    for set_ in sets:
        people = len(np.unique(set_.labels))
        lines.append(
            f"- {set_.path.name}: {len(set_.rows)} faces of {people} people, {set_.rows.shape[1]} dimensions"
        )
    lines += [
        "",
        "F on people that the network never saw, mean over folds (each fold a set of its own):",
        "",
        "| set | pairwise F | BCubed F | NMI |",
        "|---|---|---|---|",
    ]
    for set_, of_set in zip(sets, zip(*scores, strict=True), strict=True):
        means = 100 * np.mean([(s.pairwise.f, s.bcubed.f, s.nmi) for s in of_set], axis=0)
        lines.append(f"| {set_.path.name} | {means[0]:.1f} | {means[1]:.1f} | {means[2]:.1f} |")
    return "\n".join(lines) + "\n"


def options_given(args: argparse.Namespace) -> list[str]:
    """The options that differ from the defaults, file names without their folders."""
    words = []
    for features, labels in args.set:
        words += ["--set", features.name, labels.name]
    parser = get_parser()
    for name in ("dim", "folds", "draws", "epochs", "patience", "learning_rate", "seed"):
        if getattr(args, name) != parser.get_default(name):
            words += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
    return words


if __name__ == "__main__":
    hint = "run the same command again: it goes on from the last epoch"
    sys.exit(cli.run(main, get_parser(), resume_hint=hint))
