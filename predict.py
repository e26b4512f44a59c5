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
from common.progress import say
from model.device import choose_device
from model.gcn import GCND, GCNS, load_networks, predictor
from pipeline.calibrate import Calibration
from pipeline.files import only_run
from pipeline.formats import (
    Features,
    Round,
    SuperVertex,
    canonical_groups,
    groups_from_labels,
    read_features,
    read_super_vertex,
    write_cluster_json,
    write_clusters,
)
from pipeline.graph import graph_of_usable_rows, unit_rows
from pipeline.measures import NODE_MEASURES, PROPOSAL_MEASURES, Graph, measured_graph
from pipeline.membership import MEMBER_MEASURES
from pipeline.merge import usable_rows_of_rounds
from pipeline.people import find_people, score_groups

WEIGHTS = Path(__file__).resolve().parent / "weights"
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
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of trained graph networks")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    return parser


def main(args: argparse.Namespace) -> None:
    """Find the people, score their clusters, write."""
    started = time.monotonic()
    features = read_features(args.features, args.dim)
    super_vertex = read_super_vertex(args.proposals, features)
    device = choose_device(args.device)
    gcn_d = load_networks(args.weights, GCND, NODE_MEASURES, PROPOSAL_MEASURES, device)
    gcn_s = load_networks(args.weights, GCNS, MEMBER_MEASURES, PROPOSAL_MEASURES, device)
    with only_run(args.output.resolve().parent):
        labels = np.full(len(features.rows), -1, np.int64)
        predicted_iou = np.ones(len(features.rows))
        if features.usable.sum() > 1:
            graph, rounds = usable_graph(features, super_vertex)
            people = find_people(graph, rounds, predictor(gcn_d), predictor(gcn_s))
            clusters = groups_from_labels(people)
            scores = score_groups(graph, [clusters], predictor(gcn_d))
            labels[features.usable], predicted_iou[features.usable] = people, scores[people]
        else:
            labels[features.usable] = 0
        groups = canonical_groups(groups_from_labels(labels))
        first = groups.members[groups.offsets[:-1]]
        write_cluster_json(args.output.with_suffix(".json"), features, predicted_iou[first])
        write_clusters(args.output, groups)
    alone = int((groups.sizes == 1).sum())
    say(
        f"{args.output}: {len(groups) - alone} people in {len(groups.members) - alone} faces, "
        f"{alone} faces alone, in {time.monotonic() - started:.1f} s; next: sh run_report.sh"
    )


def usable_graph(features: Features, super_vertex: SuperVertex) -> tuple[Graph, list[Round]]:
    """The affinity graph of the rows that could be read, measured, and their proposals."""
    usable = features.usable
    neighbors, cosines = graph_of_usable_rows(super_vertex.neighbors, super_vertex.similarities, usable)
    calibration = Calibration(**super_vertex.manifest["calibration"])
    graph = measured_graph(unit_rows(features.rows, usable), neighbors, cosines, calibration)
    return graph, usable_rows_of_rounds(super_vertex.rounds, usable)


if __name__ == "__main__":
    sys.exit(cli.run(main, get_parser()))
