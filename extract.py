"""Turn each image of a file list into a feature with a pretrained face network.

Reads the file list and its images; writes feature.bin (float32, a row a line of the list) and
feature.json. A run that was stopped goes on where it was, and of a list that has grown at its end
only the new lines are computed.

    python extract.py faces.txt --output feature.bin
"""

import argparse
import hashlib
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from common import cli
from common.errors import InputError
from common.progress import bar, say
from common.threads import in_threads

import numpy as np
import torch

from distributed.engine import add_engine_options, check_engine, engine
from model.backbones import BACKBONES, Backbone, load_backbone
from model.device import choose_device, keep_to_one_thread
from pipeline.files.atomic import digest_file
from pipeline.files.calibration import calibration_json, known_calibration
from pipeline.files.features import SCAN_ROWS, feature_json_path, is_unreadable_list, read_features
from pipeline.files.filelist import FileList, read_filelist
from pipeline.files.journal import FeatureJournal, drop_journal
from pipeline.files.json_object import read_json, write_json
from pipeline.files.locks import only_run
from pipeline.images import CROPS, frame_box, read_face

EXAMPLES = """  sh run_preprocess.sh faces.txt
  sh run_preprocess.sh faces.txt --crop dlib
  sh run_preprocess.sh faces.txt --model iresnet50 --weights backbone.pth"""
COMMAND = "sh run_preprocess.sh FILELIST"
# What feature.json and a journal must agree on with a run for its rows to be used again.
SAME = ("model", "crop", "weights_sha256", "dim")
Piece = tuple[np.ndarray, list[str]]


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this stage."""
    parser = cli.make_parser("run_preprocess.sh", "Turn each image of a file list into a feature.", EXAMPLES)
    parser.add_argument(
        "filelist", type=Path, metavar="FILELIST", help="text file with one image path a line"
    )
    parser.add_argument("--model", choices=list(BACKBONES), default="dlib", help="face network")
    parser.add_argument("--weights", type=Path, help="the network's weights; not needed for dlib")
    parser.add_argument("--crop", choices=CROPS, default="arcface", help="how the images were aligned")
    parser.add_argument(
        "--output", type=cli.output_beside_json, default=Path("feature.bin"), help="features to write"
    )
    parser.add_argument("--batch-size", type=cli.positive_int, default=32, help="images in one forward")
    parser.add_argument(
        "--workers",
        type=cli.positive_int,
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
    cli.refuse_overwriting([args.output, feature_json_path(args.output)], [args.filelist])
    check_engine(args)
    filelist = read_filelist(args.filelist)
    backbone = load_backbone(args.model, args.weights)
    run: dict[str, Any] = {
        "model": args.model,
        "crop": args.crop,
        "dim": backbone.dim,
        "weights_sha256": digest_file(backbone.weights),
        "count": len(filelist.names),
        "names_sha256": digest_names(filelist.names),
    }
    known = known_calibration(run["weights_sha256"], args.crop)
    with only_run(args.output.resolve().parent):
        if args.restart:
            drop_journal(args.output)
        finished = {} if args.restart else finished_run(args.output, run, filelist)
        if finished.get("count") == run["count"]:
            refuse_unreadable(args, finished["unreadable"], run["count"])
            say(
                f"{args.output}: is done already, {len(finished['unreadable'])} of its images unreadable; "
                "--restart computes it anew; next: sh run_proposal.sh"
            )
            return
        with engine(args):
            device = device_of_engine(args)
            run_here = run | {"device": device.type}
            journal = FeatureJournal(
                args.output, run_here, backbone.dim, lambda stopped: differences(stopped, run_here, filelist)
            )
            try:
                if finished:
                    take_over(journal, read_features(args.output).rows, finished["unreadable"])
                before = journal.done
                extract(args, filelist, backbone, device, journal)
                unreadable = journal.unreadable
                if len(unreadable) == run["count"]:
                    drop_journal(args.output)  # another run must look at the images again
                refuse_unreadable(args, unreadable, run["count"])
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
                **({"calibration": calibration_json(known)} if known else {}),
            },
        )
        drop_journal(args.output)
    seconds = time.monotonic() - started
    say(
        f"{args.output}: {run['count']} images, {len(unreadable)} of them unreadable, in {seconds:.1f} s "
        f"({(run['count'] - before) / seconds:.0f} a second); next: sh run_proposal.sh"
    )


def device_of_engine(args: argparse.Namespace) -> torch.device:
    """Where the network runs: on this machine, or on those of the cluster."""
    if args.engine == "local":
        return choose_device(args.device)
    from distributed.extract import choose_cluster_device

    return choose_cluster_device(args.device)


def digest_names(names: list[str]) -> str:
    """SHA-256 of the names of a file list, however its lines end."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def finished_run(output: Path, run: dict[str, Any], filelist: FileList) -> dict[str, Any]:
    """The JSON of a finished output for the first lines of this list, or nothing."""
    if not (output.exists() and feature_json_path(output).exists()):
        return {}
    meta = read_json(feature_json_path(output), f"{COMMAND} --restart")
    count = meta.get("count")
    same = all(meta.get(name) == run[name] for name in SAME)
    if not same or not isinstance(count, int) or not 0 < count <= run["count"]:
        return {}
    if meta.get("names_sha256") != digest_names(filelist.names[:count]):
        return {}
    if not is_unreadable_list(meta.get("unreadable")):
        return {}
    return meta if meta.get("feature_sha256") == digest_file(output) else {}


