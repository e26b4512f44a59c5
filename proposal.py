"""Propose groups of faces that might be one person.

Reads feature.bin (and feature.json beside it, if there); writes super_vertex/: the kNN affinity
graph and the cluster proposals of every round of merging.

    python proposal.py --features feature.bin --output super_vertex
"""

import argparse
import sys
import time
from pathlib import Path

from common import cli
from common.errors import InputError
from common.progress import bar, say
from pipeline.calibrate import calibrate_to_strangers
from pipeline.files import only_run
from pipeline.formats import feature_digest, read_features, write_super_vertex
from pipeline.graph import NEIGHBORS, graph_of_all_rows, nearest_neighbors, unit_rows
from pipeline.merge import MAX_SIZE, ROUNDS, THRESHOLD, propose, rows_of_rounds

EXAMPLES = """  sh run_proposal.sh
  sh run_proposal.sh --features val_mobilefacenet.bin --dim 128
  sh run_proposal.sh --k 40 --max-size 500"""


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this stage."""
    parser = cli.make_parser("run_proposal.sh", "Propose groups of faces that might be one person.", EXAMPLES)
    parser.add_argument("--features", type=Path, default=Path("feature.bin"), help="feature file to read")
    parser.add_argument(
        "--dim", type=cli.positive_int, help="length of a row, where no .json lies beside the features"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("super_vertex"),
        help="folder to write; one of an earlier run is replaced",
    )
    parser.add_argument(
        "--k", type=cli.positive_int, default=NEIGHBORS, help="neighbors of a face in the affinity graph"
    )
    parser.add_argument(
        "--threshold",
        type=cli.finite_float,
        default=THRESHOLD,
        help="lowest similarity at which super-vertices merge, in standard deviations above strangers",
    )
    parser.add_argument(
        "--rounds", type=cli.positive_int, default=ROUNDS, help="rounds of merging in each family"
    )
    parser.add_argument(
        "--step",
        type=cli.positive_float,
        help="fall of the threshold from round to round (default: as the data's nearest neighbors ask)",
    )
    parser.add_argument(
        "--max-size",
        type=cli.positive_int,
        default=MAX_SIZE,
        help="most faces in a proposal; larger ones stay split",
    )
    return parser


def main(args: argparse.Namespace) -> None:
    """Search, calibrate, merge, write."""
    started = time.monotonic()
    features = read_features(args.features, args.dim)
    if not features.usable.any():
        raise InputError(
            f"{args.features}: every row is zeros, so no image could be read: check the file list"
        )
    with only_run(args.output.resolve().parent):
        unit = unit_rows(features.rows, features.usable)
        with bar(len(unit), "affinity graph", "faces") as progress:
            neighbors, similarities = nearest_neighbors(unit, args.k, progress.update)
        calibration = calibrate_to_strangers(unit)
        rounds = propose(
            unit,
            neighbors,
            similarities,
            calibration,
            threshold=args.threshold,
            rounds=args.rounds,
            step=args.step,
            max_size=args.max_size,
        )
        manifest = {
            "features_sha256": feature_digest(features),
            "parameters": {
                name: getattr(args, name) for name in ("k", "threshold", "rounds", "step", "max_size")
            },
            "calibration": {"middle": calibration.middle, "spread": calibration.spread},
        }
        neighbors, similarities = graph_of_all_rows(neighbors, similarities, features.usable)
        write_super_vertex(
            args.output, manifest, neighbors, similarities, rows_of_rounds(rounds, features.usable)
        )
    proposals = sum(len(round_.proposals) for round_ in rounds)
    say(
        f"{args.output}: {proposals} proposals from {len(unit)} faces "
        f"in {time.monotonic() - started:.1f} s; next: sh run_predict.sh"
    )


if __name__ == "__main__":
    sys.exit(cli.run(main, get_parser()))
