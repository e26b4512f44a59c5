"""From features in memory to people, with the same result as the stages and their files."""

from pathlib import Path

import numpy as np

from model.device import choose_device
from pipeline.calibration import Calibration, calibrate_to_impostors
from pipeline.files.calibration import read_calibration
from pipeline.groups import canonical_groups, groups_from_labels, labels_from_groups
from pipeline.judging.cluster import find_people
from pipeline.judging.measures import measured_graph
from pipeline.proposals.copies import collapse_copies
from pipeline.proposals.merging import propose
from pipeline.rows import Numbering, unit_blocks, unit_rows
from pipeline.search.knn import fill_graph, make_search
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

    def graph_among(standing: np.ndarray) -> tuple[np.ndarray, np.ndarray, Calibration]:
        some, count = numbering.at_rows(standing, False), int(standing.sum())
        width = min(k, count - 1)
        search = make_search("auto", rows, some, width)
        results = search.results(unit_blocks(rows, some, search.queries_at_once), width + 1)
        neighbors, similarities = np.empty((count, width), np.int32), np.empty((count, width), np.float32)
        fill_graph(results, Numbering(np.ones(count, bool)), neighbors, similarities)
        return neighbors, similarities, calibrate_to_impostors(unit[standing], prior)

    stands, neighbors, similarities, calibration = collapse_copies(unit, graph_among)
    standing, place = np.unique(stands, return_inverse=True)
    unit = unit[standing]
    rounds = propose(unit, neighbors, similarities, calibration)
    graph = measured_graph(unit, neighbors, similarities, calibration)
    people = find_people(graph, rounds, judges.predict_iou, judges.predict_member)[place]
    groups = canonical_groups(groups_from_labels(numbering.at_rows(people, -1)))
    return labels_from_groups(groups, len(rows))
