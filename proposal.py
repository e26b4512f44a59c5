"""Propose groups of faces that might be one person.

Reads feature.bin (and feature.json beside it, if there); writes super_vertex/: the kNN affinity
graph and the cluster proposals of every round of merging.

    python proposal.py --features feature.bin --output super_vertex
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from common import cli
from common.errors import InputError, UsageError
from common.profile import profile_lines, step
from common.progress import bar, say

import numpy as np

from distributed.engine import add_engine_options, check_engine, engine
from pipeline.calibration import Calibration, calibrate_to_strangers
from pipeline.files.atomic import clear_up, whole_folder
from pipeline.files.calibration import calibration_from, calibration_json, read_calibration
from pipeline.files.features import Features, feature_digest, read_features
from pipeline.files.locks import only_run
from pipeline.files.proposals import SUPER_VERTEX_FILES, create_graph, read_super_vertex, write_rounds
from pipeline.proposals.copies import collapse_copies
from pipeline.proposals.merging import MAX_SIZE, ROUNDS, THRESHOLD, Linking, propose, rows_of_rounds
from pipeline.rows import UnitRows, UsableRows, graph_of_usable_rows, slices, trim_heap, unit_blocks
from pipeline.search.knn import NEIGHBORS, SEARCHES, Found, fill_graph, make_search

EXAMPLES = """  sh run_proposal.sh
  sh run_proposal.sh --features val_mobilefacenet.bin --dim 128
  sh run_proposal.sh --k 40 --max-size 500"""
# What makes other proposals of the same features.
PARAMETERS = ("k", "threshold", "rounds", "step", "max_size", "search")


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this stage."""
    parser = cli.make_parser("run_proposal.sh", "Propose groups of faces that might be one person.", EXAMPLES)
    cli.add_feature_options(parser)
    parser.add_argument(
        "--output",
        type=cli.output_path,
        default=Path("super_vertex"),
        help="folder to write; one of an earlier run is replaced",
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="manifest.json of a larger set of the same network: where its strangers stand",
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
        type=cli.several_int,
        default=MAX_SIZE,
        help="most faces in a proposal; larger ones stay split",
    )
    parser.add_argument(
        "--search",
        choices=SEARCHES,
        default="auto",
        help="how neighbors are found; auto: exactly up to some 100,000 faces, then by ivf where quicker",
    )
    add_engine_options(parser)
    parser.add_argument(
        "--shards",
        type=cli.positive_int,
        help="parts that a cluster's machines divide the rows into (default: one for each machine)",
    )
    parser.add_argument("--profile", action="store_true", help="print time and peak memory of each step")
    parser.add_argument(
        "--restart", action="store_true", help="make the proposals anew though they are there"
    )
    return parser


def main(args: argparse.Namespace) -> None:
    """Search, calibrate, merge, write."""
    started = time.monotonic()
    check_engine(args)
    if args.engine == "ray" and args.search not in ("auto", "exact"):
        raise UsageError(f"--search {args.search}: --engine ray searches exactly: leave one of them out")
    with step("check features"):
        features = read_features(args.features, args.dim)
        usable = features.usable
        if not usable.any():
            raise InputError(
                f"{args.features}: every row is zeros, so no image could be read: check the file list"
            )
        known = prior(args.calibration, features)
        run = {
            "features_sha256": feature_digest(features),
            "parameters": {name: getattr(args, name) for name in PARAMETERS},
            "prior": known and calibration_json(known),
        }
    with only_run(args.output.resolve().parent):
        clear_up(args.output)
        if not args.restart and is_done(args.output, features, run):
            say(f"{args.output}: is done already; --restart makes it anew; next: sh run_predict.sh")
            return
        described: dict[str, Any] = {}
        with engine(args), whole_folder(args.output, holds=SUPER_VERTEX_FILES) as folder:
            unit = UnitRows(features.rows, usable)
            if len(unit) > 1 and all((unit[part] == unit[:1]).all() for part in slices(len(unit))):
                raise InputError(
                    f"{args.features}: every row is the same, so nobody can be told from anybody: "
                    "check the images and the network's weights"
                )
            graph_among = partial(graph_of_rows, args, folder, features, known, described)
            stands, neighbors, similarities, calibration = collapse_copies(unit, graph_among)
            stands_for = np.full(len(usable), -1)
            stands_for[usable] = np.flatnonzero(usable)[stands]
            standing = stands_for == np.arange(len(usable))
            files = neighbors.source, similarities.source
            with step("merge"):
                rounds = propose(
                    UnitRows(features.rows, standing),
                    neighbors,
                    similarities,
                    calibration,
                    threshold=args.threshold,
                    rounds=args.rounds,
                    step=args.step,
                    max_size=args.max_size,
                    linking=linking(args, standing, *files, calibration),
                )
            with step("write"):
                copies = np.flatnonzero(usable & ~standing)
                for array in files:
                    array[copies] = array[stands_for[copies]]
                manifest = run | {
                    "count": len(usable),
                    "copies": len(copies),
                    "k": neighbors.shape[1],
                    "search": described,
                    "calibration": calibration_json(calibration),
                    "weights_sha256": features.meta.get("weights_sha256"),
                }
                write_rounds(folder, manifest, stands_for, rows_of_rounds(rounds, standing))
    if args.profile:
        print("\n".join(profile_lines()))
    proposals = sum(len(round_.proposals) for round_ in rounds)
    say(
        f"{args.output}: {proposals} proposals from {len(unit)} faces, "
        + (f"{len(copies)} of them copies of others, " if len(copies) else "")
        + f"{described['method']} search"
        + (f" with recall {described['recall']:.3f}" if described["method"] != "exact" else "")
        + f", in {time.monotonic() - started:.1f} s; next: sh run_predict.sh"
    )


