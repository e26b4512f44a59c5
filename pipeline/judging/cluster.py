"""From scored proposals to people: choose clusters, then revise their members."""

from collections.abc import Callable, Iterable, Iterator

from common.profile import step
from common.progress import bar
from common.threads import in_threads

import numpy as np

from pipeline.calibration import Calibration
from pipeline.corrections.apply import apply_corrections, foes_of
from pipeline.files.corrections import Corrections
from pipeline.files.features import Features
from pipeline.files.proposals import Round, SuperVertex
from pipeline.groups import Groups, take_groups
from pipeline.judging.flat_cut import select_clusters
from pipeline.judging.measures import (
    NODES_AT_ONCE,
    Graph,
    Measured,
    bounded_chunks,
    measure,
    measured_graph,
    measured_sizes,
    single_faces,
)
from pipeline.judging.membership import attach_faces, revise_members
from pipeline.rows import UnitRows, graph_of_usable_rows, trimmed

Predict = Callable[[Measured], np.ndarray]
Score = Callable[[Graph, Iterable[Groups], Predict], Iterator[np.ndarray]]


def score_here(graph: Graph, chunks: Iterable[Groups], predict_iou: Predict) -> Iterator[np.ndarray]:
    """Predicted IoU of the groups of each chunk, float32, in threads of this process."""
    return in_threads(lambda chunk: predict_iou(measure(graph, chunk)), chunks)


def usable_graph(features: Features, super_vertex: SuperVertex) -> Graph:
    """The affinity graph of the rows that could be read, measured."""
    usable = features.usable
    neighbors, cosines = graph_of_usable_rows(super_vertex.neighbors, super_vertex.similarities, usable)
    calibration = Calibration(**super_vertex.manifest["calibration"])
    return measured_graph(UnitRows(features.rows, usable), neighbors, cosines, calibration)


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


def correct_people(
    graph: Graph, people: np.ndarray, corrections: Corrections, predict_member: Predict
) -> np.ndarray:
    """People in whom every correction holds, int64 (N,), numbered from 0; arguments as `find_people`.

    A face that leaves alone goes to the person that the network finds it to belong to, if to any. Images
    that show no face are -1.
    """
    corrected = apply_corrections(people, corrections)
    no_face = corrected < 0
    corrected[no_face] = corrected.max(initial=-1) + 1 + np.arange(no_face.sum())  # each alone meanwhile
    spoken_of = no_face.copy()
    for person in corrections.people:
        spoken_of[person.rows] = True
    alone = (np.bincount(corrected)[corrected] == 1) & (np.bincount(people)[people] > 1) & ~spoken_of
    faces = np.flatnonzero(alone)
    foes = foes_of([np.array([face]) for face in faces.tolist()], corrections.apart)
    foes_of_face = dict(zip(faces.tolist(), foes, strict=True))

    def may_join(labels: np.ndarray, face: int, cluster: int) -> bool:
        return cluster not in labels[foes_of_face[face]]

    found = attach_faces(graph, corrected, faces, may_join, predict_member)
    found[no_face] = -1
    found[~no_face] = np.unique(found[~no_face], return_inverse=True)[1]
    return found


def choose_clusters(
    graph: Graph, rounds: list[Round], predict_iou: Predict, score: Score = score_here
) -> np.ndarray:
    """Choose among the proposals; int64 (N,), numbered from 0. `score` says where they are scored."""
    scores, single_scores = score_rounds(graph, rounds, predict_iou, score)
    with step("select"):
        return select_clusters(rounds, scores, single_scores)


def score_rounds(
    graph: Graph, rounds: list[Round], predict_iou: Predict, score: Score = score_here
) -> tuple[np.ndarray, np.ndarray]:
    """Predicted IoU of the proposals of all rounds, (P,), and of each face alone, (N,); float32."""
    with step("score proposals"):
        scores = score_groups(graph, [round_.proposals for round_ in rounds], predict_iou, score)
    with step("score single faces"):
        return scores, score_groups(graph, [single_faces(len(graph.unit))], predict_iou, score)


def score_groups(
    graph: Graph, levels: list[Groups], predict_iou: Predict, score: Score = score_here
) -> np.ndarray:
    """Predicted IoU of the groups of all levels, float32; the groups of one level do not overlap."""
    scores = [np.zeros(0, np.float32)]
    chunks = (
        take_groups(groups, chunk)
        for groups in levels
        for chunk in bounded_chunks(measured_sizes(groups), NODES_AT_ONCE)
    )
    with bar(sum(len(groups) for groups in levels), "scoring", "proposals") as progress:
        for part in trimmed(score(graph, chunks, predict_iou)):
            scores.append(part)
            progress.update(len(part))
    graph.release()  # not after each chunk: its faces lie everywhere, and so would be read anew each time
    return np.concatenate(scores)
