"""The stages on a GPU beside the processor of the same machine, in absolute figures.

Faces of synthetic.py for search and prediction, drawn images for extraction. The processor's runs see
no GPU.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --faces 584013 --images 50000
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import cli
from common.errors import EnvironmentFault
from common.threads import usable_cores

import torch
from grow import searching
from speed import BENCHMARKS, DIM, REPOSITORY, Ran, run

from pipeline.files.clusters import read_clusters
from pipeline.files.labels import read_labels
from pipeline.groups import labels_from_groups
from pipeline.metrics import evaluate, own_clusters

FEW = 512  # images whose time is that of the start
EXAMPLES = "  python benchmarks/gpu.py --faces 584013 --images 50000"


@dataclass(frozen=True)
class Device:
    """Where a stage runs: its name, and what hides the GPU from it."""

    name: str
    hides: dict[str, str]


DEVICES = (Device("cpu", {"CUDA_VISIBLE_DEVICES": ""}), Device("cuda", {}))


def run_on(device: Device, *command: str | Path, cwd: Path) -> Ran:
    """Run a script with a GPU or without."""
    with patch.dict(os.environ, device.hides):
        return run(*command, cwd=cwd)


def measure_extraction(count: int, device: Device, cwd: Path) -> str:
    """Images a second, without the start."""
    paths = [str(path.resolve()) for path in sorted((cwd / "demo/faces").iterdir())]
    seconds = []
    for images in (FEW, FEW + count):
        (cwd / "images.txt").write_text("".join(f"{paths[n % len(paths)]}\n" for n in range(images)))
        options = ("images.txt", "--restart", "--device", device.name, "--output", "images.bin")
        seconds.append(run_on(device, REPOSITORY / "extract.py", *options, cwd=cwd).seconds)
    return f"{count / (seconds[1] - seconds[0]):,.0f} images/s"


def measure_stages(device: Device, search: str, cwd: Path) -> tuple[str, ...]:
    """Seconds of search, of all proposals and of prediction, and what the search was, with the score."""
    options = ("--restart", "--search", search, "--profile")
    proposals = run_on(device, REPOSITORY / "proposal.py", *options, cwd=cwd)
    prediction = run_on(device, REPOSITORY / "predict.py", "--restart", "--device", device.name, cwd=cwd)
    method = json.loads((cwd / "super_vertex/manifest.json").read_text())["search"]["method"]
    labels = read_labels(cwd / "feature_labels.txt")
    found = labels_from_groups(read_clusters(cwd / "clusters.txt"), len(labels))
    f = 100 * evaluate(labels, own_clusters(found)).bcubed.f
    seconds = searching(proposals), proposals.seconds, prediction.seconds
    return *(f"{value:.1f}" for value in seconds), f"{method}; BCubed F {f:.2f}"


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this benchmark."""
    parser = cli.make_parser("gpu.py", "The stages on a GPU and without.", EXAMPLES)
    parser.add_argument(
        "--faces", type=cli.at_least(1), nargs="+", default=[200_000], help="numbers of faces"
    )
    parser.add_argument("--images", type=cli.at_least(1), default=20_000, help="images to extract")
    parser.add_argument("--search", nargs=2, default=["auto", "exact"], help="without a GPU, and with one")
    return parser


def main(args: argparse.Namespace) -> None:
    """Measure, print the tables."""
    if not torch.cuda.is_available():
        raise EnvironmentFault("no GPU that torch can use: run this where there is one")
    print(f"{torch.cuda.get_device_name()}, {usable_cores()} cores\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        cwd = Path(folder)
        run(REPOSITORY / "scripts/draw_sample.py", "--output", "demo", cwd=cwd)
        for device in DEVICES:
            print(f"{device.name}: {measure_extraction(args.images, device, cwd)}", flush=True)
        print(
            "\n| faces | device | search s | proposals s | prediction s | search |\n|---|---|---|---|---|---|"
        )
        for faces in args.faces:
            shutil.rmtree(cwd / "super_vertex", ignore_errors=True)
            synthetic = ("--count", str(faces), "--dim", str(DIM), "--output", "feature.bin")
            run(BENCHMARKS / "synthetic.py", *synthetic, cwd=cwd)
            for device, search in zip(DEVICES, args.search, strict=True):
                row = measure_stages(device, search, cwd)
                print(f"| {faces:,} | {device.name} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    sys.exit(cli.run(main, get_parser()))
