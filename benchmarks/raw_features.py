"""The paper's variant of GCN-D, whose nodes are raw features, for comparison with calibrated measures.

Yang et al., CVPR 2019, section 3.3: a node's input is its face's feature. Everything else is as in the
default path: the same proposals, edges, layers and loss. Such a network serves the one feature space
and dimension that it was trained on, so there is one for each; trained on lfw/train alone.

    python benchmarks/raw_features.py --network dlib
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import cli
from common.progress import log, track

from datasets import CACHE, NETWORKS, add_shared, load, unit

from model.gcn import GCND, GCNConfig, load_networks, predictor, save_networks
from model.training import Schedule, join_examples, train_network
from pipeline.files.atomic import whole_file
from pipeline.judging.cluster import Predict
from pipeline.judging.measures import Graph, Measured
from pipeline.training.problems import Problem, divide_people, pose_problem, proposal_examples
from pipeline.training.resampling import RECIPES

WIDTH = 64
DRAWS = 32
FOLDS = 4  # of the people of lfw/train, one part says when to stop
CPU = torch.device("cpu")
EXAMPLES = "  python benchmarks/raw_features.py --network dlib"


def raw_measured(graph: Graph, measured: Measured) -> Measured:
    """The same proposals with each face's unit feature as its node, float32 (M, D), and no measure of
    the proposal."""
    nodes = graph.unit[measured.rows]
    return replace(measured, nodes=nodes, proposals=np.zeros((len(measured.proposals), 0), np.float32))


def raw_examples(problem: Problem) -> Iterator[dict[str, np.ndarray]]:
    """As `proposal_examples`, with raw features."""
    return proposal_examples(problem, lambda measured: raw_measured(problem.graph, measured))


def raw_predictor(graph: Graph, network: str, shared: Path) -> Predict:
    """Predicts the IoU of proposals of `graph`, whose rows are features of `network`."""
    folder = trained(network, shared)
    predict = predictor(load_networks(folder, GCND, node_names(graph.unit.shape[1]), (), CPU))
    return lambda measured: predict(raw_measured(graph, measured))


def node_names(dim: int) -> tuple[str, ...]:
    """Names of the nodes' inputs."""
    return tuple(f"dimension {number}" for number in range(dim))


def trained(network: str, shared: Path) -> Path:
    """The folder of the network for one feature space, trained once."""
    folder = CACHE / f"raw_{network}"
    if (folder / GCND.file_name).exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    faces = load("lfw/train", network, shared)
    unseen = divide_people(faces.labels, FOLDS, 0) == 0
    rng = np.random.default_rng(0)
    rows = unit(faces.rows)
    drawn = [  # as in training, but in the feature space as it is
        pose_problem(*draw(rows[~unseen], faces.labels[~unseen], rng))
        for draw in track(rng.choice(list(RECIPES), DRAWS, p=list(RECIPES.values())), "drawing sets", "draws")
    ]
    torch.manual_seed(0)
    gcn = GCND(GCNConfig(node_names(rows.shape[1]), (), width=WIDTH))
    train_network(
        gcn,
        join_examples([part for problem in drawn for part in raw_examples(problem)]),
        join_examples(list(raw_examples(pose_problem(rows[unseen], faces.labels[unseen])))),
        Schedule(epochs=8, patience=4, learning_rate=3e-3),
        0,
        CPU,
        lambda epoch, loss, unseen_loss: log(
            f"epoch {epoch}: loss {loss:.4f}, on unseen people {unseen_loss:.4f}"
        ),
        None,
        lambda state: None,
    )
    with whole_file(folder / GCND.file_name) as part:
        save_networks(part, [gcn])
    return folder


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this tool."""
    parser = cli.make_parser("raw_features.py", "Train GCN-D on raw features, as in the paper.", EXAMPLES)
    parser.add_argument("--network", choices=NETWORKS, action="append", help="default: each of them")
    add_shared(parser)
    return parser


def main(args: argparse.Namespace) -> None:
    """Train what is not in the cache."""
    for network in args.network or NETWORKS:
        log(f"{trained(network, args.shared)}: GCN-D on raw features of {network}")


if __name__ == "__main__":
    sys.exit(cli.run(main, get_parser()))
