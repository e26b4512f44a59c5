"""Each stage's time over its floor and its peak memory over the input, and how both grow with the faces.

The stages run as users run them, one process each, on faces made by synthetic.py; the floors of
floors.py run between them. Extraction runs on real faces.

    python benchmarks/speed.py
    python benchmarks/speed.py --large        # 584,013 faces as well
    python benchmarks/speed.py --large --huge # and 5,200,000

Take a machine that does nothing else: all ratios are of one run, but another process slows a stage
and its floor by different amounts.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
BENCHMARKS = REPOSITORY / "benchmarks"
sys.path.insert(0, str(REPOSITORY))

from common import cli
from common.errors import InputError
from common.profile import memory
from common.progress import log
from common.threads import usable_cores

from floors import BATCH, RUNS

from pipeline.files.filelist import read_filelist

SIZES = (13_000, 50_000, 200_000)
LARGE = 584_013  # the images of MS-Celeb-1M that published systems are timed on
HUGE = 5_200_000
DIM = 256
SHORT = 50_000  # faces; of RUNS the quickest counts, as it does in the floors
POLL = 0.05  # seconds between looks at a process's memory
SHARED = REPOSITORY.parent / "shared"
EXAMPLES = """  python benchmarks/speed.py
  python benchmarks/speed.py --faces 13000 50000"""


@dataclass(frozen=True)
class Ran:
    """A finished process: its output, wall and processor seconds, and peak memory in MB."""

    output: str
    seconds: float
    processor: float
    peak: float


@dataclass(frozen=True)
class Size:
    """What was measured at one number of faces."""

    faces: int
    feature_megabytes: float
    search: dict[str, Any]
    faiss: dict[str, Any] | None
    networks: dict[str, Any]
    proposal: Ran
    prediction: Ran


@dataclass(frozen=True)
class Goal:
    """A value beside what it should reach; `most` says that it should not exceed it.

    `processor` is the same ratio of processor seconds, which a busy machine disturbs less.
    """

    name: str
    value: float
    bound: float
    most: bool = False
    processor: float | None = None

    def row(self) -> str:
        """A row of the table."""
        holds = self.value <= self.bound if self.most else self.value >= self.bound
        return (
            f"| {self.name} | {self.value:.2f} | {'' if self.processor is None else f'{self.processor:.2f}'} "
            f"| {'<=' if self.most else '>='} {self.bound:g} | {'yes' if holds else 'NO'} |"
        )


def run(*command: str | Path, cwd: Path) -> Ran:
    """Run a Python script; raises `InputError` with its last words where it fails."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", *map(str, command)], cwd=cwd, stdout=out, stderr=errors
        )
        # Not what the system says at its end: that counts this process, as it was at the fork, too.
        peak, ended = 0.0, 0
        while not ended:
            peak = np.fmax(peak, memory("VmHWM", process.pid))  # steps begin it anew
            time.sleep(POLL)
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        out.seek(0)
        errors.seek(0)
        if process.returncode:
            raise InputError(f"{command[0]}: {errors.read().decode(errors='replace').strip()[-300:]}")
        return Ran(out.read().decode(), seconds, used.ru_utime + used.ru_stime, float(peak))


def quickest(runs: int, *command: str | Path, cwd: Path) -> Ran:
    """The quickest of several runs."""
    return min((run(*command, cwd=cwd) for _ in range(runs)), key=lambda ran: ran.seconds)


def floor(name: str, *paths: Path, cwd: Path) -> dict[str, Any]:
    """What floors.py says."""
    return json.loads(run(BENCHMARKS / "floors.py", name, *paths, cwd=cwd).output.splitlines()[-1])


def measure_size(faces: int, cwd: Path) -> Size:
    """Make the faces, run both stages and their floors."""
    features, proposals = cwd / "feature.bin", cwd / "super_vertex"
    for path in (features, proposals):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    synthetic = ("--count", str(faces), "--dim", str(DIM), "--output", features)
    run(BENCHMARKS / "synthetic.py", *synthetic, cwd=cwd)
    runs = RUNS if faces <= SHORT else 1
    proposal = quickest(runs, REPOSITORY / "proposal.py", "--restart", cwd=cwd)
    searches = (floor("search", features, proposals, cwd=cwd) for _ in range(runs))
    search = min(searches, key=lambda alone: alone["seconds"])
    faiss = floor("faiss-ivf", features, proposals, cwd=cwd) if search["method"] == "ivf" else None
    prediction = quickest(runs, REPOSITORY / "predict.py", "--restart", cwd=cwd)
    networks = floor("graph-networks", features, proposals, cwd=cwd)
    return Size(faces, features.stat().st_size / 1e6, search, faiss, networks, proposal, prediction)


