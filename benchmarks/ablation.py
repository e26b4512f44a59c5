"""What each part of the default path adds: one part off or changed at a time, scored on unseen people.

Sets with people whom some of the networks saw are scored in four parts, each by the one network that
did not, as quality.py does. Cells are pairwise F and BCubed F, in percent, the mean over the parts.

    python benchmarks/ablation.py
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import cli
from common.progress import track

from datasets import NETWORKS, FaceSet, add_sets, load
from quality import SETS, folds_of, judges, unseen_by
from raw_features import raw_predictor

from pipeline.files.proposals import Round
from pipeline.judging.cluster import Predict, choose_clusters, find_people, score_rounds
from pipeline.judging.flat_cut import (
    best_flat_cut,
    levels_of_hierarchies,
    ranked_clusters,
)
from pipeline.judging.measures import Measured
from pipeline.judging.membership import MEMBER_MEASURES, revise_members
from pipeline.metrics import evaluate
from pipeline.training.problems import Problem, pose_problem
from predict import WEIGHTS

IS_MEMBER = MEMBER_MEASURES.index("is a member")
MIN_IOP, MAX_IOP = 0.3, 0.7  # between which the paper's implementation asks GCN-S
EXAMPLES = """  python benchmarks/ablation.py
  python benchmarks/ablation.py glint8 --network dlib"""


@dataclass(frozen=True)
class Case:
    """One set in one feature space, or a part of it, judged by the networks of `fold`, by all for None."""

    problem: Problem
    fold: int | None
    network: str
    shared: Path

    @cached_property
    def judges(self) -> tuple[Predict, Predict]:
        """GCN-D's prediction of IoU and GCN-S's of membership."""
        return judges(WEIGHTS, self.fold)

    @cached_property
    def scores(self) -> tuple[np.ndarray, np.ndarray]:
        """Predicted IoU of the proposals and of each face alone."""
        return score_rounds(self.problem.graph, self.problem.rounds, self.judges[0])

    @cached_property
    def clusters(self) -> np.ndarray:
        """The clusters chosen, before their members are revised."""
        return best_flat_cut(self.problem.rounds, *self.scores)

    def revised(self, clusters: np.ndarray, predict: Predict | None = None) -> np.ndarray:
        """Clusters after GCN-S."""
        return revise_members(self.problem.graph, clusters, predict or self.judges[1])


def defaults(case: Case) -> np.ndarray:
    """Everything on."""
    return case.revised(case.clusters)


def rank_all(case: Case) -> np.ndarray:
    """The paper's selection: rank all proposals by predicted IoU, each takes what is left."""
    return case.revised(ranked_clusters(case.problem.rounds, *case.scores))


def hierarchies(keep: Callable[[str], bool]) -> Callable[[Case], np.ndarray]:
    """The default path on some hierarchies of proposals alone."""

    def variant(case: Case) -> np.ndarray:
        rounds = [
            Round(name, 0.0, groups, np.zeros(0, np.int64))
            for name, levels in levels_of_hierarchies(case.problem.rounds).items()
            if keep(name)
            for _, groups in levels
        ]
        return find_people(case.problem.graph, rounds, *case.judges)

    return variant


def no_revision(case: Case) -> np.ndarray:
    """Chosen proposals as they are."""
    return case.clusters


def only_drop(case: Case) -> np.ndarray:
    """GCN-S drops outliers; faces left over stay alone."""
    predict_member = case.judges[1]
    return case.revised(case.clusters, lambda m: np.where(is_member(m), predict_member(m), 0))


def only_attach(case: Case) -> np.ndarray:
    """GCN-S attaches faces left over; members stay."""
    predict_member = case.judges[1]
    return case.revised(case.clusters, lambda m: np.where(is_member(m), 1, predict_member(m)))


def drop_in_doubt(case: Case) -> np.ndarray:
    """GCN-S drops a member that more likely does not belong, where the default asks for more."""
    predict_member = case.judges[1]

    def predict(measured: Measured) -> np.ndarray:
        probability = predict_member(measured)
        return np.where(is_member(measured), probability >= 0.5, probability)

    return case.revised(case.clusters, predict)


