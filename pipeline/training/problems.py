"""Problems to train on and to score on: labelled features with their proposals, and examples of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError
from common.progress import track
from common.threads import in_threads

import numpy as np

from pipeline.calibration import Calibration, calibrate_to_impostors
from pipeline.defaults import NEIGHBORS
from pipeline.files.features import read_features
from pipeline.files.labels import UNKNOWN, read_labels
from pipeline.files.proposals import Round
from pipeline.groups import Groups, single_faces, take_groups
from pipeline.judging.cluster import Predict, find_people
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
from pipeline.proposals.copies import collapse_copies
from pipeline.proposals.merging import propose
from pipeline.rows import unit_rows
from pipeline.search.knn import nearest_neighbors
from pipeline.training.resampling import draw_album, draw_set

MIN_PEOPLE = 8
ALBUMS_A_DRAW = 5  # small sets for each large one
# A proposal's weight is its size to this power: the higher, the less the many small people of an album count.
SIZE_WEIGHT = 0.25
NEIGHBORHOODS = (80, 80, 50, 30)  # k of the drawn sets, the default most often


@dataclass(frozen=True)
class LabelledSet:
    """Features of one space with their people: rows float32 (N, D), labels int64 (N,)."""

    path: Path
    rows: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Problem:
    """A labelled set with its affinity graph and proposals.

    `labels` int64 (N,) are the people of the graph's faces. For all M faces, copies included, `faces`
    int64 (M,) are the people, and `stands` int64 (M,) is the face of the graph that represents each.
    """

    graph: Graph
    rounds: list[Round]
    labels: np.ndarray
    faces: np.ndarray
    stands: np.ndarray


def read_set(features_path: Path, labels_path: Path, dim: int | None, folds: int) -> LabelledSet:
    """Read one feature space without the rows of unreadable images and unknown people.

    Raises `InputError` where fewer people have two images than MIN_PEOPLE, or than two for each fold.
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
    """The fold of each row, int64 (N,): people stay whole, large and small ones are spread evenly."""
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
            for draw in [draw_set] + ALBUMS_A_DRAW * [draw_album]:
                drawn = draw(set_.rows, set_.labels, rng)
                k = int(rng.choice(NEIGHBORHOODS))
                problems.append(pose_problem(drawn.rows, drawn.labels, k, drawn.prior))
    return problems


def pose_problem(
    rows: np.ndarray, labels: np.ndarray, k: int = NEIGHBORS, prior: Calibration | None = None
) -> Problem:
    """The affinity graph and the proposals of labelled rows, as the stages make them."""
    unit = unit_rows(rows, np.ones(len(rows), bool))

    def search(standing: np.ndarray) -> tuple[np.ndarray, np.ndarray, Calibration]:
        return *nearest_neighbors(unit[standing], k), calibrate_to_impostors(unit[standing], prior)

    stands, neighbors, cosines, calibration = collapse_copies(unit, search)
    standing = np.unique(stands)
    unit = unit[standing]
    rounds = propose(unit, neighbors, cosines, calibration)
    graph = measured_graph(unit, neighbors, cosines, calibration)
    return Problem(graph, rounds, labels[standing], labels, np.searchsorted(standing, stands))


def people_of(problem: Problem, predict_iou: Predict, predict_member: Predict) -> np.ndarray:
    """The person found for each face of the set, int64 (M,), numbered from 0."""
    return find_people(problem.graph, problem.rounds, predict_iou, predict_member)[problem.stands]


def proposal_examples(
    problem: Problem, seen_as: Callable[[Measured], Measured] = lambda measured: measured
) -> Iterator[dict[str, np.ndarray]]:
    """For GCN-D: every proposal, then each face alone, with the true IoU, weighted by size.

    `seen_as` may change what the network sees of the proposals.
    """

    def example(part: Groups) -> dict[str, np.ndarray]:
        target = best_iou(part, problem.labels)
        measured = seen_as(measure(problem.graph, part))
        return input_arrays(measured) | {"target": target, "weight": part.sizes**SIZE_WEIGHT}

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
    """For GCN-S: the faces in and around the clusters that each hierarchy's optimal flat cut chooses by
    the `scores` of proposals and of single faces; the target is whether a face belongs."""
    single_scores = scores[-len(problem.labels) :]
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
