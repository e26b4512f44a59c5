"""Training by folds, with checkpoints, and the model card of the weights."""

import argparse
import hashlib
import io
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.inputs import is_there, require_file
from common.progress import log

import numpy as np
import torch

from model.gcn import GCND, GCNS, Network, predictor
from model.training import Examples, Schedule, join_examples, predicted, train_network
from pipeline.files.atomic import digest_file, whole_file
from pipeline.judging.cluster import Predict
from pipeline.metrics import Scores, evaluate
from pipeline.training.problems import (
    LabelledSet,
    Problem,
    divide_people,
    draw_problems,
    member_examples,
    people_of,
    pose_problem,
    proposal_examples,
)
from stages.judges import new_network

UNSEEN_DRAWS = 6  # drawn sets of the people that stop a network, besides all of them as they are
CHECKPOINT_MARK = b"face-cluster checkpoint 1 "
CARD_MARK = b"# Weights of the graph networks"


def train_fold(
    args: argparse.Namespace,
    sets: list[LabelledSet],
    fold: int,
    device: torch.device,
    progress: dict[str, Any],
    checkpoint: Path,
) -> list[Scores]:
    """Train the fold's networks unless they are done; their scores on its people, one for each set.

    Training goes on from the state of a stopped run in `progress`, which gets the weights of each network
    when it is done and is written to `checkpoint` after each epoch.
    """
    folds = [divide_people(set_.labels, args.folds, args.seed) for set_ in sets]
    unseen = [
        pose_problem(set_.rows[fold_of_row == fold], set_.labels[fold_of_row == fold])
        for set_, fold_of_row in zip(sets, folds, strict=True)
    ]
    if fold == len(progress["folds"]):
        progress["folds"].append({})
    done = progress["folds"][fold]

    def train(network_class: type[Network], examples: Examples, unseen_examples: Examples) -> None:
        """Train the network of one kind, unless it is done, stopped by the examples of unseen people."""
        if network_class.kind in done:
            return
        torch.manual_seed(args.seed + fold)
        network = new_network(network_class).eval()
        train_network(
            network,
            examples,
            unseen_examples,
            Schedule(args.epochs, args.patience, args.learning_rate),
            args.seed + fold,
            device,
            lambda epoch, loss, unseen_loss: log(
                f"fold {fold} {network_class.__name__} epoch {epoch}: loss {loss:.4f}, "
                f"on unseen people {unseen_loss:.4f}"
            ),
            progress["state"],
            lambda state: save_progress(checkpoint, progress | {"state": state}),
        )
        done[network_class.kind] = {name: value.cpu() for name, value in network.state_dict().items()}
        progress["state"] = None
        save_progress(checkpoint, progress)

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
        train(GCND, examples, unseen_examples)
        judge = with_weights(GCND, done[GCND.kind])
        members = members_of(drawn, predicted(judge, examples), fold)
        unseen_members = members_of(stops_by, predicted(judge, unseen_examples), fold)
        del examples, unseen_examples, drawn, stops_by  # they take the most memory
        train(GCNS, members, unseen_members)
    judges = trained(GCND, done), trained(GCNS, done)
    return [evaluate(problem.faces, people_of(problem, *judges)) for problem in unseen]


def trained(network_class: type[Network], done: dict[str, Any]) -> Predict:
    """The prediction of a fold's network that is done."""
    return predictor([with_weights(network_class, done[network_class.kind])])


def with_weights(network_class: type[Network], weights: dict[str, torch.Tensor]) -> Network:
    """A network on the CPU in evaluation mode with the given weights."""
    network = new_network(network_class)
    network.load_state_dict(weights)
    return network.eval()


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


def run_key(args: argparse.Namespace, sets: list[LabelledSet]) -> str:
    """What must be the same for a stopped run to go on, as a digest."""
    options = (args.folds, args.draws, args.epochs, args.patience, args.learning_rate, args.seed)
    digest = hashlib.sha256(repr(options).encode())
    for set_ in sets:
        digest.update(digest_file(set_.path).encode() + set_.labels.tobytes())
    return digest.hexdigest()


def load_progress(path: Path, key: str) -> dict[str, Any]:
    """The progress of a stopped run with the same key, or of none."""
    if not is_there(path):
        return {"key": key, "folds": [], "state": None}
    require_file(path)
    head, _, content = path.read_bytes().partition(b"\n")
    if head != checkpoint_head(content):
        raise InputError(f"{path}: is no whole checkpoint of training: --restart begins anew")
    progress = torch.load(io.BytesIO(content), weights_only=True)
    if progress["key"] != key:
        raise InputError(f"{path}: is of a run with other data or options: --restart begins anew")
    log(f"{path}: going on from there; --restart begins anew")
    return progress


def save_progress(path: Path, progress: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all."""
    buffer = io.BytesIO()
    torch.save(progress, buffer)
    with whole_file(path) as part:
        content = buffer.getvalue()
        part.write_bytes(checkpoint_head(content) + b"\n" + content)  # torch hides why it cannot write


def checkpoint_head(content: bytes) -> bytes:
    """The first line of a checkpoint: what it is, and the digest of the rest, as torch saved it."""
    return CHECKPOINT_MARK + hashlib.sha256(content).hexdigest().encode()


def model_card(
    command: str, args: argparse.Namespace, sets: list[LabelledSet], scores: list[list[Scores]]
) -> str:
    """What the weights were trained on, and how well each network does on people it never saw."""
    lines = [
        CARD_MARK.decode(),
        "",
        f"`{GCND.file_name}` predicts the IoU of a cluster proposal with a true person, and",
        f"`{GCNS.file_name}` whether a face belongs to a cluster. Both take calibrated measures of the",
        "affinity graph (`pipeline/judging/`), so they serve features of any",
        "network and dimension.",
        "",
        f"- command: `{command}`",
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
