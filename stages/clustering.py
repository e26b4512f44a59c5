"""From features in memory to people, with the same result as the stages and their files."""

from pathlib import Path

import numpy as np

from model.device import choose_device
from pipeline.calibration import Calibration
from pipeline.files.calibration import read_calibration
from pipeline.groups import canonical_groups, groups_from_labels, labels_from_groups
from pipeline.judging.cluster import find_people
from pipeline.judging.measures import measured_graph
from pipeline.proposals.copies import collapse_copies
from pipeline.proposals.merging import propose
from pipeline.rows import Numbering, unit_rows
from pipeline.search.graph import GraphSearch
from pipeline.search.knn import Search, make_search
from stages.judges import load_judges


def cluster_features(
    features: np.ndarray, k: int, calibration_path: Path | None, weights: Path, device: str
) -> np.ndarray:
    """See `predict.cluster_faces`."""
    features = np.asarray(features)
    if features.ndim != 2 or features.dtype.kind not in "fiu" or not features.shape[1]:
        raise ValueError(f"features of {features.dtype} {features.shape}: give floats, one face per row")
    rows = np.ascontiguousarray(features, np.float32)
    if not np.isfinite(rows).all():
        raise ValueError(f"row {np.flatnonzero(~np.isfinite(rows).all(1))[0]} of the features is not finite")
    judges = load_judges(weights, choose_device(device))
    numbering = Numbering(np.asarray(rows.any(axis=1)))
    if len(numbering) < 2:
        return np.where(numbering.usable, 0, -1)
    unit = unit_rows(rows, numbering.usable)
    prior = read_calibration(calibration_path, None) if calibration_path else None

    def create(count: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        return np.empty((count, width), np.int32), np.empty((count, width), np.float32)

    def search_among(some: Numbering, width: int, calibration: Calibration) -> Search:
        return make_search("auto", rows, some.usable, width, calibration)

    graph_among = GraphSearch(rows, numbering, k, prior, create, search_among)
    stands, neighbors, similarities, calibration = collapse_copies(unit, graph_among)
    standing, place = np.unique(stands, return_inverse=True)
    unit = unit[standing]
    rounds = propose(unit, neighbors, similarities, calibration)
    graph = measured_graph(unit, neighbors, similarities, calibration)
    people = find_people(graph, rounds, judges.predict_iou, judges.predict_member)[place]
    groups = canonical_groups(groups_from_labels(numbering.at_rows(people, -1)))
    return labels_from_groups(groups, len(rows))
