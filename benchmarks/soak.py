"""The same features through proposals and prediction again and again, in one process: does memory stay
flat, and do the bytes stay the same?

Prints one line per run: seconds and peak memory of each stage, what is still held after it, and the digest of
everything written. Ends with exit code 1 where a run writes other bytes than the first, or where more
than a twentieth of the first run's memory is gained after it.

    python benchmarks/soak.py
    python benchmarks/soak.py --count 5000 --runs 3
"""

import argparse
import gc
import hashlib
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import cli
from common.errors import FaultError
from common.profile import memory, reset_peak, trim_heap
from common.progress import log

from synthetic import write_features

import predict
import proposal
from pipeline.files.atomic import digest_file

MAX_GAIN = 1.05  # of the memory held after the first run: less is the allocator's noise
EXAMPLES = """  python benchmarks/soak.py
  python benchmarks/soak.py --count 5000 --runs 3"""


def run_stage(stage: object, *arguments: str | Path) -> tuple[float, float]:
    """Seconds and peak memory in MB of a stage that is run from its beginning."""
    reset_peak()
    started = time.monotonic()
    given = [*map(str, arguments), "--restart", "--quiet"]
    if code := cli.run(stage.main, stage.get_parser(), given):
        raise FaultError(f"{stage.__name__} ended with exit code {code}")
    return time.monotonic() - started, memory("VmHWM")


def held() -> float:
    """Memory in MB that is still held when everything that is free has gone back to the system."""
    gc.collect()
    trim_heap()
    return memory("RssAnon")


def digest_folder(folder: Path) -> str:
    """SHA-256 of the names and bytes of all files of a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(folder)} {digest_file(path)}\n".encode())
    return digest.hexdigest()


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this benchmark."""
    parser = cli.make_parser("soak.py", "Repeat proposals and prediction; same memory, same bytes?", EXAMPLES)
    parser.add_argument("--count", type=cli.at_least(1), default=200_000, help="number of features")
    parser.add_argument("--dim", type=cli.at_least(1), default=256, help="length of a feature")
    parser.add_argument("--runs", type=cli.at_least(2), default=5, help="how often")
    return parser


def main(args: argparse.Namespace) -> None:
    """Draw the features, run, compare."""
    with tempfile.TemporaryDirectory() as folder:
        features, work = Path(folder, "synthetic.bin"), Path(folder, "work")
        write_features(features, args.count, args.dim, seed=0)
        log(f"{'':3} {'proposal':>18} {'predict':>18} {'held':>9}  digest")
        digests, rests = [], []
        for number in range(1, args.runs + 1):
            place = ("--features", features, "--output")
            first = run_stage(proposal, *place, work / "super_vertex")
            second = run_stage(predict, *place, work / "clusters.txt", "--proposals", work / "super_vertex")
            digests.append(digest_folder(work))
            rests.append(held())
            cells = "".join(f" {seconds:7.1f} s {peak:5.0f} MB" for seconds, peak in (first, second))
            print(f"{number:3}{cells} {rests[-1]:6.0f} MB  {digests[-1][:16]}", flush=True)
    if len(set(digests)) > 1:
        raise FaultError("the runs wrote different bytes")
    if max(rests) > MAX_GAIN * rests[0]:
        raise FaultError(f"{np.max(rests) - rests[0]:.0f} MB were gained after the first run")


if __name__ == "__main__":
    sys.exit(cli.run(main, get_parser()))
