"""Make pages that show the people found, to look through and to correct in a browser.

Reads clusters.txt with clusters.json, feature.bin, super_vertex/ and, where there is one, the file list
with its images; writes report/: index.html and what it shows. It opens from disk, without a server.

    python report.py --clusters clusters.txt --output report
"""

import argparse
import sys
import time
import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from common import cli
from common.errors import InputError
from common.profile import profile_lines, step
from common.progress import bar, say, track, warn
from common.threads import in_threads

import numpy as np

from pipeline.corrections.matching import network_of, sketch_rows
from pipeline.corrections.said import Corrections, load_corrections, save_corrections
from pipeline.files.atomic import digest_file
from pipeline.files.clusters import read_cluster_json, read_clusters
from pipeline.files.corrections import corrections_json, encode_sketches
from pipeline.files.features import Features, read_features
from pipeline.files.filelist import FileList, filelist_of_features, read_filelist
from pipeline.files.labels import read_labels
from pipeline.files.locks import only_run
from pipeline.files.proposals import read_super_vertex
from pipeline.groups import Groups, labels_from_groups
from pipeline.judging.cluster import graph_of
from pipeline.report.charts import draw_charts
from pipeline.report.checks import Inspection, inspect_clusters
from pipeline.report.html import THUMBNAILS, drop_other_thumbnails, refuse_other_folder, write_report
from pipeline.report.thumbnails import make_thumbnail, thumbnail_key, thumbnail_place

FACES_A_SHARD = 5000  # of the page's data, loaded when they are to be seen
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
        with step("compare"), bar(len(clusters.members), "comparing clusters", "faces") as progress:
            groups = Groups((np.cumsum(features.usable) - 1)[clusters.members], clusters.offsets)
            inspection = inspect_clusters(
                graph_of(features, super_vertex, features.usable), groups, progress.update
            )
            inspection = replace(inspection, members=np.flatnonzero(features.usable)[inspection.members])
        with step("thumbnails"):
            thumbnails = thumbnails_of(args, filelist, inspection.members)
        with step("write"):
            data = {
                "index": index_data(features, clusters, inspection, found, filelist, thumbnails)
                | corrections_data(corrections, features, clusters, filelist, found),
                "unreadable": unreadable_data(features, filelist),
                **face_data(features, clusters, inspection, filelist, thumbnails),
            }
            words = words_of(data["index"], args.clusters)
            predicted = np.array(found["predicted_iou"]) if found else None
            write_report(
                args.output,
                data,
                words,
                lambda folder: draw_charts(folder, clusters, inspection, predicted, labels),
            )
            used = {thumbnail_place(args.output / THUMBNAILS, key) for key in thumbnails if key}
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


def index_data(
    features: Features,
    clusters: Groups,
    inspection: Inspection,
    found: dict[str, Any],
    filelist: FileList | None,
    thumbnails: list[str],
) -> dict[str, Any]:
    """What the page knows of every cluster from the start."""
    several = clusters.sizes > 1
    worse = np.where(inspection.rival >= 0, inspection.rival_fit - inspection.fit, -inspection.fit - 100)
    large = clusters.sizes > 2
    mixed = np.where(large, np.maximum.reduceat(worse, clusters.offsets[:-1]), -1000)
    return {
        "named": filelist is not None,
        "root": image_root(filelist),
        "network": network_of(features),
        "people": int(several.sum()),
        "typical": middle(inspection.inside[several]),
        "outside": middle(inspection.near_similarity[:, 0][inspection.near[:, 0] >= 0]),
        "sizes": clusters.sizes.tolist(),
        "iou": found.get("predicted_iou"),
        "covers": [thumbnails[first] for first in clusters.offsets[:-1].tolist()],
        "near": inspection.near.ravel().tolist(),
        "nearSimilarity": rounded(inspection.near_similarity.ravel()),
        "mixed": rounded(mixed),
        "shards": shard_starts(clusters).tolist(),
        "unreadable": int((~features.usable).sum()),
    }


