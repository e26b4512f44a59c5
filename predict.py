"""Choose among the proposals: one cluster of faces a person.

Reads feature.bin, super_vertex/ and the trained graph network in weights/; writes clusters.txt (a
cluster a line, row ids) and clusters.json (each line's predicted IoU and proposal).

    python predict.py --features feature.bin --proposals super_vertex --output clusters.txt
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from common import cli
from common.progress import bar, say
from model.device import choose_device
from model.gcn import GCN, load_networks, predict_iou
from pipeline.calibrate import Calibration
from pipeline.files import only_run
from pipeline.formats import (
    SuperVertex,
    canonical_groups,
    groups_from_labels,
    read_features,
    read_super_vertex,
    write_cluster_json,
    write_clusters,
)
from pipeline.graph import graph_of_usable_rows, unit_rows
from pipeline.measures import (
    NODE_MEASURES,
    PROPOSAL_MEASURES,
    measured_graph,
    score_proposals,
)
from pipeline.merge import usable_rows_of_rounds
from pipeline.select import cluster_index, select_clusters

WEIGHTS = Path(__file__).resolve().parent / "weights" / "gcn.safetensors"
EXAMPLES = """  sh run_predict.sh
  sh run_predict.sh --features val_mobilefacenet.bin --dim 128 --output people.txt"""


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this stage."""
    parser = cli.make_parser(
        "run_predict.sh", "Choose among the proposals: one cluster of faces a person.", EXAMPLES
    )
    parser.add_argument("--features", type=Path, default=Path("feature.bin"), help="feature file to read")
    parser.add_argument(
        "--dim", type=cli.positive_int, help="length of a row, where no .json lies beside the features"
    )
    parser.add_argument(
        "--proposals", type=Path, default=Path("super_vertex"), help="folder of run_proposal.sh"
    )
    parser.add_argument("--output", type=Path, default=Path("clusters.txt"), help="clusters to write")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="trained graph network")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    return parser


def main(args: argparse.Namespace) -> None:
    """Score every proposal, choose, write."""
    started = time.monotonic()
    features = read_features(args.features, args.dim)
    super_vertex = read_super_vertex(args.proposals, features)
    networks = load_networks(args.weights, NODE_MEASURES, PROPOSAL_MEASURES)
    for network in networks:
        network.to(choose_device(args.device))
    with only_run(args.output.resolve().parent):
        chosen, predicted = choose(
            unit_rows(features.rows, features.usable), features.usable, super_vertex, networks
        )
        labels = np.full(len(features.rows), -1, np.int64)
        labels[features.usable] = cluster_index(chosen)
        groups, order = canonical_groups(groups_from_labels(labels))
        rows = (np.cumsum(features.usable) - 1)[groups.members[groups.offsets[:-1]]]
        write_cluster_json(
            args.output.with_suffix(".json"), features, super_vertex.rounds, chosen[rows], predicted[rows]
        )
        write_clusters(args.output, groups)
    alone = int((groups.sizes == 1).sum())
    say(
        f"{args.output}: {len(groups) - alone} people in {len(groups.members) - alone} faces, "
        f"{alone} faces alone, in {time.monotonic() - started:.1f} s; next: sh run_report.sh"
    )


def choose(
    unit: np.ndarray, usable: np.ndarray, super_vertex: SuperVertex, networks: list[GCN]
) -> tuple[np.ndarray, np.ndarray]:
    """For each usable row the proposal chosen, -1 for a face alone, and its predicted IoU."""
    if len(unit) < 2:
        return np.full(len(unit), -1, np.int64), np.ones(len(unit))
    calibration = Calibration(**super_vertex.manifest["calibration"])
    neighbors, cosines = graph_of_usable_rows(super_vertex.neighbors, super_vertex.similarities, usable)
    graph = measured_graph(unit, neighbors, cosines, calibration)
    rounds = usable_rows_of_rounds(super_vertex.rounds, usable)

    faces = len(unit) + sum(len(round_.proposals.members) for round_ in rounds)
    with bar(faces, "scoring", "faces") as progress:
        scores, single_scores = score_proposals(
            graph, rounds, lambda measured: predict_iou(networks, *measured.inputs), progress.update
        )
    return select_clusters(rounds, scores, single_scores)


if __name__ == "__main__":
    sys.exit(cli.run(main, get_parser()))
