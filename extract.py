"""Turn each image of a file list into a feature with a pretrained face network.

Reads the file list and its images; writes feature.bin (float32, a row a line of the list) and
feature.json. A run that was stopped goes on where it was, and of a list that has grown at its end
only the new lines are computed.

    python extract.py faces.txt --output feature.bin
"""

import argparse
import hashlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import cli
from common.errors import InputError
from common.progress import bar, say

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from model.backbones import BACKBONES, Backbone, Preprocessing, load_backbone
from model.device import choose_device
from pipeline.filelist import FileList, read_filelist
from pipeline.files import digest_file, only_run
from pipeline.formats import feature_json_path, read_features, read_json, write_json
from pipeline.images import CROPS, frame_box, read_face
from pipeline.journal import FeatureJournal, drop_journal

EXAMPLES = """  sh run_preprocess.sh faces.txt
  sh run_preprocess.sh faces.txt --crop dlib
  sh run_preprocess.sh faces.txt --model iresnet50 --weights backbone.pth"""
COMMAND = "sh run_preprocess.sh FILELIST"
# What feature.json and a journal must agree on with a run for its rows to be used again.
SAME = ("model", "crop", "weights_sha256", "dim")


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this stage."""
    parser = cli.make_parser("run_preprocess.sh", "Turn each image of a file list into a feature.", EXAMPLES)
    parser.add_argument(
        "filelist", type=Path, metavar="FILELIST", help="text file with one image path a line"
    )
    parser.add_argument("--model", choices=list(BACKBONES), default="dlib", help="face network")
    parser.add_argument("--weights", type=Path, help="the network's weights; not needed for dlib")
    parser.add_argument("--crop", choices=CROPS, default="arcface", help="how the images were aligned")
    parser.add_argument("--output", type=Path, default=Path("feature.bin"), help="features to write")
    parser.add_argument("--batch-size", type=cli.positive_int, default=64, help="images in one forward")
    parser.add_argument(
        "--workers",
        type=cli.non_negative_int,
        help="processes that decode images (default: half the cores)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--strict", action="store_true", help="make an unreadable image an error")
    parser.add_argument("--restart", action="store_true", help="compute every line anew")
    return parser


def main(args: argparse.Namespace) -> None:
    """Read the list, compute what is not there yet, write."""
    started = time.monotonic()
    device = choose_device(args.device)
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
    with only_run(args.output.resolve().parent):
        if args.restart:
            drop_journal(args.output)
        finished = {} if args.restart else finished_run(args.output, run, filelist)
        if finished.get("count") == run["count"]:
            refuse_unreadable(args, finished["unreadable"], run["count"])
            say(f"{args.output}: is done already; --restart computes it anew; next: sh run_proposal.sh")
            return
        journal = FeatureJournal(
            args.output, run | {"batch_size": args.batch_size, "device": device.type}, backbone.dim
        )
        try:
            if finished and not journal.done:
                journal.append(read_features(args.output).rows, finished["unreadable"])
            before = journal.done
            extract(args, filelist, backbone, device, journal)
            refuse_unreadable(args, journal.unreadable, run["count"])
            unreadable = journal.unreadable
            journal.finish(args.output)
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
    seconds = time.monotonic() - started
    say(
        f"{args.output}: {run['count']} images, {len(unreadable)} of them unreadable, in {seconds:.1f} s "
        f"({(run['count'] - before) / seconds:.0f} a second); next: sh run_proposal.sh"
    )


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
    return meta if meta.get("feature_sha256") == digest_file(output) else {}


def extract(
    args: argparse.Namespace,
    filelist: FileList,
    backbone: Backbone,
    device: torch.device,
    journal: FeatureJournal,
) -> None:
    """Compute the rows from `journal.done` on and append them batch by batch."""
    network = backbone.network.to(device, memory_format=torch.channels_last)
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    network = network.to(dtype)
    mean, scale = (
        torch.tensor(values, device=device).view(1, 3, 1, 1)
        for values in (backbone.preprocessing.mean, backbone.preprocessing.scale)
    )
    first = journal.done
    with bar(len(filelist.paths) - first, "features", "images") as progress, torch.inference_mode():
        for faces, reasons in face_batches(args, filelist.paths[first:], backbone.preprocessing, device):
            pixels = faces.to(device, non_blocking=True).permute(0, 3, 1, 2)
            inputs = ((pixels - mean) / scale).to(dtype, memory_format=torch.channels_last)
            features = network(inputs).float().cpu().numpy()
            failed = [place for place, reason in enumerate(reasons) if reason]
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


def refuse_unreadable(args: argparse.Namespace, unreadable: list[dict[str, Any]], count: int) -> None:
    """No readable image at all is an error, and any unreadable one with --strict."""
    if unreadable and (args.strict or len(unreadable) == count):
        first = unreadable[0]
        what = (
            "no image could be read" if len(unreadable) == count else f"{len(unreadable)} images unreadable"
        )
        raise InputError(f"{args.filelist}: {what}; the first is {first['path']}: {first['reason']}")


class Faces(Dataset):
    """The images of a list as (uint8 (size, size, 3), reason): black and a reason where unreadable."""

    def __init__(self, paths: list[Path], crop: str, preprocessing: Preprocessing) -> None:
        self.paths = [str(path) for path in paths]
        self.size = preprocessing.size
        self.box = frame_box(crop, preprocessing.frame)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray, str]:
        try:
            return read_face(Path(self.paths[index]), self.size, self.box), ""
        except InputError as reason:
            return np.zeros((self.size, self.size, 3), np.uint8), str(reason)


def face_batches(
    args: argparse.Namespace, paths: list[Path], preprocessing: Preprocessing, device: torch.device
) -> Iterator[tuple[torch.Tensor, list[str]]]:
    """Batches of decoded faces, uint8 (B, size, size, 3), and why one could not be read."""
    workers = max(1, (os.cpu_count() or 2) // 2) if args.workers is None else args.workers
    loader = DataLoader(
        Faces(paths, args.crop, preprocessing),
        batch_size=args.batch_size,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=ignore_interrupt,
        pin_memory=device.type == "cuda",
        prefetch_factor=4 if workers else None,
    )
    yield from loader


def collate(faces: list[tuple[np.ndarray, str]]) -> tuple[torch.Tensor, list[str]]:
    """Join decoded faces to a batch."""
    return torch.from_numpy(np.stack([face for face, _ in faces])), [reason for _, reason in faces]


def ignore_interrupt(_worker: int) -> None:
    """Leave Ctrl-C to the main process, which ends the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


if __name__ == "__main__":
    hint = "run the same command again: it goes on where it stopped"
    sys.exit(cli.run(main, get_parser(), resume_hint=hint))
