"""From scored proposals to people: choose clusters, then revise their members."""

from collections.abc import Callable

from common.profile import step
from common.progress import bar
from common.threads import in_threads

import numpy as np

from pipeline.formats import Groups, Round, take_groups
from pipeline.measures import (
    NODES_AT_ONCE,
    Graph,
    Measured,
    bounded_chunks,
    measure,
    measured_sizes,
    single_faces,
)
from pipeline.membership import revise_members
from pipeline.select import select_clusters

Predict = Callable[[Measured], np.ndarray]


def find_people(
    graph: Graph, rounds: list[Round], predict_iou: Predict, predict_member: Predict
) -> np.ndarray:
    """The person of each face of the graph, int64 (N,), numbered from 0.

    `predict_iou` maps measures to each proposal's IoU, `predict_member` to each node's probability
    to belong.
    """
    clusters = choose_clusters(graph, rounds, predict_iou)
    with step("revise members"):
        return revise_members(graph, clusters, predict_member)


def choose_clusters(graph: Graph, rounds: list[Round], predict_iou: Predict) -> np.ndarray:
    """Choose among the proposals; int64 (N,), numbered from 0."""
    scores, single_scores = score_rounds(graph, rounds, predict_iou)
    with step("select"):
        return select_clusters(rounds, scores, single_scores)


def score_rounds(graph: Graph, rounds: list[Round], predict_iou: Predict) -> tuple[np.ndarray, np.ndarray]:
    """Predicted IoU of the proposals of all rounds, (P,), and of each face alone, (N,); float32."""
    with step("score proposals"):
        scores = score_groups(graph, [round_.proposals for round_ in rounds], predict_iou)
    with step("score single faces"):
        return scores, score_groups(graph, [single_faces(len(graph.unit))], predict_iou)


def score_groups(graph: Graph, levels: list[Groups], predict_iou: Predict) -> np.ndarray:
    """Predicted IoU of the groups of all levels, float32; the groups of one level do not overlap."""
    scores = [np.zeros(0, np.float32)]
    chunks = (
        take_groups(groups, chunk)
        for groups in levels
        for chunk in bounded_chunks(measured_sizes(groups), NODES_AT_ONCE)
    )
    with bar(sum(len(groups) for groups in levels), "scoring", "proposals") as progress:
        for part in in_threads(lambda groups: predict_iou(measure(graph, groups)), chunks):
            scores.append(part)
            graph.release()
            progress.update(len(part))
    return np.concatenate(scores)
