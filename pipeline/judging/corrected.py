"""People in whom all corrections hold; faces that were taken out find another person."""

import numpy as np

from pipeline.corrections.apply import apply_corrections, foes_of
from pipeline.files.corrections import Corrections
from pipeline.groups import groups_from_labels
from pipeline.judging.cluster import Predict
from pipeline.judging.doubts import chances, judge_pairs, near_pairs
from pipeline.judging.measures import Graph
from pipeline.judging.membership import attach_faces

LIKELY = 0.5  # least chance of being one person at which faces that left somebody join another person


def correct_people(
    graph: Graph, people: np.ndarray, corrections: Corrections, predict_iou: Predict, predict_member: Predict
) -> np.ndarray:
    """People in whom every correction holds, int64 (N,), numbered from 0; -1 for images without a face.

    `people` int64 (N,) are numbered from 0. Faces that leave somebody go to the person that the networks
    find them to be, if to any: to people of three faces or more by GCN-S, to smaller ones by GCN-D's
    judgement of both together. Nothing else moves.
    """
    corrected = apply_corrections(people, corrections)
    no_face = corrected < 0
    corrected[no_face] = corrected.max(initial=-1) + 1 + np.arange(no_face.sum())  # each alone for now
    settled = no_face.copy()  # corrections say where these are
    for person in corrections.people:
        settled[person.rows] = True
    left = (np.bincount(corrected)[corrected] < np.bincount(people)[people]) & ~settled
    spoken_of = np.zeros(len(people), bool)
    for pair in corrections.apart:
        for rows in pair:
            spoken_of[rows] = True
    left &= spoken_of
    faces = np.flatnonzero(left & (np.bincount(corrected)[corrected] == 1))
    foes = dict(
        zip(
            faces.tolist(), foes_of([faces[[at]] for at in range(len(faces))], corrections.apart), strict=True
        )
    )

    def may_join(labels: np.ndarray, face: int, cluster: int) -> bool:
        return cluster not in labels[foes[face]]

    found = attach_faces(graph, corrected, faces, may_join, predict_member)
    found = join_likely(graph, found, left, corrections, predict_iou)
    found[no_face] = -1
    found[~no_face] = np.unique(found[~no_face], return_inverse=True)[1]
    return found


def join_likely(
    graph: Graph, labels: np.ndarray, left: np.ndarray, corrections: Corrections, predict_iou: Predict
) -> np.ndarray:
    """Join clusters of faces that `left`, bool (N,), to the clusters that are likely the same person.

    `labels` int64 (N,) are numbered from 0. The likeliest pairs join first, each cluster once.
    """
    groups = groups_from_labels(labels)
    movable = np.logical_and.reduceat(left[groups.members], groups.offsets[:-1])
    if not movable.any():
        return labels
    pairs = near_pairs(graph, groups)
    pairs = pairs[movable[pairs].any(axis=1)]
    chance = chances(judge_pairs(graph, groups, pairs, predict_iou), together=False)
    members = np.split(groups.members.astype(np.int64), groups.offsets[1:-1])
    labels = labels.copy()
    joined: set[int] = set()
    for place in np.argsort(-chance, kind="stable")[: np.count_nonzero(chance >= LIKELY)]:
        one, other = pairs[place].tolist()
        foes = foes_of([members[one]], corrections.apart)[0]
        if joined.isdisjoint((one, other)) and not np.isin(foes, members[other]).any():
            labels[members[one]] = labels[members[other][0]]
            joined |= {one, other}
    return labels