def measure_extraction(filelist: Path, cwd: Path) -> list[Goal]:
    """The first stage, without its start, beside its floors and goals."""
    few = cwd / "few.txt"
    paths = read_filelist(filelist).paths
    begun = BATCH * usable_cores()  # a batch for each thread: the floors are warmed up, too
    if len(paths) <= begun:
        raise InputError(f"{filelist}: has {len(paths)} images: more than {begun} are needed to time them")
    few.write_text("".join(f"{path.resolve()}\n" for path in paths[:begun]))
    script = REPOSITORY / "extract.py"
    start = quickest(RUNS, script, few, "--restart", "--output", cwd / "few.bin", cwd=cwd)
    alone = floor("network", filelist.resolve(), cwd=cwd)
    whole = quickest(RUNS, script, filelist.resolve(), "--restart", "--output", cwd / "faces.bin", cwd=cwd)
    image = (whole.seconds - start.seconds) / (len(paths) - begun)
    image_processor = (whole.processor - start.processor) / (len(paths) - begun)
    log(
        f"an image, ms: extraction {1e3 * image:.2f} (processor {1e3 * image_processor:.2f}), bare forward "
        f"{1e3 * alone['forward']:.2f} ({1e3 * alone['forward_processor']:.2f}); GFLOP/s: forward "
        f"{alone['forward_flops'] / 1e9:.0f}, matrices {alone['matrix_flops'] / 1e9:.0f}"
    )
    goals = [
        Goal(
            "extraction / bare forward, images a second",
            alone["forward"] / image,
            0.9,
            processor=alone["forward_processor"] / image_processor,
        ),
        Goal(
            "forward / float32 matrix peak, FLOP/s",
            alone["forward_flops"] / alone["matrix_flops"],
            0.5,
            processor=alone["forward_flops_processor"] / alone["matrix_flops_processor"],
        ),
    ]
    if alone["dlib"]:
        ratio, processor = alone["dlib"] / image, alone["dlib_processor"] / image_processor
        goals.append(Goal("extraction / dlib's own call, images a second", ratio, 20, processor=processor))
    else:
        log("dlib is not installed, so its own call is not timed: pip install dlib-bin")
    return goals


def size_goals(size: Size) -> list[Goal]:
    """The stages at one size beside the goals that are set for it."""
    goals = []
    if size.faces == 50_000:
        alone = size.search
        goals = [
            Goal(
                f"50,000: {stage} stage / search alone",
                ran.seconds / alone["seconds"],
                most,
                True,
                ran.processor / alone["processor"],
            )
            for stage, ran, most in (("proposal", size.proposal, 1.25), ("prediction", size.prediction, 1.0))
        ]
    if size.faces == LARGE:
        peak = max(size.proposal.peak, size.prediction.peak)
        minutes = (size.proposal.seconds + size.prediction.seconds) / 60
        processor = (size.proposal.processor + size.prediction.processor) / usable_cores()
        goals = [
            Goal("584,013: peak memory / feature.bin", peak / size.feature_megabytes, 3, True),
            Goal("584,013: minutes to clusters.txt", minutes, 30, True, processor / 60),
        ]
    return goals


def table_of_sizes(sizes: list[Size]) -> list[str]:
    """Times, ratios and memory of each size, and the exponents of growth."""
    lines = [
        "| faces | search alone s | faiss's IVF s | proposals s | over search | prediction s | over search "
        "| over bare GCN | peak MB, proposals | prediction | over feature.bin |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for size in sizes:
        alone, peak = size.search["seconds"], max(size.proposal.peak, size.prediction.peak)
        lines.append(
            f"| {size.faces:,} ({size.search['method']}) | {alone:.1f} "
            f"| {size.faiss['seconds'] if size.faiss else 0:.1f} "
            f"| {size.proposal.seconds:.1f} | {size.proposal.seconds / alone:.2f} "
            f"| {size.prediction.seconds:.1f} | {size.prediction.seconds / alone:.2f} "
            f"| {size.prediction.seconds / size.networks['seconds']:.1f} "
            f"| {size.proposal.peak:.0f} | {size.prediction.peak:.0f} "
            f"| {peak / size.feature_megabytes:.2f} |"
        )
    if len(sizes) > 1:
        columns = {
            "search alone": [size.search["seconds"] for size in sizes],
            "proposals": [size.proposal.processor for size in sizes],
            "proposals less search": [
                max(size.proposal.seconds - size.search["seconds"], 0.1) for size in sizes
            ],
            "prediction": [size.prediction.processor for size in sizes],
            "peak of proposals": [size.proposal.peak for size in sizes],
            "peak of prediction": [size.prediction.peak for size in sizes],
        }
        faces = [size.faces for size in sizes]
        fitted = ", ".join(f"{name} {exponent(faces, values):.2f}" for name, values in columns.items())
        lines += ["", f"Grows as the number of faces to the power of: {fitted}."]
    return lines


def exponent(faces: list[int], values: list[float]) -> float:
    """The slope of a straight line through the logarithms."""
    return float(np.polyfit([math.log(n) for n in faces], [math.log(value) for value in values], 1)[0])


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this benchmark."""
    parser = cli.make_parser("speed.py", "Time and memory of each stage over its floor.", EXAMPLES)
    parser.add_argument("--faces", type=cli.at_least(1), nargs="*", default=SIZES, help="numbers of faces")
    parser.add_argument("--large", action="store_true", help=f"{LARGE} faces as well")
    parser.add_argument(
        "--huge", action="store_true", help=f"{HUGE} faces as well: an hour, 13 GB of memory, 15 GB of disk"
    )
    parser.add_argument(
        "--images", type=Path, default=SHARED / "lfw" / "val.txt", help="file list for the first stage"
    )
    return parser


def main(args: argparse.Namespace) -> None:
    """Measure, print the tables."""
    goals: list[Goal] = []
    with tempfile.TemporaryDirectory() as folder:
        cwd = Path(folder)
        if args.images.exists():
            goals += measure_extraction(args.images, cwd)
        else:
            log(f"{args.images}: not found: extraction is left out; give --images a file list")
        sizes = []
        for faces in [*args.faces, *([LARGE] if args.large else []), *([HUGE] if args.huge else [])]:
            sizes.append(measure_size(faces, cwd))
            log("\n".join(table_of_sizes(sizes[-1:])[2 if len(sizes) > 1 else 0 :]))
            goals += size_goals(sizes[-1])
    print("\n".join(["", *table_of_sizes(sizes)]))
    print(
        "\n".join(
            [
                "",
                "| goal | measured | by processor time | wanted | holds |",
                "|---|---|---|---|---|",
                *(g.row() for g in goals),
            ]
        )
    )


if __name__ == "__main__":
    sys.exit(cli.run(main, get_parser()))
