"""From features in memory to people, as the stages find them through their files."""

from pathlib import Path

import numpy as np

from model.device import choose_device
from pipeline.calibration import calibrate_to_impostors
from pipeline.groups import canonical_groups, groups_from_labels, labels_from_groups
from pipeline.judging.cluster import find_people
from pipeline.judging.measures import measured_graph
from pipeline.proposals.merging import propose
from pipeline.rows import Numbering, unit_blocks, unit_rows
from pipeline.search.knn import fill_graph, make_search
from stages.judges import load_judges


def cluster_features(features: np.ndarray, k: int, weights: Path, device: str) -> np.ndarray:
    """See `predict.cluster_faces`."""
    features = np.asarray(features)
    if features.ndim != 2 or features.dtype.kind not in "fiu" or not features.shape[1]:
        raise ValueError(f"features of {features.dtype} {features.shape}: give a float array, a face a row")
    rows = np.ascontiguousarray(features, np.float32)
    if not np.isfinite(rows).all():
        raise ValueError(f"row {np.flatnonzero(~np.isfinite(rows).all(1))[0]} of the features is not finite")
    judges = load_judges(weights, choose_device(device))
    numbering = Numbering(np.asarray(rows.any(axis=1)))
    if len(numbering) < 2:
        return np.where(numbering.usable, 0, -1)
    everyone = Numbering(np.ones(len(numbering), bool))
    k = min(k, len(numbering) - 1)
    search = make_search("auto", rows, numbering.usable, k)
    results = search.results(unit_blocks(rows, numbering.usable, search.queries_at_once), k + 1)
    neighbors = np.empty((len(numbering), k), np.int32)
    similarities = np.empty((len(numbering), k), np.float32)
    fill_graph(results, everyone, neighbors, similarities)
    unit = unit_rows(rows, numbering.usable)
    calibration = calibrate_to_impostors(unit)
    rounds = propose(unit, neighbors, similarities, calibration)
    graph = measured_graph(unit, neighbors, similarities, calibration)
    people = find_people(graph, rounds, judges.predict_iou, judges.predict_member)
    groups = canonical_groups(groups_from_labels(numbering.at_rows(people, -1)))
    return labels_from_groups(groups, len(rows))