def prior(path: Path | None, features: Features) -> Calibration | None:
    """What is known of the network: from the file given, else from the JSON beside its features."""
    if path:
        return read_calibration(path, features.meta.get("weights_sha256"))
    return calibration_from(features.meta.get("calibration"))


def graph_of_rows(
    args: argparse.Namespace,
    folder: Path,
    features: Features,
    known: Calibration | None,
    described: dict[str, Any],
    standing: np.ndarray,
) -> tuple[UsableRows, UsableRows, Calibration]:
    """The affinity graph among the usable rows of `standing`, bool, and its calibration.

    It is written to files in `folder`, and what the manifest says of the search to `described`.
    """
    rows = features.usable.copy()
    rows[rows] = standing
    neighbors, similarities = create_graph(folder, len(rows), min(args.k, int(rows.sum()) - 1))
    with step("prepare search"):
        say_of_it, results = search(args, replace(features, usable=rows), neighbors.shape[1])
        described.update(say_of_it)
    with step("search"), bar(int(rows.sum()), "affinity graph", "faces") as progress:
        fill_graph(results, rows, neighbors, similarities, progress.update)
    del results
    trim_heap()
    with step("calibrate"):
        calibration = calibrate_to_strangers(UnitRows(features.rows, rows), known)
    return *graph_of_usable_rows(neighbors, similarities, rows), calibration


def search(args: argparse.Namespace, features: Features, k: int) -> tuple[dict[str, Any], Iterator[Found]]:
    """What the manifest says of the search, and what it finds as `fill_graph` takes it."""
    if args.engine == "ray":
        from distributed.search import DESCRIBED, found_in_shards

        return DESCRIBED, found_in_shards(features, k + 1, args.shards)
    search = make_search(args.search, features.rows, features.usable, k)
    blocks = unit_blocks(features.rows, features.usable, search.queries_at_once)
    return search.described(), search.results(blocks, k + 1)


def linking(
    args: argparse.Namespace,
    usable: np.ndarray,
    neighbors: np.ndarray,
    similarities: np.ndarray,
    calibration: Calibration,
) -> Linking | None:
    """Where a cluster is to make the edges that link faces, how; None where `propose` makes them."""
    if args.engine == "local":
        return None
    from distributed.merge import linking_in_parts

    return linking_in_parts(usable, neighbors, similarities, calibration, args.shards)


def is_done(path: Path, features: Features, run: dict[str, Any]) -> bool:
    """Whether `path` holds whole proposals of the same features and parameters."""
    if not path.exists():
        return False
    try:
        manifest = read_super_vertex(path, features).manifest
    except InputError:
        return False
    return all(manifest.get(name) == value for name, value in run.items())


if __name__ == "__main__":
    sys.exit(cli.run(main, get_parser()))
