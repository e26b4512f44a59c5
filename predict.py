"""Choose among the proposals: one cluster of faces a person.

Reads feature.bin, super_vertex/ and the trained graph network in weights/; writes clusters.txt (a
cluster a line, row ids) and clusters.json (each line's predicted IoU, and the name it was given).
Corrections saved from the report hold in the clusters, whatever the proposals.

    python predict.py --features feature.bin --proposals super_vertex --output clusters.txt
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from common import cli
from common.errors import InputError, UsageError
from common.profile import profile_lines, step
from common.progress import say, warn

import numpy as np

from distributed.engine import add_engine_options, check_engine, engine
from model.device import choose_device
from model.gcn import GCND, GCNS, load_networks, predictor
from pipeline.corrections.said import groups_of_people, load_corrections
from pipeline.files.atomic import digest_file
from pipeline.files.clusters import read_cluster_json, write_clusters
from pipeline.files.features import feature_json_path, read_features
from pipeline.files.filelist import known_names
from pipeline.files.locks import only_run
from pipeline.files.proposals import read_super_vertex
from pipeline.groups import canonical_groups, groups_from_labels
from pipeline.judging.cluster import (
    Predict,
    Score,
    choose_clusters,
    correct_people,
    score_groups,
    score_here,
    usable_graph,
)
from pipeline.judging.measures import NODE_MEASURES, PROPOSAL_MEASURES, Graph
from pipeline.judging.membership import MEMBER_MEASURES, revise_members
from pipeline.proposals.merging import usable_rows_of_rounds
from pipeline.rows import trim_heap

WEIGHTS = Path(__file__).resolve().parent / "weights"
EXAMPLES = """  sh run_predict.sh
  sh run_predict.sh --features val_mobilefacenet.bin --dim 128 --output people.txt
  sh run_predict.sh --corrections corrections.json"""


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this stage."""
    parser = cli.make_parser(
        "run_predict.sh", "Choose among the proposals: one cluster of faces a person.", EXAMPLES
    )
    cli.add_feature_options(parser)
    parser.add_argument(
        "--proposals", type=Path, default=Path("super_vertex"), help="folder of run_proposal.sh"
    )
    parser.add_argument(
        "--output", type=cli.output_beside_json, default=Path("clusters.txt"), help="clusters to write"
    )
    parser.add_argument(
        "--corrections", type=Path, metavar="FILE", help="corrections.json saved from the report, to be kept"
    )
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of trained graph networks")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add_engine_options(parser)
    parser.add_argument("--profile", action="store_true", help="print time and peak memory of each step")
    parser.add_argument("--restart", action="store_true", help="make the clusters anew though they are there")
    return parser


def main(args: argparse.Namespace) -> None:
    """Find the people, score their clusters, write."""
    started = time.monotonic()
    cli.refuse_overwriting(
        [args.output, args.output.with_suffix(".json")],
        [args.features, feature_json_path(args.features), *([args.corrections] if args.corrections else [])],
    )
    check_engine(args)
    if args.engine == "ray" and args.device not in ("auto", "cpu"):
        raise UsageError(f"--device {args.device}: --engine ray scores on CPUs: leave one of them out")
    device = choose_device("cpu" if args.engine == "ray" else args.device)
    with step("check inputs"):
        features = read_features(args.features, args.dim)
        super_vertex = read_super_vertex(args.proposals, features)
        gcn_d = load_networks(args.weights, GCND, NODE_MEASURES, PROPOSAL_MEASURES, device)
        gcn_s = load_networks(args.weights, GCNS, MEMBER_MEASURES, PROPOSAL_MEASURES, device)
        corrections = load_corrections(args.corrections, features, known_names(features.meta))
        made_from = {
            "features_sha256": super_vertex.manifest["features_sha256"],
            "proposals_sha256": digest_file(args.proposals / "manifest.json"),
            "gcn_d_sha256": digest_file(args.weights / GCND.file_name),
            "gcn_s_sha256": digest_file(args.weights / GCNS.file_name),
            "corrections_sha256": digest_file(args.corrections) if args.corrections else None,
        }
    next_command = "sh run_report.sh" + (f" --corrections {args.corrections}" if args.corrections else "")
    with only_run(args.output.resolve().parent):
        if not args.restart and is_done(args.output, made_from):
            say(f"{args.output}: is done already; --restart makes it anew; next: {next_command}")
            return
        if not args.corrections and found_in(args.output).get("corrections_sha256"):
            warn(
                f"{args.output}: leaving out the corrections it was made with: --corrections FILE keeps them"
            )
        labels = np.full(len(features.rows), -1, np.int64)
        predicted_iou = np.ones(len(features.rows))
        if features.usable.sum() > 1:
            with step("measure graph"):
                graph = usable_graph(features, super_vertex)
                rounds = usable_rows_of_rounds(super_vertex.rounds, features.usable)
                del super_vertex  # the largest sets need its memory
            predict_iou, predict_member = predictor(gcn_d), predictor(gcn_s)
            with engine(args):
                score = way_to_score(args, graph, predict_iou)
                clusters = choose_clusters(graph, rounds, predict_iou, score)
                del rounds  # as `super_vertex` above
                trim_heap()
                people = revise_members(graph, clusters, predict_member)
                with step("correct"):
                    place = np.where(features.usable, np.cumsum(features.usable) - 1, -1)
                    said = corrections.renumbered(place.__getitem__)
                    people = correct_people(graph, people, said, predict_member)
                with step("score clusters"):
                    scores = score_groups(graph, [groups_from_labels(people)], predict_iou, score)
            labels[features.usable], predicted_iou[features.usable] = people, scores[people]
        else:
            labels[features.usable] = 0
        with step("write"):
            groups = canonical_groups(groups_from_labels(labels))
            first = groups.members[groups.offsets[:-1]]
            people_said = groups_of_people(corrections, groups, len(labels))
            kept_in = {"corrections": str(args.corrections.resolve())} if args.corrections else {}
            write_clusters(
                args.output,
                groups,
                made_from | kept_in,
                predicted_iou[first],
                {group: person.name for group, person in people_said if person.name},
                [group for group, person in people_said if person.hidden],
            )
    if args.profile:
        print("\n".join(profile_lines()))
    alone = int((groups.sizes == 1).sum())
    kept = f"{len(corrections)} corrections kept, " if args.corrections else ""
    say(
        f"{args.output}: {len(groups) - alone} people in {len(groups.members) - alone} faces, "
        f"{alone} faces alone, {kept}in {time.monotonic() - started:.1f} s; next: {next_command}"
    )


def found_in(path: Path) -> dict[str, Any]:
    """The JSON beside clusters that are there and whole, else nothing."""
    if not path.is_file():
        return {}
    try:
        return read_cluster_json(path) or {}
    except InputError:
        return {}


def is_done(path: Path, made_from: dict[str, str | None]) -> bool:
    """Whether `path` holds whole clusters made from the same features, proposals, weights, corrections."""
    found = found_in(path)
    return bool(found) and all(found.get(name) == digest for name, digest in made_from.items())


def way_to_score(args: argparse.Namespace, graph: Graph, predict_iou: Predict) -> Score:
    """Score in this process, or on the cluster."""
    if args.engine == "local":
        return score_here
    from distributed.score import score_on_cluster

    return score_on_cluster(graph, predict_iou)


if __name__ == "__main__":
    sys.exit(cli.run(main, get_parser()))
