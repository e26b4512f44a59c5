"""The two graph networks: one judges proposals, one the faces of a cluster.

After GCN-D and GCN-S (Yang et al., CVPR 2019, sections 3.3 and 3.4): graph convolutions over the
affinity graph inside the proposal; GCN-D pools over its faces and predicts its IoU with a true
person, GCN-S predicts for each face whether it belongs. Their inputs are calibrated measures instead
of raw features, so one set of weights serves every feature space.
"""

import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from common.errors import InputError
from common.inputs import require_file

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch_geometric.nn import GraphConv, MultiAggregation
from torch_geometric.utils import to_torch_csr_tensor

from model.device import keep_to_one_thread


@dataclass(frozen=True)
class GCNConfig:
    """The names of the inputs, in order, and the sizes of the network."""

    node_measures: tuple[str, ...]
    proposal_measures: tuple[str, ...]
    width: int = 32
    layers: int = 2
    head_width: int = 64


class GraphLayers(nn.Module):
    """Embeds each face with its proposal and passes messages along the proposal's edges.

    A convolution is that of Morris et al., AAAI 2019: W1 x plus W2 times the weighted sum over neighbors.

    Shapes, here and in the networks: nodes float (M, node measures), proposals float (P, proposal
    measures), owner int64 (M,), shares (M, M) of `message_shares`. Returns the faces' states, float
    (M, width), and the standardized proposals.
    """

    def __init__(self, config: GCNConfig) -> None:
        super().__init__()
        self.node_scale = Standardize(len(config.node_measures))
        self.proposal_scale = Standardize(len(config.proposal_measures))
        self.embed = nn.Linear(len(config.node_measures) + len(config.proposal_measures), config.width)
        self.convolutions = nn.ModuleList(GraphConv(config.width, config.width) for _ in range(config.layers))

    def forward(
        self, nodes: Tensor, proposals: Tensor, owner: Tensor, shares: Tensor
    ) -> tuple[Tensor, Tensor]:
        proposals = self.proposal_scale(proposals)
        of_owner = proposals.index_select(0, owner)
        x = torch.relu(self.embed(torch.cat([self.node_scale(nodes), of_owner], 1)))
        for convolution in self.convolutions:
            x = x + torch.relu(convolution(x, shares))
        return x, proposals


def message_shares(edges: Tensor, edge_similarity: Tensor, nodes: int) -> Tensor:
    """The share of each message in what reaches its target, sparse CSR (M, M) from column to row.

    `edges` int64 (2, E) are those among so many nodes, from source to target, by ascending target, and
    `edge_similarity` float (E,). One matrix serves every layer of every network, each a sparse product.
    """
    source, target = edges
    strength = torch.sigmoid(edge_similarity)
    total = strength.new_zeros(nodes).index_add_(0, target, strength).clamp(min=1e-6)
    share = strength / total.index_select(0, target)
    by_row = torch.stack([target, source])  # contiguous, which the product takes for granted
    return to_torch_csr_tensor(by_row, share, nodes, is_coalesced=True)


def quiet_sparse_products() -> None:
    """Silence torch's warnings at the first sparse product: that it is new, and does not check its input."""
    for said in ("Sparse CSC tensor support", "Sparse CSR tensor support", "Sparse invariant checks"):
        warnings.filterwarnings("ignore", said, UserWarning)


