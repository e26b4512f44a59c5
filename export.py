"""Export the people found, for other programs and for looking through.

Reads clusters.txt and clusters.json, and the file list that the features came from (feature.json says
which). Writes a folder with one folder per person, a table of path, cluster and confidence, or XMP sidecars.
In a folder nothing is removed or replaced that no export wrote, or that was changed since.
A person's number is the line of clusters.txt, from 1; the confidence is the predicted IoU. Names given in
the report go along; people hidden there stay out.

    sh run_export.sh --to folders
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # which PYTHONSAFEPATH leaves out

from common import cli
from common.errors import UsageError
from common.progress import count, elapsed, log

DEFAULT_OUTPUT = {"folders": "export", "csv": "export.csv", "json": "export.json", "xmp": "sidecars"}


def get_parser() -> argparse.ArgumentParser:
    """The options of run_export.sh."""
    parser = cli.make_parser(
        "run_export.sh",
        "Export the people found: a folder of faces each, a table, or XMP sidecars for photo tools.",
        "  sh run_export.sh --to folders\n"
        "  sh run_export.sh --to folders --copy --output people\n"
        "  sh run_export.sh --to csv\n"
        "  sh run_export.sh --to xmp",
    )
    parser.add_argument("--to", choices=tuple(DEFAULT_OUTPUT), default="folders", help="what to write")
    parser.add_argument("--clusters", type=Path, default=Path("clusters.txt"), help="clusters to export")
    parser.add_argument(
        "--features", type=Path, default=Path("feature.bin"), help="features whose JSON names the file list"
    )
    parser.add_argument(
        "--filelist", type=Path, help="file list, where the JSON beside the features has none"
    )
    parser.add_argument("--copy", action="store_true", help="copy the images instead of linking to them")
    parser.add_argument(
        "--photos", action="store_true", help="export each person's photos instead of the crops"
    )
    parser.add_argument(
        "--output",
        type=cli.output_path,
        help="folder or file to write (default: export, export.csv, export.json or sidecars)",
    )
    return parser


def main(args: argparse.Namespace) -> None:
    """Read clusters and paths, join them, write."""
    from pipeline import exports
    from pipeline.files.clusters import read_clusters, refuse_other_rows
    from pipeline.files.features import read_feature_json
    from pipeline.files.locks import only_run
    from pipeline.groups import people_in_words
    from pipeline.sidecars import TOP, write_sidecars

    output = args.output or Path(DEFAULT_OUTPUT[args.to])
    if args.photos and args.to != "folders":
        raise UsageError(f"--photos: is for --to folders; --to {args.to} names photos where they are known")
    cli.refuse_overwriting([output], [args.clusters, args.clusters.with_suffix(".json"), args.features])
    clusters = read_clusters(args.clusters)
    meta = read_feature_json(args.features)
    confidence, names, ids, hidden = exports.read_confidence(args.clusters, len(clusters), meta)
    filelist = exports.read_listed(args.filelist, args.features, meta)
    refuse_other_rows(args.clusters, clusters.members, len(filelist.names), filelist.path)
    faces = list(exports.join(clusters, filelist, confidence, names, ids, hidden))
    if args.photos:
        faces = exports.with_photos_alone(faces, filelist.path)
    said = people_in_words(clusters, hidden, len(filelist.names))
    kept: list[Path] = []
    with only_run(output.resolve().parent):
        if args.to in ("folders", "xmp"):
            exports.refuse_images_in(output, [*filelist.paths, *(face.path for face in faces)])
        if args.to == "folders":
            kept, missing = exports.write_folders(output, faces, len(clusters), args.copy)
            if missing:
                said += f"; {count(len(missing), 'image')} not found, listed in {output / exports.MISSING}"
        elif args.to == "csv":
            exports.write_csv(output, faces)
        elif args.to == "json":
            exports.write_table_json(output, faces)
        else:
            kept, written = write_sidecars(output, faces)
            said += f", {count(written, 'sidecar')}"
    if kept:
        log(
            f"{output}: kept {count(len(kept), 'file')} not written by an export, changed since, or of an "
            f"image that is gone: the first is {kept[0]}"
        )
    following = f"; next: copy what is in {output / TOP} beside the photos" if args.to == "xmp" else ""
    log(f"wrote {output}: {said}, in {elapsed():.1f} s{following}")


if __name__ == "__main__":
    hint = "run the same command again: it goes on where it stopped"
    sys.exit(cli.run(main, get_parser(), resume_hint=hint))
