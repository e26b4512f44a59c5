"""Problems to train and to be scored on: labelled features with their proposals, and examples of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError
from common.progress import track

import numpy as np

from pipeline.calibration import calibrate_to_impostors
from pipeline.defaults import NEIGHBORS
from pipeline.files.features import read_features
from pipeline.files.labels import UNKNOWN, read_labels
from pipeline.files.proposals import Round
from pipeline.groups import single_faces, take_groups
from pipeline.judging.cluster import Predict, score_rounds
from pipeline.judging.flat_cut import cluster_index, cuts_of_hierarchies
from pipeline.judging.measures import (
    NODES_AT_ONCE,
    Graph,
    Measured,
    bounded_chunks,
    measure,
    measured_graph,
    measured_sizes,
)
from pipeline.judging.membership import judge_members
from pipeline.metrics import best_iou, majority
from pipeline.proposals.merging import propose
from pipeline.rows import unit_rows
from pipeline.search.knn import nearest_neighbors
from pipeline.training.resampling import draw_set

MIN_PEOPLE = 8
NEIGHBORHOODS = (80, 80, 50, 30)  # k of the sets drawn, the default most often


@dataclass(frozen=True)
class LabelledSet:
    """Features of one space with their people: rows float32 (N, D), labels int64 (N,)."""

    path: Path
    rows: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Problem:
    """A labelled set with its affinity graph and proposals."""

    graph: Graph
    rounds: list[Round]
    labels: np.ndarray


def read_set(features_path: Path, labels_path: Path, dim: int | None, folds: int) -> LabelledSet:
    """Read one feature space; rows that could not be read, or of unknown people, are left out.

    Raises `InputError` where MIN_PEOPLE or two for each fold do not have two images.
    """
    features = read_features(features_path, dim)
    labels = read_labels(labels_path, len(features.rows))
    known = features.usable & (labels != UNKNOWN)
    people = int((np.unique(labels[known], return_counts=True)[1] > 1).sum())
    least = max(MIN_PEOPLE, 2 * folds)
    if people < least:
        raise InputError(
            f"{labels_path}: {people} people have two images or more, too few to train on in {folds} folds: "
            f"give labels of {least} at least"
        )
    return LabelledSet(features_path, np.asarray(features.rows[known], np.float32), labels[known])


def divide_people(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of each row, int64 (N,): whole people, large and small ones spread evenly."""
    _, person, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    order = np.lexsort((np.random.default_rng(seed).random(len(sizes)), -sizes))
    fold_of_person = np.empty(len(sizes), np.int64)
    fold_of_person[order] = np.arange(len(sizes)) % folds
    return fold_of_person[person]


def draw_problems(sets: list[LabelledSet], draws: int, rng: np.random.Generator, fold: int) -> list[Problem]:
    """`draws` resampled problems from each set."""
    problems = []
    for _ in track(range(draws), f"fold {fold}: drawing sets", "draws"):
        for set_ in sets:
            rows, labels = draw_set(set_.rows, set_.labels, rng)
            problems.append(pose_problem(rows, labels, int(rng.choice(NEIGHBORHOODS))))
    return problems


def pose_problem(rows: np.ndarray, labels: np.ndarray, k: int = NEIGHBORS) -> Problem:
    """The affinity graph and the proposals of labelled rows, as the stages make them."""
    unit = unit_rows(rows, np.ones(len(rows), bool))
    neighbors, cosines = nearest_neighbors(unit, k)
    calibration = calibrate_to_impostors(unit)
    rounds = propose(unit, neighbors, cosines, calibration)
    return Problem(measured_graph(unit, neighbors, cosines, calibration), rounds, labels)


def proposal_examples(
    problem: Problem, seen_as: Callable[[Measured], Measured] = lambda measured: measured
) -> Iterator[dict[str, np.ndarray]]:
    """For GCN-D: every proposal and each face alone, with the true IoU, weighted by the root of size.

    `seen_as` may change what the network sees of the proposals.
    """
    for groups in [*(round_.proposals for round_ in problem.rounds), single_faces(len(problem.labels))]:
        for chunk in bounded_chunks(measured_sizes(groups), NODES_AT_ONCE):
            part = take_groups(groups, chunk)
            target = best_iou(part, problem.labels)
            measured = seen_as(measure(problem.graph, part))
            yield input_arrays(measured) | {"target": target, "weight": np.sqrt(part.sizes)}


def member_examples(problem: Problem, predict_iou: Predict) -> Iterator[dict[str, np.ndarray]]:
    """For GCN-S: the faces of and around the clusters that each hierarchy of proposals makes, chosen with
    GCN-D; does the face belong?"""
    scores, single_scores = score_rounds(problem.graph, problem.rounds, predict_iou)
    for solution in cuts_of_hierarchies(problem.rounds, scores, single_scores):
        clusters = cluster_index(solution.chosen)
        person = majority(clusters, problem.labels)
        for part in judge_members(problem.graph, clusters):
            target = problem.labels[part.rows] == person[part.cluster]
            yield input_arrays(part.measured) | {"target": target, "weight": np.ones(len(target))}


def input_arrays(measured: Measured) -> dict[str, np.ndarray]:
    """The networks' inputs by name."""
    names = ("nodes", "proposals", "owner", "edges", "edge_similarity")
    return dict(zip(names, measured.inputs, strict=True))