def differences(stopped: dict[str, Any], run: dict[str, Any], filelist: FileList) -> list[str]:
    """What of a stopped run this one cannot go on with, in words; its list may have grown since."""
    words = {"model": "--model {}", "crop": "--crop {}", "device": "--device {}"}
    changed = [
        text.format(stopped.get(name)) for name, text in words.items() if stopped.get(name) != run[name]
    ]
    if stopped.get("weights_sha256") != run["weights_sha256"] and stopped.get("model") == run["model"]:
        changed.append("other --weights")
    count = stopped.get("count")
    names = filelist.names[:count] if isinstance(count, int) else []
    if count != len(names) or stopped.get("names_sha256") != digest_names(names):
        changed.append(f"another file list, of {count} images")
    return changed


def take_over(journal: FeatureJournal, rows: np.ndarray, unreadable: list[dict[str, Any]]) -> None:
    """Go on with the rows of a finished run whose list has grown."""
    for start in range(journal.done, len(rows), SCAN_ROWS):
        end = min(start + SCAN_ROWS, len(rows))
        journal.append(rows[start:end], [entry for entry in unreadable if start <= entry["row"] < end])


def extract(
    args: argparse.Namespace,
    filelist: FileList,
    backbone: Backbone,
    device: torch.device,
    journal: FeatureJournal,
) -> None:
    """Compute the rows from `journal.done` on and append them piece by piece."""
    paths = filelist.paths[journal.done :]
    batches = [paths[start : start + args.batch_size] for start in range(0, len(paths), args.batch_size)]
    with bar(len(paths), "features", "images") as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # for all threads: what Pillow warns of, `read_face` reports
        for features, reasons in feature_pieces(args, batches, backbone, device):
            failed = [place for place, reason in enumerate(reasons) if reason]
            if failed and args.strict:
                name = filelist.names[journal.done + failed[0]]
                raise InputError(f"{name}: {reasons[failed[0]]}: mend it and run the same command again")
            features[failed] = 0
            if not np.isfinite(features).all():
                row = journal.done + int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
                raise InputError(f"{filelist.names[row]}: the network gives NaN or Inf: check --weights")
            journal.append(
                features,
                [
                    {
                        "row": journal.done + place,
                        "path": filelist.names[journal.done + place],
                        "reason": reasons[place],
                    }
                    for place in failed
                ],
            )
            progress.update(len(reasons))


def feature_pieces(
    args: argparse.Namespace, batches: list[list[Path]], backbone: Backbone, device: torch.device
) -> Iterator[Piece]:
    """What `feature_maker` gives for batches in order, from threads or from a cluster."""
    if args.engine == "ray":
        from distributed.extract import in_actors

        return in_actors(partial(feature_maker, args.crop, backbone, device), batches, device)
    return in_threads(feature_maker(args.crop, backbone, device), batches, args.workers)


def feature_maker(crop: str, backbone: Backbone, device: torch.device) -> Callable[[list[Path]], Piece]:
    """A function from image files to their features, float32 (B, dim), and why one could not be read.

    Threads may call it side by side.
    """
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    network = backbone.network.to(device, dtype, memory_format=torch.channels_last)
    size, box = backbone.preprocessing.size, frame_box(crop, backbone.preprocessing.frame)
    mean, scale = (
        np.tile(np.float32(values), (size, 1))  # a row of pixels: long enough to be quick
        for values in (backbone.preprocessing.mean, backbone.preprocessing.scale)
    )

    def compute(paths: list[Path]) -> tuple[np.ndarray, list[str]]:
        keep_to_one_thread()
        inputs, reasons = np.zeros((len(paths), size, size, 3), np.float32), [""] * len(paths)
        for place, path in enumerate(paths):
            try:
                # One by one, while its pixels are in the processor's cache.
                np.subtract(read_face(path, size, box), mean, out=inputs[place])
                inputs[place] /= scale
            except InputError as reason:
                reasons[place] = str(reason)
        with torch.inference_mode():
            # As channels last, so that nothing is moved.
            pictures = torch.from_numpy(inputs).to(device, dtype).permute(0, 3, 1, 2)
            return network(pictures).float().cpu().numpy(), reasons

    return compute


def refuse_unreadable(args: argparse.Namespace, unreadable: list[dict[str, Any]], count: int) -> None:
    """No readable image at all is an error, and any unreadable one with --strict."""
    if len(unreadable) == count:
        what = "no image could be read"
    elif unreadable and args.strict:
        what = f"{len(unreadable)} images were unreadable (--restart looks at them again)"
    else:
        return
    first = unreadable[0]
    raise InputError(f"{args.filelist}: {what}; the first is {first['path']}: {first['reason']}")


if __name__ == "__main__":
    hint = "run the same command again: it goes on where it stopped"
    sys.exit(cli.run(main, get_parser(), resume_hint=hint))
