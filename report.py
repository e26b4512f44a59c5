"""Make a page that shows the people found, to review and correct in a browser.

Reads clusters.txt with clusters.json, feature.bin, super_vertex/, the trained graph networks in weights/
and, where there is one, the file list with its images; writes report/: index.html and what it shows. It
opens from disk, without a server.

    python report.py --clusters clusters.txt --output report
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # which PYTHONSAFEPATH leaves out

from common import cli
from common.errors import InputError
from common.profile import profile_lines, step
from common.progress import bar, count, elapsed, log

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
    parser.add_argument("--labels", type=Path, help="identities, one per line, to score the clusters by")
    parser.add_argument(
        "--corrections",
        type=Path,
        metavar="FILE",
        help="corrections.json saved from the report, to continue with",
    )
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of trained graph networks")
    parser.add_argument(
        "--workers", type=cli.at_least(1), help="threads that make thumbnails (default: one per core)"
    )
    parser.add_argument("--output", type=cli.output_path, default=Path("report"), help="folder to write")
    parser.add_argument("--profile", action="store_true", help="print time and peak memory of each step")
    return parser


def main(args: argparse.Namespace) -> None:
    """Compare the clusters, make thumbnails, draw charts, write the page."""
    import numpy as np

    from pipeline.files.clusters import read_cluster_json, read_clusters
    from pipeline.files.features import read_features
    from pipeline.files.filelist import filelist_of_rows
    from pipeline.files.labels import read_labels
    from pipeline.files.locks import only_run
    from pipeline.files.proposals import read_super_vertex

    with step("check inputs"):
        features = read_features(args.features, args.dim)
        super_vertex = read_super_vertex(args.proposals, features)
        found = read_cluster_json(args.clusters) or {}
        clusters = read_clusters(args.clusters, len(features.rows), features.path)
        features.refuse_unusable(clusters.members, args.clusters)
        if found and found.get("features_sha256") != super_vertex.manifest["features_sha256"]:
            raise InputError(
                f"{args.clusters}: was made from other features than {args.features}: run `sh run_predict.sh`"
            )
        filelist = filelist_of_rows(args.filelist, features)
        from pipeline.corrections.said import corrections_kept, load_corrections
        from pipeline.groups import Groups, people_in_words
        from pipeline.judging.cluster import graph_of
        from pipeline.report import data as shown
        from pipeline.report.charts import draw_charts
        from pipeline.report.checks import inspect_clusters
        from pipeline.report.html import THUMBNAILS, drop_other_thumbnails, refuse_other_folder, write_report
        from pipeline.report.photos import add_photos
        from pipeline.report.thumbnails import thumbnail_place, thumbnails_of

        labels = read_labels(args.labels, len(features.rows)) if args.labels else None
        corrections = load_corrections(
            args.corrections or corrections_kept(args.clusters, found),
            features,
            filelist.names if filelist else None,
        )
        refuse_other_folder(args.output)
    with step("load the graph networks"):
        from model.device import choose_device
        from pipeline.judging.doubts import find_doubts
        from stages.judges import load_judges

        judges = load_judges(args.weights, choose_device("cpu"))
    with only_run(args.output.resolve().parent):
        numbering = features.numbering
        groups = Groups(numbering.number_of[clusters.members], clusters.offsets)
        with step("find doubts"):
            graph = graph_of(features, super_vertex, numbering)
            doubts = find_doubts(graph, groups, judges.predict_iou)
        with step("compare"), bar(len(clusters.members), "comparing clusters", "faces") as progress:
            inspection = inspect_clusters(graph, groups, doubts.near[:, 0], progress.update)
        doubts = replace(doubts, alike=numbering.row_of[doubts.alike])
        inspection = replace(inspection, members=numbering.row_of[inspection.members])
        with step("thumbnails"):
            folder = args.output / THUMBNAILS
            rows = np.append(inspection.members, np.setdiff1d(corrections.not_faces, clusters.members))
            keys = thumbnails_of(folder, filelist, rows, args.workers)
            thumbnails = dict(zip(rows.tolist(), keys, strict=True))
        with step("write"):
            data = {
                "index": shown.index_data(features, clusters, inspection, doubts, found, filelist, thumbnails)
                | shown.corrections_data(corrections, features, clusters, filelist, found, thumbnails),
                "unreadable": shown.unreadable_data(features, filelist),
                **shown.face_data(features, clusters, inspection, doubts, filelist, thumbnails),
            }
            add_photos((value for name, value in data.items() if name.startswith("faces_")), filelist)
            images = len(features.rows)
            words = shown.words_of(data["index"], clusters, found, args.clusters, images)
            write_report(
                args.output,
                data,
                words,
                lambda place: draw_charts(place, clusters, inspection, found.get("predicted_iou"), labels),
            )
            used = {thumbnail_place(folder, key) for key in keys if key}
            drop_other_thumbnails(folder, used)
    if args.profile:
        print("\n".join(profile_lines()))
    people = people_in_words(clusters, found.get("hidden", []), images)
    log(
        f"{args.output / 'index.html'}: {people}, {count(len(used), 'thumbnail')}, "
        f"in {elapsed():.1f} s; "
        "next: open it in a browser, or sh run_export.sh"
    )


if __name__ == "__main__":
    hint = "run the same command again: thumbnails that are made stay"
    sys.exit(cli.run(main, get_parser(), resume_hint=hint))