def gated(case: Case) -> np.ndarray:
    """GCN-S on the clusters of middling purity alone: their IoP is the mean of what GCN-S predicts."""

    def predict(measured: Measured) -> np.ndarray:
        probability, member = case.judges[1](measured), is_member(measured)
        iop = np.bincount(measured.owner, probability * member) / np.bincount(measured.owner, member)
        asked = ((iop > MIN_IOP) & (iop < MAX_IOP))[measured.owner]
        return np.where(asked, probability, member.astype(np.float32))

    return case.revised(case.clusters, predict)


def one_network(case: Case) -> np.ndarray:
    """One fold's networks instead of the mean of all, as in the parts in any case."""
    return find_people(case.problem.graph, case.problem.rounds, *judges(WEIGHTS, case.fold or 0))


def raw_nodes(case: Case) -> np.ndarray:
    """The paper's GCN-D, whose nodes are raw features; clusters not revised."""
    predict = raw_predictor(case.problem.graph, case.network, case.shared)
    return choose_clusters(case.problem.graph, case.problem.rounds, predict)


VARIANTS: dict[str, Callable[[Case], np.ndarray]] = {
    "defaults": defaults,
    "proposals: single linkage alone (one merge tree)": hierarchies(
        lambda hierarchy: hierarchy == "single linkage"
    ),
    "proposals: average linkage alone": hierarchies(lambda hierarchy: hierarchy == "average linkage"),
    "proposals: shared nearest neighbors alone": hierarchies(
        lambda hierarchy: hierarchy.startswith("shared")
    ),
    "proposals: without single linkage": hierarchies(lambda hierarchy: hierarchy != "single linkage"),
    "proposals: without average linkage": hierarchies(lambda hierarchy: hierarchy != "average linkage"),
    "proposals: without shared nearest neighbors": hierarchies(
        lambda hierarchy: not hierarchy.startswith("shared")
    ),
    "selection: rank and de-overlap": rank_all,
    "GCN-D: one network, not the mean of four (GCN-S too)": one_network,
    "GCN-S off": no_revision,
    "GCN-S: outliers dropped alone": only_drop,
    "GCN-S: faces left over attached alone": only_attach,
    "GCN-S: outliers dropped below 0.5": drop_in_doubt,
    "GCN-S: where its mean, the IoP, is 0.3 to 0.7 alone": gated,
    "GCN-D on raw features, GCN-S off": raw_nodes,
}


def is_member(measured: Measured) -> np.ndarray:
    """Which nodes are members of their cluster, bool (M,)."""
    return measured.nodes[:, IS_MEMBER] > 0.5


def cases_of(faces: FaceSet, shared: Path) -> list[Case]:
    """A set as it is where nobody was seen, else in its parts."""
    folds = folds_of(faces.name)
    parts = [unseen_by(fold, faces, shared) for fold in folds]
    return [
        Case(pose_problem(part.rows, part.labels), fold, faces.network, shared)
        for fold, part in zip(folds, parts, strict=True)
    ]


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this benchmark."""
    parser = cli.make_parser("ablation.py", "Each part of the default path on and off.", EXAMPLES)
    add_sets(parser, SETS, NETWORKS)
    return parser


def main(args: argparse.Namespace) -> None:
    """A column for each set and feature space, a row for each variant."""
    cells: dict[str, list[str]] = {name: [] for name in VARIANTS}
    columns = [(name, network) for name in args.sets for network in args.network or NETWORKS]
    for name, network in columns:
        cases = cases_of(load(name, network, args.shared), args.shared)
        for variant, find in track(VARIANTS.items(), f"{name}, {network}", "variants"):
            scores = [evaluate(case.problem.labels, find(case)) for case in cases]
            means = 100 * np.mean([(score.pairwise.f, score.bcubed.f) for score in scores], axis=0)
            cells[variant].append(f"{means[0]:.2f} / {means[1]:.2f}")
    print("| | " + " | ".join(f"{name}, {network}" for name, network in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for variant, row in cells.items():
        print(f"| {variant} | " + " | ".join(row) + " |")


if __name__ == "__main__":
    sys.exit(cli.run(main, get_parser()))
