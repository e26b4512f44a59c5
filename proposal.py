"""Propose groups of faces that might be one person.

Reads feature.bin (and feature.json beside it, if there); writes super_vertex/: the kNN affinity
graph and the cluster proposals of every round of merging.

    python proposal.py --features feature.bin --output super_vertex
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # which PYTHONSAFEPATH leaves out

from common import cli
from common.errors import InputError
from common.profile import profile_lines, step
from common.progress import elapsed, log, warn

from distributed.engine import add_engine_options, check_engine, engine
from pipeline.defaults import MAX_SIZE, NEIGHBORS, ROUNDS, SEARCHES, THRESHOLD

if TYPE_CHECKING:
    from pipeline.files.features import Features
    from pipeline.files.proposals import KeptGraph

EXAMPLES = """  sh run_proposal.sh
  sh run_proposal.sh --features val_mobilefacenet.bin --dim 128
  sh run_proposal.sh --k 40 --max-size 500"""
# Options that change the proposals of the same features.
PARAMETERS = ("k", "threshold", "rounds", "max_size", "search")
SEARCHED = ("k", "search")  # of these, what makes another affinity graph
# So few faces may be of too few people: random sets of one to three people of lfw/train place the middle of
# impostor pairs 0.5 to 6.5 standard deviations off, those of 30 people (76 faces) 0.1 to 0.2.
FEW_FACES = 100


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this stage."""
    parser = cli.make_parser("run_proposal.sh", "Propose groups of faces that might be one person.", EXAMPLES)
    cli.add_feature_options(parser)
    parser.add_argument(
        "--output",
        type=cli.output_path,
        default=Path("super_vertex"),
        help="folder to write; replaces that of an earlier run",
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="manifest.json of a larger set of the same network, whose calibration is used as a prior",
    )
    parser.add_argument(
        "--k", type=cli.at_least(1), default=NEIGHBORS, help="neighbors of a face in the affinity graph"
    )
    parser.add_argument(
        "--threshold",
        type=cli.at_least(-1e9),
        default=THRESHOLD,
        help="lowest similarity at which super-vertices merge, in standard deviations above impostor pairs",
    )
    parser.add_argument(
        "--rounds", type=cli.at_least(1), default=ROUNDS, help="rounds of merging in each hierarchy"
    )
    parser.add_argument(
        "--max-size",
        type=cli.at_least(2),
        default=MAX_SIZE,
        help="most faces in a proposal; larger ones stay split",
    )
    parser.add_argument(
        "--search",
        choices=SEARCHES,
        default="auto",
        help="how neighbors are found; auto: exact up to some 100,000 faces, then ivf where that is faster",
    )
    add_engine_options(parser)
    parser.add_argument(
        "--shards",
        type=cli.at_least(1),
        help="parts that a cluster's machines divide the rows into (default: one for each machine)",
    )
    parser.add_argument("--profile", action="store_true", help="print time and peak memory of each step")
    parser.add_argument("--restart", action="store_true", help="make the proposals again even if done")
    return parser


def kept_of_earlier_run(
    args: argparse.Namespace, features: "Features"
) -> tuple[list["KeptGraph"], dict[str, Any]]:
    """The graphs of the output that is there, where new rows alone may be searched for, and their search."""
    from pipeline.files.proposals import read_kept

    if args.restart or args.engine != "local":
        return [], {}
    try:
        with step("check the earlier graph"):
            return read_kept(args.output, features, {name: getattr(args, name) for name in SEARCHED})
    except InputError as error:
        log(f"{error}; everything is searched for anew")
        return [], {}


