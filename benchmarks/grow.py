"""What new rows at the end of a feature file cost, beside making the proposals of all rows anew.

python benchmarks/grow.py
python benchmarks/grow.py --count 200000 --new 1000
"""

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import cli

import numpy as np
from speed import BENCHMARKS, DIM, LARGE, REPOSITORY, Ran, run

EXAMPLES = "  python benchmarks/grow.py --count 200000 --new 1000"
SEARCH_STEPS = ("check the earlier graph", "prepare search", "search")


def searching(ran: Ran) -> float:
    """Seconds of the steps that are the search, of a run with --profile."""
    steps = re.findall(r"^(.+?) +([\d.]+) +\d+$", ran.output, re.MULTILINE)
    return sum(float(seconds) for name, seconds in steps if name in SEARCH_STEPS)


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this benchmark."""
    parser = cli.make_parser("grow.py", "What new rows cost beside making all proposals anew.", EXAMPLES)
    parser.add_argument("--count", type=cli.at_least(1), default=LARGE, help="rows in all")
    parser.add_argument("--new", type=cli.at_least(1), nargs="+", default=[1000], help="of these, new ones")
    return parser


def main(args: argparse.Namespace) -> None:
    """Run with all rows, with the first of them, and with all again; print a row for each."""
    with tempfile.TemporaryDirectory() as name:
        cwd = Path(name)
        features, proposal = cwd / "feature.bin", (REPOSITORY / "proposal.py", "--profile")
        synthetic = ("--count", str(args.count), "--dim", str(DIM), "--output", features)
        run(BENCHMARKS / "synthetic.py", *synthetic, cwd=cwd)
        told = json.loads((cwd / "feature.json").read_text())
        rows = np.fromfile(features, np.float32).reshape(-1, DIM)

        def first_rows(count: int) -> None:
            rows[:count].tofile(features)
            (cwd / "feature.json").write_text(json.dumps(told | {"count": count}))

        anew = run(*proposal, "--restart", cwd=cwd)
        print(
            "| rows | of them new | search s | proposals s | search, times as quick |\n|---|---|---|---|---|"
        )
        print(f"| {args.count:,} | all | {searching(anew):.1f} | {anew.seconds:.1f} | 1 |", flush=True)
        for new in args.new:
            first_rows(args.count - new)
            run(*proposal, "--restart", cwd=cwd)
            first_rows(args.count)
            grown = run(*proposal, cwd=cwd)
            times = searching(anew) / searching(grown)
            print(
                f"| {args.count:,} | {new:,} | {searching(grown):.1f} | {grown.seconds:.1f} | {times:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(cli.run(main, get_parser()))
