"""Turn each image of a file list into a feature with a pretrained face network.

Reads the file list and its images; writes feature.bin (float32, one row per line of the list),
feature.json, and feature.images, by which later runs recognize images. A stopped run goes on where it was,
and when the list has changed, only new and changed images are computed.

    python extract.py faces.txt --output feature.bin
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # which PYTHONSAFEPATH leaves out

from common import cli
from common.profile import step
from common.progress import elapsed, log

from distributed.engine import add_engine_options, check_engine, engine
from model.names import BACKBONE_NAMES
from pipeline.defaults import CROPS

EXAMPLES = """  sh run_preprocess.sh faces.txt
  sh run_preprocess.sh faces.txt --crop dlib
  sh run_preprocess.sh faces.txt --model iresnet50 --weights backbone.pth"""
NEXT = "next: sh run_proposal.sh"


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this stage."""
    parser = cli.make_parser("run_preprocess.sh", "Turn each image of a file list into a feature.", EXAMPLES)
    parser.add_argument(
        "filelist", type=Path, metavar="FILELIST", help="text file with one image path per line"
    )
    parser.add_argument("--model", choices=BACKBONE_NAMES, default="dlib", help="face network")
    parser.add_argument("--weights", type=Path, help="the network's weights; not needed for dlib")
    parser.add_argument(
        "--crop", choices=CROPS, default="arcface", help="how the images were aligned; none spoils the result"
    )
    parser.add_argument(
        "--output", type=cli.output_beside_json, default=Path("feature.bin"), help="features to write"
    )
    parser.add_argument("--batch-size", type=cli.at_least(1), default=32, help="images in one forward pass")
    parser.add_argument(
        "--workers",
        type=cli.at_least(1),
        help="processes that decode images and, without a GPU, run the network (default: one per core)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add_engine_options(parser)
    parser.add_argument("--strict", action="store_true", help="make an unreadable image an error")
    parser.add_argument("--restart", action="store_true", help="compute every image again")
    return parser


def main(args: argparse.Namespace) -> None:
    """Read the list, compute what is not there yet, write."""
    check_engine(args)
    from pipeline.files.atomic import digest_file, refuse_foreign
    from pipeline.files.calibration import calibration_json, known_calibration
    from pipeline.files.features import feature_json_path
    from pipeline.files.filelist import read_filelist
    from pipeline.files.image_records import image_records_path, look_at_images
    from pipeline.files.journal import FeatureJournal, drop_journal, journal_path
    from pipeline.files.json_object import write_json
    from pipeline.files.locks import only_run

    outputs = [args.output, feature_json_path(args.output), image_records_path(args.output)]
    cli.refuse_overwriting(outputs, [args.filelist])
    filelist = read_filelist(args.filelist)
    with step("load the face network"):
        from model.backbones import load_backbone
        from stages import extraction
        from stages.alignment import find_unaligned

        backbone = load_backbone(args.model, args.weights)
    run: dict[str, Any] = {
        "model": args.model,
        "crop": args.crop,
        "dim": backbone.dim,
        "weights_sha256": digest_file(backbone.weights),
        "count": len(filelist.names),
    }
    known = known_calibration(run["weights_sha256"], args.crop)
    made_from = {"filelist": str(args.filelist.resolve()), "filelist_sha256": filelist.sha256}
    images = look_at_images(filelist.paths)
    with only_run(args.output.resolve().parent):
        if not journal_path(args.output).exists():  # a killed run's outputs have no JSON yet
            for output in outputs:
                refuse_foreign(output, b'"weights_sha256"', feature_json_path(args.output))
        if args.restart:
            drop_journal(args.output)
        finished, earlier = ({}, []) if args.restart else extraction.finished_run(args.output, run)
        plan = extraction.plan_rows(filelist, images, earlier)
        if finished and extraction.is_unchanged(plan, finished, filelist):
            extraction.refuse_unreadable(finished["unreadable"], filelist, args.strict)
            doubtful = extraction.known_unaligned(finished) + extraction.doubtful(images, filelist)
            extraction.warn_of_doubtful(doubtful)
            if finished | made_from != finished:
                write_json(feature_json_path(args.output), finished | made_from)
            words = extraction.unreadable_in_words(finished["unreadable"], args.output)
            log(f"{args.output}: is done already, {words}; --restart computes it anew; {NEXT}")
            return
        with engine(args) as machines:
            device = machines.device(args.device)
            run_here = run | {"device": device.type}
            journal = FeatureJournal(
                args.output,
                run_here,
                backbone.dim,
                images,
                lambda stopped: extraction.differences(stopped, run_here),
            )
            try:
                if journal.done or journal.set_aside:  # a stopped run has rows as well
                    earlier = [*earlier, *journal.set_aside]
                    plan = extraction.plan_rows(filelist, images, earlier, journal.done)
                before = journal.done
                unaligned = extraction.known_unaligned(finished)
                if len(plan.todo):
                    unaligned = find_unaligned(filelist, args.crop)
                make = partial(extraction.feature_maker, args.crop, backbone, device)
                extraction.write_rows(
                    filelist,
                    images,
                    plan,
                    journal,
                    args.batch_size,
                    args.strict,
                    lambda batches: machines.features(make, batches, device),
                )
                unreadable = journal.unreadable
                if len(unreadable) == run["count"]:
                    drop_journal(args.output)  # another run must look at the images again
                extraction.refuse_unreadable(unreadable, filelist, args.strict)
                journal.finish()
            finally:
                journal.close()
        digests = {
            "feature_sha256": digest_file(args.output),
            "images_sha256": digest_file(image_records_path(args.output)),
        }
        doubtful = extraction.doubtful(images, filelist)
        seen = {"unreadable": unreadable, "doubtful": unaligned + doubtful}
        meta = {"format": 2} | run | made_from | digests | seen
        if known:
            meta["calibration"] = calibration_json(known)
        write_json(feature_json_path(args.output), meta)
        drop_journal(args.output)
    extraction.warn_of_doubtful(doubtful)
    seconds = elapsed()
    log(
        f"{args.output}: {run['count']} images ({extraction.counted(plan, before)}), "
        f"{extraction.unreadable_in_words(unreadable, args.output)}, in {seconds:.1f} s "
        f"({len(plan.todo) / seconds:.0f} a second); {NEXT}"
    )


if __name__ == "__main__":
    hint = "run the same command again: it goes on where it stopped"
    sys.exit(cli.run(main, get_parser(), resume_hint=hint))
