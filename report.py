"""Make pages that show the people found, to look through and to correct in a browser.

Reads clusters.txt with clusters.json, feature.bin, super_vertex/, the trained graph network in weights/
and, where there is one, the file list with its images; writes report/: index.html and what it shows. It
opens from disk, without a server.

    python report.py --clusters clusters.txt --output report
"""

import argparse
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import cli
from common.errors import InputError
from common.profile import profile_lines, step
from common.progress import bar, say, track, warn
from common.threads import in_threads

import numpy as np
import torch

from model.gcn import GCND, load_networks, predictor
from pipeline.corrections.said import load_corrections
from pipeline.files.atomic import digest_file
from pipeline.files.clusters import read_cluster_json, read_clusters
from pipeline.files.features import Features, read_features
from pipeline.files.filelist import FileList, filelist_of_features, read_filelist
from pipeline.files.labels import read_labels
from pipeline.files.locks import only_run
from pipeline.files.proposals import read_super_vertex
from pipeline.groups import Groups
from pipeline.judging.cluster import usable_graph
from pipeline.judging.doubts import find_doubts
from pipeline.judging.measures import NODE_MEASURES, PROPOSAL_MEASURES
from pipeline.report.charts import draw_charts
from pipeline.report.checks import inspect_clusters
from pipeline.report.data import corrections_data, face_data, index_data, unreadable_data, words_of
from pipeline.report.html import THUMBNAILS, drop_other_thumbnails, refuse_other_folder, write_report
from pipeline.report.thumbnails import make_thumbnail, thumbnail_key, thumbnail_place