def corrections_data(
    corrections: Corrections,
    features: Features,
    clusters: Groups,
    filelist: FileList | None,
    found: dict[str, Any],
) -> dict[str, Any]:
    """The corrections so far, in the form of their file with each face's cluster, and people's names."""
    names = filelist.names if filelist else None
    saved = corrections_json(save_corrections(corrections, features, names))
    cluster_of = labels_from_groups(clusters, len(features.rows))
    for face in saved["faces"]:
        face["cluster"] = int(cluster_of[face["row"]])
    # Where the corrections are at hand they say the names, and may have changed them.
    named = [] if corrections.people else enumerate(found.get("names", []))
    return {"corrections": saved, "names": [[cluster, name] for cluster, name in named if name]}


def face_data(
    features: Features,
    clusters: Groups,
    inspection: Inspection,
    filelist: FileList | None,
    thumbnails: list[str],
) -> dict[str, Any]:
    """What the page loads when the faces of some clusters are to be seen, by the name of the file."""
    data = {}
    ends = clusters.offsets[np.append(shard_starts(clusters), len(clusters))].tolist()
    for number, (first, last) in enumerate(pairwise(ends)):
        rows = inspection.members[first:last]
        rivals = np.flatnonzero(inspection.rival[first:last] >= 0)
        data[f"faces_{number}"] = {
            "rows": rows.tolist(),
            "names": [filelist.names[row] for row in rows.tolist()] if filelist else None,
            "thumbs": thumbnails[first:last] if filelist else None,
            "fits": rounded(inspection.fit[first:last]),
            "sketches": encode_sketches(sketch_rows(features.rows[rows])),
            "rivals": {
                int(place): [int(inspection.rival[first + place]), fit]
                for place, fit in zip(rivals, rounded(inspection.rival_fit[first:last][rivals]), strict=True)
            },
        }
    return data


def shard_starts(clusters: Groups) -> np.ndarray:
    """The first cluster of each shard of the data, int64; a cluster is never cut."""
    return np.unique(clusters.offsets[:-1] // FACES_A_SHARD, return_index=True)[1]


def unreadable_data(features: Features, filelist: FileList | None) -> list[list[Any]]:
    """Row, image and reason of each row that has no feature."""
    told = {entry.get("row"): str(entry.get("reason")) for entry in features.meta.get("unreadable", [])}
    return [
        [row, filelist.names[row] if filelist else None, told.get(row, "its feature is zeros")]
        for row in np.flatnonzero(~features.usable).tolist()
    ]


def image_root(filelist: FileList | None) -> str:
    """What a name of the list follows in a path: the list's folder, or the working directory."""
    if filelist is None:
        return ""
    return str(filelist.paths[0].absolute()).removesuffix(filelist.names[0])


def words_of(index: dict[str, Any], clusters_path: Path) -> dict[str, Any]:
    """What the page says before its data are loaded."""
    faces, people, unreadable = sum(index["sizes"]), index["people"], index["unreadable"]
    alone = len(index["sizes"]) - people
    return {
        "summary": f"{faces + unreadable:,} images: {faces - alone:,} faces of {people:,} people, "
        f"{alone:,} seen once" + (f", {unreadable:,} unreadable" if unreadable else ""),
        "people": people,
        "alone": alone,
        "unreadable": unreadable,
        "typical": index["typical"],
        "outside": index["outside"],
        "clusters": clusters_path.name,
    }


def middle(similarities: np.ndarray) -> float:
    """The median of similarities, that of strangers where there are none."""
    return float(np.median(similarities)) if len(similarities) else 0.0


def rounded(values: np.ndarray) -> list[float]:
    """To two decimals, for data that are shorter."""
    return np.round(values.astype(np.float64), 2).tolist()


if __name__ == "__main__":
    hint = "run the same command again: thumbnails that are made stay"
    sys.exit(cli.run(main, get_parser(), resume_hint=hint))
