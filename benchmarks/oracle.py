"""How well a perfect choice among the proposals would do: the bar for everything after them.

Proposals and single faces are ranked by their true IoU and de-overlapped (Yang et al., CVPR 2019,
section 3.4), from each hierarchy of similarities alone and from all of them.

    python benchmarks/oracle.py
    python benchmarks/oracle.py lfw/val --network dlib
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import cli

from datasets import NETWORKS, FaceSet, add_sets, load

from pipeline.files.proposals import Round
from pipeline.groups import Groups, join_groups, single_faces, take_groups
from pipeline.judging.flat_cut import all_proposals, levels_of_hierarchies, rank_and_deoverlap
from pipeline.metrics import Scores, best_iou, evaluate
from pipeline.training.problems import pose_problem

SETS = ("lfw/val", "glint8", "lfw/val+glint8")
EXAMPLES = """  python benchmarks/oracle.py
  python benchmarks/oracle.py lfw/val --network dlib"""
MIN_BCUBED = {("lfw/val", "dlib"): 98.5, ("glint8", "dlib"): 99.0}  # BCubed F that the proposals must allow


def oracle(proposals: Groups, labels: np.ndarray) -> Scores:
    """Scores of the greedy choice by true IoU among `proposals` and each face alone; `labels` (N,)."""
    groups = join_groups(proposals, single_faces(len(labels)))
    chosen = rank_and_deoverlap(groups, best_iou(groups, labels), len(labels))
    return evaluate(labels, chosen)


def oracle_by_hierarchy(rounds: list[Round], labels: np.ndarray) -> dict[str, tuple[int, Scores]]:
    """For each hierarchy and for all, the number of proposals and the oracle's scores."""
    every = all_proposals(rounds)
    numbers = {
        hierarchy: np.concatenate([level for level, _ in levels])
        for hierarchy, levels in levels_of_hierarchies(rounds).items()
    }
    numbers["all"] = np.arange(len(every))
    return {
        hierarchy: (len(chosen), oracle(take_groups(every, chosen), labels))
        for hierarchy, chosen in numbers.items()
    }


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this benchmark."""
    parser = cli.make_parser("oracle.py", "Score a perfect choice among the proposals.", EXAMPLES)
    add_sets(parser, SETS)
    return parser


def main(args: argparse.Namespace) -> None:
    """Propose on each set, print the oracle of each hierarchy."""
    print("| set | network | hierarchy | proposals | pairwise F | BCubed F | at least |")
    print("|---|---|---|---|---|---|---|")
    for name in args.sets:
        for network in args.network or NETWORKS:
            print_rows(load(name, network, args.shared))


def print_rows(faces: FaceSet) -> None:
    """A row of the table for each hierarchy."""
    problem = pose_problem(faces.rows, faces.labels)
    for hierarchy, (count, scores) in oracle_by_hierarchy(problem.rounds, problem.labels).items():
        least = MIN_BCUBED.get((faces.name, faces.network), "") if hierarchy == "all" else ""
        print(
            f"| {faces.name} | {faces.network} | {hierarchy} | {count} "
            f"| {100 * scores.pairwise.f:.2f} | {100 * scores.bcubed.f:.2f} | {least} |",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(cli.run(main, get_parser()))
