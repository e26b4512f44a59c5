"""Choose among the proposals: one cluster of faces per person.

Reads feature.bin, super_vertex/ and the trained graph networks in weights/; writes clusters.txt (one
cluster per line: row ids) and clusters.json (predicted IoU and name of each). Corrections saved from the
report hold in the clusters, whatever the proposals.

    python predict.py --features feature.bin --proposals super_vertex --output clusters.txt

From Python, `cluster_faces` goes from features to labels in one call.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # which PYTHONSAFEPATH leaves out

from common import cli
from common.errors import UsageError
from common.profile import profile_lines, step
from common.progress import count, elapsed, log, warn

from distributed.engine import add_engine_options, check_engine, engine
from pipeline.defaults import NEIGHBORS, SELECTIONS

if TYPE_CHECKING:
    import numpy as np

WEIGHTS = Path(__file__).resolve().parent / "weights"
EXAMPLES = """  sh run_predict.sh
  sh run_predict.sh --features val_mobilefacenet.bin --dim 128 --output people.txt
  sh run_predict.sh --corrections corrections.json"""


def cluster_faces(
    features: "np.ndarray",
    *,
    k: int = NEIGHBORS,
    calibration: str | Path | None = None,
    weights: str | Path = WEIGHTS,
    device: str = "auto",
) -> "np.ndarray":
    """The person of each face, int64 (N,), numbered from 0 by size; -1 for a row of zeros.

    `features` is float (N, D), one face per row, of any network. `calibration` is a `manifest.json` of
    run_proposal.sh for a larger set of the same network, as its option of that name. The people are
    those that the stages find in the same features. Raises `ValueError` where it is not such an array or a
    row is not finite, `InputError` where a file cannot be read.
    """
    from stages.clustering import cluster_features

    return cluster_features(features, k, calibration and Path(calibration), Path(weights), device)


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this stage."""
    parser = cli.make_parser(
        "run_predict.sh", "Choose among the proposals: one cluster of faces per person.", EXAMPLES
    )
    cli.add_feature_options(parser)
    parser.add_argument(
        "--proposals", type=Path, default=Path("super_vertex"), help="folder of run_proposal.sh"
    )
    parser.add_argument(
        "--output", type=cli.output_beside_json, default=Path("clusters.txt"), help="clusters to write"
    )
    parser.add_argument(
        "--corrections", type=Path, metavar="FILE", help="corrections.json saved from the report, to apply"
    )
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of trained graph networks")
    parser.add_argument(
        "--select",
        choices=SELECTIONS,
        default=SELECTIONS[0],
        help="cut: the best flat cut of each hierarchy of proposals; rank: the paper's rank and de-overlap",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add_engine_options(parser)
    parser.add_argument("--profile", action="store_true", help="print time and peak memory of each step")
    parser.add_argument("--restart", action="store_true", help="make the clusters again even if done")
    return parser


def main(args: argparse.Namespace) -> None:
    """Choose clusters, revise their members, keep corrections, score, write."""
    check_engine(args)
    if args.engine == "ray" and args.device not in ("auto", "cpu"):
        raise UsageError(f"--device {args.device}: --engine ray scores on CPUs: leave one of them out")
    import numpy as np

    from pipeline.files import clusters as files
    from pipeline.files.atomic import digest_file, refuse_foreign
    from pipeline.files.features import feature_json_path, read_features
    from pipeline.files.locks import only_run
    from pipeline.files.proposals import read_super_vertex
    from pipeline.groups import canonical_groups, groups_from_labels, people_in_words

    cli.refuse_overwriting(
        [args.output, args.output.with_suffix(".json"), files.faces_path(args.output)],
        [args.features, feature_json_path(args.features), *([args.corrections] if args.corrections else [])],
    )
    with step("check inputs"):
        features = read_features(args.features, args.dim)
        super_vertex = read_super_vertex(args.proposals, features)
    with step("load the graph networks"):
        from model.device import choose_device
        from pipeline.corrections.said import groups_of_people, load_corrections
        from pipeline.files.filelist import known_names
        from pipeline.identity import people_kept
        from pipeline.judging.cluster import choose_clusters, graph_of, score_clusters
        from pipeline.judging.corrected import correct_people
        from pipeline.judging.membership import revise_members
        from stages.judges import digests_of_judges, load_judges

        judges = load_judges(args.weights, choose_device("cpu" if args.engine == "ray" else args.device))
        names = known_names(features.meta)
        corrections = load_corrections(args.corrections, features, names)
        made_from: dict[str, Any] = {
            "features_sha256": features.digest,
            "proposals_sha256": digest_file(args.proposals / "manifest.json"),
            **digests_of_judges(args.weights),
            "corrections_sha256": digest_file(args.corrections) if args.corrections else None,
            "select": args.select,
        }
    next_command = "sh run_report.sh" + (f" --corrections {args.corrections}" if args.corrections else "")
    with only_run(args.output.resolve().parent):
        found = files.found_clusters(args.output)
        refuse_foreign(args.output, files.MARK, args.output.with_suffix(".json"))
        refuse_foreign(args.output.with_suffix(".json"), files.MARK)
        refuse_foreign(files.faces_path(args.output), files.FACES_MARK)
        if not args.restart and found and found | made_from == found:
            log(f"{args.output}: is done already; --restart makes it anew; next: {next_command}")
            return
        if not args.corrections and found.get("corrections_sha256"):
            warn(
                f"{args.output}: leaving out the corrections it was made with: --corrections FILE keeps them"
            )
        numbering = features.numbering
        stands = super_vertex.numbering.number_of[super_vertex.stands_for[numbering.row_of]]
        with engine(args) as machines:
            with step("measure graph"):
                graph = graph_of(features, super_vertex, super_vertex.numbering)
            score = machines.scores(graph, judges.predict_iou, judges.device)
            people = choose_clusters(graph, super_vertex.rounds, judges.predict_iou, score, args.select)
            super_vertex.rounds.clear()  # the largest sets need its memory
            people = revise_members(graph, people, judges.predict_member)
            if args.corrections:  # they are of single faces: copies are no longer one
                with step("correct"):
                    graph = graph_of(features, super_vertex, numbering)
                    score = machines.scores(graph, judges.predict_iou, judges.device)
                    said = corrections.renumbered(numbering.number_of.__getitem__)
                    people = correct_people(
                        graph, people[stands], said, judges.predict_iou, judges.predict_member
                    )
                    stands = np.arange(len(people))
            scores = score_clusters(graph, people, judges.predict_iou, score)
            people = people[stands]
        with step("write"):
            groups = canonical_groups(groups_from_labels(numbering.at_rows(people, -1)))
            predicted_iou = numbering.at_rows(scores[people], 0)[groups.members[groups.offsets[:-1]]]
            kept_in = {"corrections": str(args.corrections.resolve())} if args.corrections else {}
            people_said = groups_of_people(corrections, groups, len(numbering.usable))
            hidden = [group for group, person in people_said if person.hidden]
            identities = people_kept(groups, features, names, files.found_people(args.output, found))
            files.write_clusters(
                args.output,
                groups,
                made_from | kept_in,
                predicted_iou,
                {group: person.name for group, person in people_said if person.name},
                hidden,
                identities,
            )
    if args.profile:
        print("\n".join(profile_lines()))
    kept = f"{count(len(corrections), 'correction')} kept, " if args.corrections else ""
    log(
        f"{args.output}: {people_in_words(groups, hidden, len(features.rows))}, {kept}"
        f"in {elapsed():.1f} s; next: {next_command}"
    )


if __name__ == "__main__":
    sys.exit(cli.run(main, get_parser()))