class GCND(nn.Module):
    """Predicts the logit of each proposal's IoU with a true person; returns float (P,)."""

    kind = "face-cluster-gcn-d-1"
    per_node = False
    file_name = "gcn_d.safetensors"

    def __init__(self, config: GCNConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = GraphLayers(config)
        self.pool = MultiAggregation(["mean", "max", "min"])
        self.head = two_layer_head(3 * config.width + len(config.proposal_measures), config.head_width)

    def forward(self, nodes: Tensor, proposals: Tensor, owner: Tensor, shares: Tensor) -> Tensor:
        x, proposals = self.layers(nodes, proposals, owner, shares)
        pooled = self.pool(x, owner, dim_size=len(proposals))
        return self.head(torch.cat([pooled, proposals], 1)).squeeze(1)


class GCNS(nn.Module):
    """Predicts the logit that each face belongs to its cluster's person; returns float (M,)."""

    kind = "face-cluster-gcn-s-1"
    per_node = True
    file_name = "gcn_s.safetensors"

    def __init__(self, config: GCNConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = GraphLayers(config)
        self.head = two_layer_head(config.width, config.head_width)

    def forward(self, nodes: Tensor, proposals: Tensor, owner: Tensor, shares: Tensor) -> Tensor:
        x, _ = self.layers(nodes, proposals, owner, shares)
        return self.head(x).squeeze(1)


def two_layer_head(inputs: int, width: int) -> nn.Sequential:
    """Two hidden layers and one output."""
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
    )


class Standardize(nn.Module):
    """Subtracts the training data's mean and divides by its standard deviation."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))

    def fit(self, values: Tensor) -> None:
        """Take mean and standard deviation from float (M, size)."""
        self.mean = values.mean(0)
        self.deviation = values.std(0) + 1e-3

    def forward(self, values: Tensor) -> Tensor:
        return (values - self.mean) / self.deviation


Network = TypeVar("Network", GCND, GCNS)


def predictor(networks: list[Network]) -> Callable[[Any], np.ndarray]:
    """A function from measures to the networks' mean probability, float32. Their `inputs` are arrays: nodes,
    proposals and owner of `forward`, edges and similarities of `message_shares`."""
    device = next(networks[0].parameters()).device
    quiet_sparse_products()

    def predict(measured: Any) -> np.ndarray:
        keep_to_one_thread()
        nodes, proposals, owner, edges, similarity = (
            torch.from_numpy(array).to(device) for array in measured.inputs
        )
        with torch.inference_mode():
            shares = message_shares(edges, similarity, len(nodes))
            predictions = [torch.sigmoid(network(nodes, proposals, owner, shares)) for network in networks]
        return torch.stack(predictions).mean(0).cpu().numpy()

    return predict


def save_networks(path: Path, networks: list[Network]) -> None:
    """Write networks of one kind and configuration as one safetensors file."""
    tensors = {
        f"{number}.{name}": tensor.contiguous()
        for number, network in enumerate(networks)
        for name, tensor in network.state_dict().items()
    }
    config = json.dumps(asdict(networks[0].config))
    metadata = {"kind": networks[0].kind, "networks": str(len(networks)), "config": config}
    path.write_bytes(sorted_header(save(tensors, metadata)))  # save_file makes it unreadable for other users


def sorted_header(data: bytes) -> bytes:
    """The same safetensors file with its header sorted by name, where the library's order is random.

    The format is a little-endian uint64, a header of that length in JSON, padded with spaces to a multiple
    of 8, and the tensors.
    """
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:start]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[start:]


def load_networks(
    folder: Path,
    network_class: type[Network],
    node_measures: tuple[str, ...],
    proposal_measures: tuple[str, ...],
    device: torch.device,
) -> list[Network]:
    """Read the networks of `save_networks` for evaluation, checked against the measures at hand.

    Raises `InputError` where the file is missing, damaged, of another kind, or made for other inputs.
    """
    path = folder / network_class.file_name
    require_file(path, "give --weights a folder of `sh run_train.sh`")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError:
        raise
    except Exception as error:  # damaged files make it raise more kinds than its own
        raise InputError(
            f"{path}: is no whole safetensors file ({error}): fetch it or train it again"
        ) from None
    try:
        config = GCNConfig(**json.loads(metadata["config"]))
        count = int(metadata["networks"])
        # A lower bound of their weights: a damaged file must not fill the memory.
        values = count * (2 * config.layers * config.width**2 + config.head_width**2)
        if metadata["kind"] != network_class.kind or not 0 < 4 * values < path.stat().st_size:
            raise ValueError
        networks = [network_class(config) for _ in range(count)]
        if not networks:
            raise ValueError
    except (KeyError, ValueError, TypeError, RuntimeError, RecursionError):
        raise InputError(
            f"{path}: is not the network it should be: give --weights a folder of `sh run_train.sh`"
        ) from None
    if (tuple(config.node_measures), tuple(config.proposal_measures)) != (node_measures, proposal_measures):
        raise InputError(f"{path}: was trained on other measures than this version takes: train it again")
    for number, network in enumerate(networks):
        load_strictly(path, network, number, tensors)
    return [network.to(device) for network in networks]


def load_strictly(path: Path, network: Network, number: int, tensors: dict[str, Tensor]) -> None:
    """Give one network of a file its weights; the first name that does not fit is an `InputError`."""
    expected = network.state_dict()
    for name, tensor in expected.items():
        got = tensors.get(f"{number}.{name}")
        if got is None or got.shape != tensor.shape:
            found = (
                "is missing" if got is None else f"has shape {tuple(got.shape)}, not {tuple(tensor.shape)}"
            )
            raise InputError(f"{path}: {number}.{name} {found}: train it again")
        if not got.is_floating_point() or not torch.isfinite(got).all():
            raise InputError(f"{path}: {number}.{name} holds what is no number: train it again")
    network.load_state_dict({name: tensors[f"{number}.{name}"] for name in expected})
    network.eval()
