"""From scored proposals to people: choose clusters, join some once more, revise their members."""

from collections.abc import Callable

import numpy as np

from common.progress import bar
from pipeline.formats import Groups, Round, take_groups
from pipeline.measures import Graph, Measured, bounded_chunks, measure, single_faces
from pipeline.membership import revise_members
from pipeline.merge import propose_joins
from pipeline.select import cluster_index, select_clusters, select_joins

Predict = Callable[[Measured], np.ndarray]


def find_people(
    graph: Graph, rounds: list[Round], predict_iou: Predict, predict_member: Predict
) -> np.ndarray:
    """The person of each face of the graph, int64 (N,), numbered from 0.

    `predict_iou` maps measures to each proposal's IoU, `predict_member` to each node's probability
    to belong.
    """
    return revise_members(graph, choose_clusters(graph, rounds, predict_iou), predict_member)


def choose_clusters(graph: Graph, rounds: list[Round], predict_iou: Predict) -> np.ndarray:
    """Choose among the proposals, then among joins of the chosen; int64 (N,), numbered from 0."""
    scores = score_groups(graph, [round_.proposals for round_ in rounds], predict_iou)
    single_scores = score_groups(graph, [single_faces(len(graph.unit))], predict_iou)
    solution = select_clusters(rounds, scores, single_scores)
    joins = propose_joins(
        graph.unit, graph.neighbors, graph.similarities, graph.calibration, cluster_index(solution.chosen)
    )
    join_scores = score_groups(graph, [round_.proposals for round_ in joins], predict_iou)
    return select_joins(solution, joins, join_scores)


def score_groups(graph: Graph, levels: list[Groups], predict_iou: Predict) -> np.ndarray:
    """Predicted IoU of the groups of all levels, float32; the groups of one level do not overlap."""
    scores = [np.zeros(0, np.float32)]
    with bar(sum(len(groups.members) for groups in levels), "scoring", "faces") as progress:
        for groups in levels:
            for chunk in bounded_chunks(groups):
                scores.append(predict_iou(measure(graph, take_groups(groups, chunk))))
                progress.update(int(groups.sizes[chunk].sum()))
    return np.concatenate(scores)
