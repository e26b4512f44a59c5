"""The two graph networks bound to the measures that each of them judges by."""

from dataclasses import dataclass
from pathlib import Path

import torch

from model.gcn import GCND, GCNS, GCNConfig, Network, load_networks, predictor
from pipeline.files.atomic import digest_file
from pipeline.judging.cluster import Predict
from pipeline.judging.measures import NODE_MEASURES, PROPOSAL_MEASURES
from pipeline.judging.membership import MEMBER_MEASURES


@dataclass(frozen=True)
class Judges:
    """`predict_iou` maps the measures of proposals to each one's IoU, float32 (P,), `predict_member` those
    of clusters to each node's probability to belong, float32 (M,), both on `device`."""

    predict_iou: Predict
    predict_member: Predict
    device: torch.device


def load_judges(folder: Path, device: torch.device, fold: int | None = None) -> Judges:
    """Read GCN-D and GCN-S, all networks of each or only that of one fold.

    Raises `InputError` where a file is missing, damaged, or made for other measures.
    """
    some = slice(None) if fold is None else slice(fold, fold + 1)

    def load(network_class: type[Network]) -> Predict:
        networks = load_networks(folder, network_class, *measures_of(network_class), device)
        return predictor(networks[some])

    return Judges(load(GCND), load(GCNS), device)


def digests_of_judges(folder: Path) -> dict[str, str]:
    """SHA-256 of both weights files, by the names that `clusters.json` gives them."""
    return {
        "gcn_d_sha256": digest_file(folder / GCND.file_name),
        "gcn_s_sha256": digest_file(folder / GCNS.file_name),
    }


def new_network(network_class: type[Network]) -> Network:
    """A network with random weights that takes the measures of its kind."""
    return network_class(GCNConfig(*measures_of(network_class)))


def measures_of(network_class: type[Network]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of what a network takes of each node and of each proposal."""
    return (MEMBER_MEASURES if network_class.per_node else NODE_MEASURES), PROPOSAL_MEASURES
