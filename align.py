"""Find the faces in photos and align each to the ArcFace template: a crop of 112 x 112 pixels.

Reads photos, folders of them or a file list; writes the crops into faces/, their file list faces.txt for
run_preprocess.sh, and faces.json, which says for each crop its photo and where in it the face is. A stopped
run goes on where it was, and when photos are added only those are looked at.

    python align.py photos --output faces
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # which PYTHONSAFEPATH leaves out

from common import cli
from common.profile import step
from common.progress import elapsed, log, warn

EXAMPLES = """  sh run_align.sh photos
  sh run_align.sh photos more/party.jpg --min-face 48
  sh run_align.sh photos.txt --largest --output portraits"""


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this stage."""
    parser = cli.make_parser(
        "run_align.sh", "Find the faces in photos and align them, on this machine only.", EXAMPLES
    )
    parser.add_argument(
        "photos", type=Path, nargs="+", metavar="PHOTOS", help="folders, photos, or a file list of photos"
    )
    parser.add_argument(
        "--output",
        type=cli.output_path,
        default=Path("faces"),
        help="folder of crops to write, with .txt and .json beside it",
    )
    parser.add_argument(
        "--min-face", type=cli.at_least(8), default=32, help="smallest height of a face in pixels"
    )
    parser.add_argument(
        "--min-score", type=cli.at_least(0.0), default=0.3, help="lowest score of a face, up to 1"
    )
    parser.add_argument("--largest", action="store_true", help="keep only the largest face of each photo")
    parser.add_argument(
        "--turned",
        action="store_true",
        help="also look for faces in photos that lie on their side or upside down",
    )
    parser.add_argument("--format", choices=("png", "jpg"), default="png", help="format of the crops")
    parser.add_argument(
        "--workers", type=cli.at_least(1), help="threads, each with a photo (default: one per core)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--restart", action="store_true", help="align every photo again")
    return parser


def main(args: argparse.Namespace) -> None:
    """List the photos, find and align the faces of those not done yet, write."""
    from pipeline.files.atomic import digest_file, put_in_place, take_back
    from pipeline.files.faces import (
        beside,
        drop_journal,
        is_finished,
        open_journal,
        refuse_nothing_found,
        refuse_others,
        write_faces,
    )
    from pipeline.files.locks import only_run
    from pipeline.photos.listing import find_photos

    cli.refuse_overwriting([args.output, beside(args.output, ".txt")], args.photos)
    refuse_others(args.output)
    photos = find_photos(args.photos, besides=args.output)
    with step("load the detector"):
        from model.detector import SOURCE, find_detector_weights
        from model.device import choose_device
        from stages import alignment

        weights = find_detector_weights()
        device = choose_device(args.device)
    options = ("min_face", "min_score", "largest", "turned", "format")
    run = {"version": alignment.VERSION, "detector_sha256": digest_file(weights)}
    run |= {name: getattr(args, name) for name in options}
    with only_run(args.output.resolve().parent):
        take_back(args.output)
        if args.restart:
            drop_journal(args.output)
        finished, known = ([], {}) if args.restart else alignment.known_photos(args.output, run)
        compute = alignment.photo_aligner(run, args.output, weights, device, known)
        with open_journal(args.output, run, known.values()) as journal:
            entries, fresh = alignment.align_photos(
                args.output, photos, compute, known, journal, args.workers
            )
        refuse_nothing_found(args.photos, entries)
        if fresh or not is_finished(args.output, finished, entries):
            put_in_place(args.output)
            write_faces(args.output, {"detector": SOURCE, "made_with": run}, entries)
        drop_journal(args.output)
    unreadable = [entry for entry in entries if "sha256" not in entry]
    if unreadable:
        first = unreadable[0]
        warn(f"{len(unreadable)} photos could not be read: the first is {first['photo']}: {first['reason']}")
    seconds = elapsed()
    log(
        f"{args.output}.txt: {alignment.summary(entries, run)}, "
        + (f"in {seconds:.1f} s ({fresh / seconds:.1f} photos a second)" if fresh else "done already")
        + f"; next: sh run_preprocess.sh {args.output}.txt"
    )


if __name__ == "__main__":
    hint = "run the same command again: it goes on where it stopped"
    sys.exit(cli.run(main, get_parser(), resume_hint=hint))
