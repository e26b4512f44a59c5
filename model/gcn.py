"""The graph network that predicts a proposal's IoU with a true person.

After GCN-D (Yang et al., CVPR 2019, section 3.3): graph convolutions over the affinity graph inside
the proposal, pooling over its faces, a head that predicts IoU. Its inputs are calibrated measures
instead of raw features, so one set of weights serves every feature space.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch_geometric.nn import GraphConv, global_max_pool, global_mean_pool
from torch_geometric.utils import scatter

from common.errors import InputError

FORMAT = "face-cluster-gcn-1"


@dataclass(frozen=True)
class GCNConfig:
    """The names of the inputs, in order, and the sizes of the network."""

    node_measures: tuple[str, ...]
    proposal_measures: tuple[str, ...]
    width: int = 32
    layers: int = 2
    head_width: int = 64


class GCN(nn.Module):
    """Predicts the logit of each proposal's IoU.

    Shapes: nodes float (M, node measures), proposals float (P, proposal measures), owner int64
    (M,), edges int64 (2, E) from source to target, edge_similarity float (E,); returns (P,).
    """

    def __init__(self, config: GCNConfig) -> None:
        super().__init__()
        self.config = config
        nodes, proposals, width = len(config.node_measures), len(config.proposal_measures), config.width
        self.node_scale = Standardize(nodes)
        self.proposal_scale = Standardize(proposals)
        self.embed = nn.Linear(nodes + proposals, width)
        self.convolutions = nn.ModuleList(GraphConv(width, width) for _ in range(config.layers))
        self.head = nn.Sequential(
            nn.Linear(3 * width + proposals, config.head_width),
            nn.ReLU(),
            nn.Linear(config.head_width, config.head_width),
            nn.ReLU(),
            nn.Linear(config.head_width, 1),
        )

    def forward(
        self, nodes: Tensor, proposals: Tensor, owner: Tensor, edges: Tensor, edge_similarity: Tensor
    ) -> Tensor:
        proposals = self.proposal_scale(proposals)
        x = torch.relu(self.embed(torch.cat([self.node_scale(nodes), proposals[owner]], 1)))
        strength = torch.sigmoid(edge_similarity)
        total = scatter(strength, edges[1], dim_size=len(x)).clamp(min=1e-6)
        share = strength / total[edges[1]]
        for convolution in self.convolutions:
            x = x + torch.relu(convolution(x, edges, share))
        count = len(proposals)
        pooled = [
            global_mean_pool(x, owner, count),
            global_max_pool(x, owner, count),
            -global_max_pool(-x, owner, count),
        ]
        return self.head(torch.cat([*pooled, proposals], 1)).squeeze(1)


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


def predict_iou(
    networks: list[GCN],
    nodes: np.ndarray,
    proposals: np.ndarray,
    owner: np.ndarray,
    edges: np.ndarray,
    edge_similarity: np.ndarray,
) -> np.ndarray:
    """The networks' mean prediction of IoU, float32 (P,), for arrays shaped as `GCN.forward` takes them."""
    device = next(networks[0].parameters()).device
    inputs = [torch.from_numpy(a).to(device) for a in (nodes, proposals, owner, edges, edge_similarity)]
    with torch.inference_mode():
        predictions = [torch.sigmoid(network(*inputs)) for network in networks]
    return torch.stack(predictions).mean(0).cpu().numpy()


def save_networks(path: Path, networks: list[GCN]) -> None:
    """Write an ensemble of networks of one configuration as one safetensors file."""
    tensors = {
        f"{number}.{name}": tensor.contiguous()
        for number, network in enumerate(networks)
        for name, tensor in network.state_dict().items()
    }
    metadata = {
        "format": FORMAT,
        "networks": str(len(networks)),
        "config": json.dumps(asdict(networks[0].config)),
    }
    save_file(tensors, path, metadata)


def load_networks(
    path: Path, node_measures: tuple[str, ...], proposal_measures: tuple[str, ...]
) -> list[GCN]:
    """Read the networks of `save_networks`, in evaluation mode, checked against the measures at hand.

    Raises `InputError` where the file is missing, damaged, of another kind, or made for other inputs.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise InputError(f"{path}: not found: give --weights the path of a trained network") from None
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: is no whole safetensors file ({error}): fetch it or train it again"
        ) from None
    try:
        if metadata["format"] != FORMAT:
            raise ValueError
        config = GCNConfig(**json.loads(metadata["config"]))
        networks = [GCN(config) for _ in range(int(metadata["networks"]))]
    except (KeyError, ValueError, TypeError, RuntimeError):
        raise InputError(
            f"{path}: is not a network of `sh run_train.sh`: give --weights one that is"
        ) from None
    if (tuple(config.node_measures), tuple(config.proposal_measures)) != (node_measures, proposal_measures):
        raise InputError(f"{path}: was trained on other measures than this version takes: train it again")
    for number, network in enumerate(networks):
        _load_strictly(path, network, number, tensors)
        network.eval()
    return networks


def _load_strictly(path: Path, network: GCN, number: int, tensors: dict[str, Tensor]) -> None:
    expected = network.state_dict()
    for name, tensor in expected.items():
        got = tensors.get(f"{number}.{name}")
        if got is None or got.shape != tensor.shape:
            found = (
                "is missing" if got is None else f"has shape {tuple(got.shape)}, not {tuple(tensor.shape)}"
            )
            raise InputError(f"{path}: {number}.{name} {found}: train it again")
    network.load_state_dict({name: tensors[f"{number}.{name}"] for name in expected})
