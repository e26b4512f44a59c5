"""Turn each image of a file list into a feature with a pretrained face network.

Reads the file list and its images; writes feature.bin (float32, a row a line of the list) and
feature.json. A run that was stopped goes on where it was, and of a list that has grown at its end
only the new lines are computed.

    python extract.py faces.txt --output feature.bin
"""

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from common import cli
from common.profile import step
from common.progress import log

from distributed.engine import add_engine_options, check_engine, engine
from model.names import BACKBONE_NAMES
from pipeline.defaults import CROPS

EXAMPLES = """  sh run_preprocess.sh faces.txt
  sh run_preprocess.sh faces.txt --crop dlib
  sh run_preprocess.sh faces.txt --model iresnet50 --weights backbone.pth"""


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this stage."""
    parser = cli.make_parser("run_preprocess.sh", "Turn each image of a file list into a feature.", EXAMPLES)
    parser.add_argument(
        "filelist", type=Path, metavar="FILELIST", help="text file with one image path a line"
    )
    parser.add_argument("--model", choices=BACKBONE_NAMES, default="dlib", help="face network")
    parser.add_argument("--weights", type=Path, help="the network's weights; not needed for dlib")
    parser.add_argument("--crop", choices=CROPS, default="arcface", help="how the images were aligned")
    parser.add_argument(
        "--output", type=cli.output_beside_json, default=Path("feature.bin"), help="features to write"
    )
    parser.add_argument("--batch-size", type=cli.at_least(1), default=32, help="images in one forward")
    parser.add_argument(
        "--workers",
        type=cli.at_least(1),
        help="threads that decode images and run the network (default: one a core)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add_engine_options(parser)
    parser.add_argument("--strict", action="store_true", help="make an unreadable image an error")
    parser.add_argument("--restart", action="store_true", help="compute every line anew")
    return parser


def main(args: argparse.Namespace) -> None:
    """Read the list, compute what is not there yet, write."""
    started = time.monotonic()
    check_engine(args)
    from pipeline.files.atomic import digest_file
    from pipeline.files.features import feature_json_path, read_features
    from pipeline.files.filelist import read_filelist
    from pipeline.files.journal import FeatureJournal, drop_journal
    from pipeline.files.json_object import write_json
    from pipeline.files.locks import only_run

    cli.refuse_overwriting([args.output, feature_json_path(args.output)], [args.filelist])
    filelist = read_filelist(args.filelist)
    with step("load the face network"):
        from model.backbones import load_backbone
        from stages import extraction

        backbone = load_backbone(args.model, args.weights)
    run: dict[str, Any] = {
        "model": args.model,
        "crop": args.crop,
        "dim": backbone.dim,
        "weights_sha256": digest_file(backbone.weights),
        "count": len(filelist.names),
        "names_sha256": extraction.digest_names(filelist.names),
    }
    with only_run(args.output.resolve().parent):
        if args.restart:
            drop_journal(args.output)
        finished = {} if args.restart else extraction.finished_run(args.output, run, filelist)
        if finished.get("count") == run["count"]:
            extraction.refuse_unreadable(finished["unreadable"], filelist, args.strict)
            log(
                f"{args.output}: is done already, {len(finished['unreadable'])} of its images unreadable; "
                "--restart computes it anew; next: sh run_proposal.sh"
            )
            return
        with engine(args) as machines:
            device = machines.device(args.device)
            run_here = run | {"device": device.type}
            journal = FeatureJournal(
                args.output,
                run_here,
                backbone.dim,
                lambda stopped: extraction.differences(stopped, run_here, filelist),
            )
            try:
                if finished:
                    extraction.take_over(journal, read_features(args.output).rows, finished["unreadable"])
                before = journal.done
                make = partial(extraction.feature_maker, args.crop, backbone, device)
                extraction.compute_rows(
                    filelist,
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
        write_json(
            feature_json_path(args.output),
            {"format": 1}
            | run
            | {
                "filelist": str(args.filelist.resolve()),
                "filelist_sha256": digest_file(args.filelist),
                "feature_sha256": digest_file(args.output),
                "unreadable": unreadable,
            },
        )
        drop_journal(args.output)
    seconds = time.monotonic() - started
    log(
        f"{args.output}: {run['count']} images, {len(unreadable)} of them unreadable, in {seconds:.1f} s "
        f"({(run['count'] - before) / seconds:.0f} a second); next: sh run_proposal.sh"
    )


if __name__ == "__main__":
    hint = "run the same command again: it goes on where it stopped"
    sys.exit(cli.run(main, get_parser(), resume_hint=hint))