def main(args: argparse.Namespace) -> None:
    """Search, calibrate, merge, write."""
    check_engine(args)
    from pipeline.files import proposals as files
    from pipeline.files.atomic import clear_up, whole_folder
    from pipeline.files.calibration import calibration_from, calibration_json, read_calibration
    from pipeline.files.features import read_features
    from pipeline.files.locks import only_run

    with step("check features"):
        features = read_features(args.features, args.dim)
        count, dim = features.rows.shape
        log(f"{args.features}: {count} rows x {dim}, {features.rows.dtype}")
        if not len(features.numbering):
            raise InputError(
                f"{args.features}: every row is zeros, so no image could be read: check the file list"
            )
        if args.calibration:
            prior = read_calibration(args.calibration, features.meta.get("weights_sha256"))
        else:
            prior = calibration_from(features.meta.get("calibration"))
        if prior is None and len(features.numbering) < FEW_FACES:
            warn(
                f"{args.features}: {len(features.numbering)} faces do not show how similar different people "
                "look to their network: people may come out in pieces where there are one to three: give "
                "--calibration, the manifest.json of a larger set of the same network"
            )
        run: dict[str, Any] = {
            "features_sha256": features.digest,
            "parameters": {name: getattr(args, name) for name in PARAMETERS},
            "prior": prior and calibration_json(prior),
        }
    with only_run(args.output.resolve().parent):
        clear_up(args.output)
        if not args.restart and files.is_done(args.output, features, run):
            log(f"{args.output}: is done already; --restart makes it anew; next: sh run_predict.sh")
            return
        import numpy as np

        from pipeline.calibration import refuse_equal_rows
        from pipeline.proposals.copies import collapse_copies
        from pipeline.proposals.merging import propose
        from pipeline.rows import Numbering, UnitRows
        from pipeline.search.graph import GraphSearch

        kept, kept_search = kept_of_earlier_run(args, features)
        with engine(args) as machines, whole_folder(args.output, holds=files.SUPER_VERTEX_FILES) as folder:
            graph_among = GraphSearch(
                features.rows,
                features.numbering,
                args.k,
                prior,
                partial(files.create_graph, folder),
                partial(machines.search, args.search, features.rows),
                kept,
                kept_search,
            )
            everyone = UnitRows(features.rows, features.numbering)
            refuse_equal_rows(everyone, args.features)
            known = graph_among.known_stands()
            stands, near, cosines, calibration = collapse_copies(everyone, graph_among, known)
            run["search"], asked = graph_among.described, graph_among.asked
            del graph_among, kept  # they hold the rows
            stands_for = features.numbering.at_rows(features.numbering.row_of[stands], -1)
            numbering = Numbering(stands_for == np.arange(len(stands_for)))
            with step("merge"):
                rounds = propose(
                    UnitRows(features.rows, numbering),
                    near,
                    cosines,
                    calibration,
                    threshold=args.threshold,
                    rounds=args.rounds,
                    max_size=args.max_size,
                    linking=machines.edges(numbering, near.source, cosines.source, calibration),
                )
            with step("write"):
                copies = np.flatnonzero(features.usable & ~numbering.usable)
                for array in (near.source, cosines.source):  # a copy has the neighbors of what it copies
                    array[copies] = array[stands_for[copies]]
                manifest = run | {
                    "count": len(features.rows),
                    "copies": len(copies),
                    "k": near.shape[1],
                    "calibration": calibration_json(calibration),
                    "weights_sha256": features.meta.get("weights_sha256"),
                }
                files.write_rounds(folder, manifest, rounds, numbering, stands_for)
    if args.profile:
        print("\n".join(profile_lines()))
    if asked < len(numbering):
        log(f"{args.output}: {asked} faces were searched for; the neighbors of the others were there already")
    proposals = sum(len(round_.proposals) for round_ in rounds)
    described = run["search"]
    log(
        f"{args.output}: {proposals} proposals from {len(everyone)} faces, "
        + (f"{len(copies)} of them copies, " if len(copies) else "")
        + f"{described['method']} search"
        + (
            f" that finds {100 * described['recall_possible']:.1f} % of neighbors that could be one person "
            f"and {100 * described['recall']:.0f} % of all {near.shape[1]}"
            if described["method"] != "exact"
            else ""
        )
        + f", in {elapsed():.1f} s; next: sh run_predict.sh"
    )


if __name__ == "__main__":
    sys.exit(cli.run(main, get_parser()))
