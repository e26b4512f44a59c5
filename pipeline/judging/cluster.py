"""From scored proposals to people: choose clusters, then revise their members."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from common.profile import step
from common.progress import bar
from common.threads import in_threads

import numpy as np

from pipeline.calibration import Calibration
from pipeline.defaults import SELECTIONS
from pipeline.files.features import Features
from pipeline.files.proposals import Round, SuperVertex
from pipeline.groups import Groups, groups_from_labels, single_faces, take_groups
from pipeline.judging.flat_cut import best_flat_cut, ranked_clusters
from pipeline.judging.measures import (
    NODES_AT_ONCE,
    Graph,
    Measured,
    bounded_chunks,
    measure,
    measured_graph,
    measured_sizes,
)
from pipeline.judging.membership import revise_members
from pipeline.rows import Numbering, UnitRows, giving_back, graph_of_usable_rows

Predict = Callable[[Measured], np.ndarray]
Scorer = Callable[[Graph, Iterable[Groups], Predict], Iterator[np.ndarray]]


def score_here(
    graph: Graph, chunks: Iterable[Groups], predict_iou: Predict, at_once: Callable[..., Any] = in_threads
) -> Iterator[np.ndarray]:
    """Predicted IoU of the groups of each chunk, float32, in threads, or by another `at_once`."""
    return at_once(lambda chunk: predict_iou(measure(graph, chunk)), chunks)


def graph_of(features: Features, super_vertex: SuperVertex, numbering: Numbering) -> Graph:
    """The affinity graph, measured, among the rows of `numbering`."""
    neighbors, cosines = graph_of_usable_rows(super_vertex.neighbors, super_vertex.similarities, numbering)
    calibration = Calibration(**super_vertex.manifest["calibration"])
    return measured_graph(UnitRows(features.rows, numbering), neighbors, cosines, calibration)


def find_people(
    graph: Graph,
    rounds: list[Round],
    predict_iou: Predict,
    predict_member: Predict,
) -> np.ndarray:
    """The person of each face of the graph, int64 (N,), numbered from 0.

    `predict_iou` maps measures to each proposal's IoU, `predict_member` to each node's probability
    to belong.
    """
    return revise_members(graph, choose_clusters(graph, rounds, predict_iou), predict_member)


def choose_clusters(
    graph: Graph,
    rounds: list[Round],
    predict_iou: Predict,
    score: Scorer = score_here,
    select: str = SELECTIONS[0],
) -> np.ndarray:
    """Choose among the proposals, in one way of SELECTIONS; int64 (N,), numbered from 0.

    `score` computes the scores, here or on a cluster.
    """
    if len(graph.unit) < 2:
        return np.zeros(len(graph.unit), np.int64)
    scores, single_scores = score_rounds(graph, rounds, predict_iou, score)
    with step("select"):
        choose = {"cut": best_flat_cut, "rank": ranked_clusters}[select]
        return choose(rounds, scores, single_scores)


def score_rounds(
    graph: Graph, rounds: list[Round], predict_iou: Predict, score: Scorer = score_here
) -> tuple[np.ndarray, np.ndarray]:
    """Predicted IoU of the proposals of all rounds, (P,), and of each face alone, (N,); float32."""
    with step("score proposals"):
        scores = score_groups(graph, [round_.proposals for round_ in rounds], predict_iou, score)
    with step("score single faces"):
        return scores, score_groups(graph, [single_faces(len(graph.unit))], predict_iou, score)


def score_clusters(
    graph: Graph, people: np.ndarray, predict_iou: Predict, score: Scorer = score_here
) -> np.ndarray:
    """Predicted IoU of each cluster of `people`, int64 (N,) numbered from 0; float32."""
    if len(people) < 2:
        return np.ones(len(people), np.float32)
    with step("score clusters"):
        return score_groups(graph, [groups_from_labels(people)], predict_iou, score)


def score_groups(
    graph: Graph, levels: list[Groups], predict_iou: Predict, score: Scorer = score_here
) -> np.ndarray:
    """Predicted IoU of the groups of all levels, float32; the groups of one level do not overlap."""
    scores = [np.zeros(0, np.float32)]
    chunks = (
        take_groups(groups, chunk)
        for groups in levels
        for chunk in bounded_chunks(measured_sizes(groups), NODES_AT_ONCE)
    )
    with bar(sum(len(groups) for groups in levels), "scoring", "proposals") as progress:
        for part in giving_back(score(graph, chunks, predict_iou), *graph.files):
            scores.append(part)
            progress.update(len(part))
    return np.concatenate(scores)