WEIGHTS = Path(__file__).resolve().parent / "weights"
EXAMPLES = """  sh run_report.sh
  sh run_report.sh --labels labels.txt
  sh run_report.sh --corrections corrections.json"""


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this stage."""
    parser = cli.make_parser(
        "run_report.sh", "Make pages that show the people found, in a browser.", EXAMPLES
    )
    parser.add_argument("--clusters", type=Path, default=Path("clusters.txt"), help="clusters to show")
    cli.add_feature_options(parser)
    parser.add_argument(
        "--proposals", type=Path, default=Path("super_vertex"), help="folder of run_proposal.sh"
    )
    parser.add_argument(
        "--filelist", type=Path, help="list of the images, where the JSON beside the features names none"
    )
    parser.add_argument("--labels", type=Path, help="one integer identity a line, to show how right it is")
    parser.add_argument(
        "--corrections",
        type=Path,
        metavar="FILE",
        help="corrections.json saved from the report, to go on with",
    )
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of trained graph networks")
    parser.add_argument(
        "--workers", type=cli.positive_int, help="threads that make thumbnails (default: one a core)"
    )
    parser.add_argument("--output", type=cli.output_path, default=Path("report"), help="folder to write")
    parser.add_argument("--profile", action="store_true", help="print time and peak memory of each step")
    return parser


def main(args: argparse.Namespace) -> None:
    """Compare the clusters, make thumbnails, draw charts, write the page."""
    started = time.monotonic()
    refuse_other_folder(args.output)
    with step("check inputs"):
        features = read_features(args.features, args.dim)
        super_vertex = read_super_vertex(args.proposals, features)
        found = read_cluster_json(args.clusters) or {}
        clusters = read_fitting_clusters(args.clusters, features)
        if found and found.get("features_sha256") != super_vertex.manifest["features_sha256"]:
            raise InputError(
                f"{args.clusters}: was made from other features than {args.features}: run `sh run_predict.sh`"
            )
        filelist = read_fitting_filelist(args.filelist, features)
        labels = read_labels(args.labels, len(features.rows)) if args.labels else None
        corrections = load_corrections(
            args.corrections or corrections_kept(args.clusters, found),
            features,
            filelist.names if filelist else None,
        )
    with only_run(args.output.resolve().parent):
        with step("find doubts"):
            gcn_d = load_networks(args.weights, GCND, NODE_MEASURES, PROPOSAL_MEASURES, torch.device("cpu"))
            graph = usable_graph(features, super_vertex)
            groups = Groups((np.cumsum(features.usable) - 1)[clusters.members], clusters.offsets)
            doubts = find_doubts(graph, groups, predictor(gcn_d))
        with step("compare"), bar(len(clusters.members), "comparing clusters", "faces") as progress:
            inspection = inspect_clusters(graph, groups, doubts.near[:, 0], progress.update)
        row_of = np.flatnonzero(features.usable)
        doubts = replace(doubts, alike=row_of[doubts.alike])
        inspection = replace(inspection, members=row_of[inspection.members])
        with step("thumbnails"):
            rows = np.append(inspection.members, np.setdiff1d(corrections.not_faces, clusters.members))
            thumbnails = dict(zip(rows.tolist(), thumbnails_of(args, filelist, rows), strict=True))
        with step("write"):
            data = {
                "index": index_data(features, clusters, inspection, doubts, found, filelist, thumbnails)
                | corrections_data(corrections, features, clusters, filelist, found, thumbnails),
                "unreadable": unreadable_data(features, filelist),
                **face_data(features, clusters, inspection, doubts, filelist, thumbnails),
            }
            words = words_of(data["index"], args.clusters)
            predicted = np.array(found["predicted_iou"]) if found else None
            write_report(
                args.output,
                data,
                words,
                lambda folder: draw_charts(folder, clusters, inspection, predicted, labels),
            )
            used = {thumbnail_place(args.output / THUMBNAILS, key) for key in thumbnails.values() if key}
            drop_other_thumbnails(args.output / THUMBNAILS, used)
    if args.profile:
        print("\n".join(profile_lines()))
    say(
        f"{args.output / 'index.html'}: {words['people']} people, {words['alone']} faces alone, "
        f"{len(used)} thumbnails, in {time.monotonic() - started:.1f} s; "
        "next: open it in a browser, or sh run_export.sh"
    )


def read_fitting_clusters(path: Path, features: Features) -> Groups:
    """The clusters, of rows that the features have."""
    clusters = read_clusters(path)
    if (last := clusters.members.max()) >= len(features.rows):
        raise InputError(
            f"{path}: holds row {last} but {features.path} has {len(features.rows)} rows: "
            "give the features that these clusters came from"
        )
    if not features.usable[clusters.members].all():
        row = clusters.members[~features.usable[clusters.members]][0]
        raise InputError(f"{path}: holds row {row}, whose feature is zeros: run `sh run_predict.sh` again")
    return clusters


def read_fitting_filelist(path: Path | None, features: Features) -> FileList | None:
    """The file list given, else that of the features; None where they name none."""
    filelist = read_filelist(path) if path else filelist_of_features(features.meta)
    if filelist and len(filelist.names) != len(features.rows):
        raise InputError(
            f"{filelist.path}: names {len(filelist.names)} images but {features.path} has "
            f"{len(features.rows)} rows: give --filelist the list that these features came from"
        )
    return filelist


def corrections_kept(path: Path, found: dict[str, Any]) -> Path | None:
    """The file of the corrections that the clusters were made with, where it is as it was."""
    if not found.get("corrections_sha256"):
        return None
    kept = Path(str(found.get("corrections")))
    if kept.is_file() and digest_file(kept) == found["corrections_sha256"]:
        return kept
    warn(f"{path}: was made with corrections: give --corrections FILE to go on with them in the report")
    return None


def thumbnails_of(args: argparse.Namespace, filelist: FileList | None, rows: np.ndarray) -> list[str]:
    """Make the thumbnails that are not there; the key of each row's, empty where there is none."""
    if filelist is None:
        return [""] * len(rows)
    paths = [filelist.paths[row] for row in rows.tolist()]
    keys = [thumbnail_key(path) for path in track(paths, "looking for images", "images")]
    folder = args.output / THUMBNAILS
    path_of = {key: path for key, path in zip(keys, paths, strict=True) if key}
    missing = [key for key in path_of if not thumbnail_place(folder, key).exists()]
    jobs = [(path_of[key], thumbnail_place(folder, key)) for key in missing]
    failed = {""}
    with bar(len(jobs), "thumbnails", "images") as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # for all threads: what Pillow warns of, `read_image` reports
        for key, made in zip(missing, in_threads(make_thumbnail, jobs, args.workers), strict=True):
            progress.update()
            if not made:
                failed.add(key)
    unseen = sum(key in failed for key in keys)
    if unseen:
        first = next(path for path, key in zip(paths, keys, strict=True) if key in failed)
        warn(f"{unseen} images cannot be read now, and are shown by number: the first is {first}")
    return ["" if key in failed else key for key in keys]


if __name__ == "__main__":
    hint = "run the same command again: thumbnails that are made stay"
    sys.exit(cli.run(main, get_parser(), resume_hint=hint))
