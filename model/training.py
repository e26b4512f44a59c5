"""Training of the graph network: examples in memory, batches of proposals, early stopping."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model.gcn import GCN

PROPOSALS_A_BATCH = 1024


@dataclass(frozen=True)
class Schedule:
    """Most epochs, epochs without gain before training stops, and the highest learning rate."""

    epochs: int
    patience: int
    learning_rate: float


@dataclass(frozen=True)
class Examples:
    """Measured proposals with the truth: inputs as `GCN.forward` takes them, and per proposal
    `iou` float (P,) and `size` float (P,); proposal p has nodes `node_offsets[p]` up to
    `node_offsets[p + 1]`, and so for edges."""

    nodes: Tensor
    proposals: Tensor
    edges: Tensor
    edge_similarity: Tensor
    node_offsets: Tensor
    edge_offsets: Tensor
    iou: Tensor
    size: Tensor

    def __len__(self) -> int:
        return len(self.iou)


def join_examples(parts: list[dict[str, np.ndarray]]) -> Examples:
    """Join measured parts: dictionaries with the arrays of `GCN.forward` and `iou`, `size`."""
    counts = np.array([(len(part["nodes"]), len(part["proposals"])) for part in parts])
    first_node, first_proposal = (np.cumsum(counts, 0) - counts).T
    owner = np.concatenate([part["owner"] + first for part, first in zip(parts, first_proposal, strict=True)])
    edges = np.concatenate([part["edges"] + first for part, first in zip(parts, first_node, strict=True)], 1)
    proposals = int(counts[:, 1].sum())

    def joined(name: str) -> Tensor:
        return torch.from_numpy(np.concatenate([part[name] for part in parts]).astype(np.float32))

    def offsets(owners: np.ndarray) -> Tensor:
        return torch.from_numpy(np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=proposals))]))

    return Examples(
        nodes=joined("nodes"),
        proposals=joined("proposals"),
        edges=torch.from_numpy(edges),
        edge_similarity=joined("edge_similarity"),
        node_offsets=offsets(owner),
        edge_offsets=offsets(owner[edges[1]]),
        iou=joined("iou"),
        size=joined("size"),
    )


def take_batch(examples: Examples, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The inputs of `GCN.forward` for the chosen proposals, int64 (B,)."""
    nodes, node_counts = _ranges(examples.node_offsets, chosen)
    edges, edge_counts = _ranges(examples.edge_offsets, chosen)
    first = torch.cumsum(node_counts, 0) - node_counts
    shift = torch.repeat_interleave(first - examples.node_offsets[chosen], edge_counts)
    owner = torch.repeat_interleave(torch.arange(len(chosen)), node_counts)
    return (
        examples.nodes[nodes],
        examples.proposals[chosen],
        owner,
        examples.edges[:, edges] + shift,
        examples.edge_similarity[edges],
    )


def _ranges(offsets: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    counts = offsets[chosen + 1] - offsets[chosen]
    start = offsets[chosen] - (torch.cumsum(counts, 0) - counts)
    return torch.arange(int(counts.sum())) + torch.repeat_interleave(start, counts), counts


def train_network(
    network: GCN,
    train: Examples,
    validation: Examples,
    schedule: Schedule,
    seed: int,
    device: torch.device,
    report: Callable[[int, float, float], object],
    state: dict[str, Any] | None,
    checkpoint: Callable[[dict[str, Any]], object],
) -> None:
    """Train until the validation loss has not fallen for some epochs; the network gets its best weights.

    The loss is the cross-entropy with the true IoU, weighted by the root of a proposal's size.
    `report` gets each epoch's number, training loss and validation loss; `checkpoint` gets a state
    to go on from, which may be given again as `state`.
    """
    network.node_scale.fit(train.nodes)
    network.proposal_scale.fit(train.proposals)
    network.to(device)
    optimizer = torch.optim.AdamW(network.parameters(), schedule.learning_rate, weight_decay=1e-3)
    batches = -(-len(train) // PROPOSALS_A_BATCH)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, schedule.learning_rate, total_steps=schedule.epochs * batches, pct_start=0.1
    )
    progress: dict[str, Any] = {
        "epoch": -1,
        "best_loss": float("inf"),
        "best_epoch": 0,
        "best": _copy(network),
    }
    if state is not None:
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        rate.load_state_dict(state["rate"])
        progress = state["progress"]
    for epoch in range(progress["epoch"] + 1, schedule.epochs):
        if epoch - progress["best_epoch"] > schedule.patience:
            break
        network.train()
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(1000 * seed + epoch))
        losses = []
        for chosen in order.split(PROPOSALS_A_BATCH):
            loss = _loss(network, train, chosen, device)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
            losses.append(loss.item())
        validation_loss = _mean_loss(network, validation, device)
        report(epoch, float(np.mean(losses)), validation_loss)
        progress["epoch"] = epoch
        if validation_loss < progress["best_loss"]:
            progress |= {"best_loss": validation_loss, "best_epoch": epoch, "best": _copy(network)}
        checkpoint(
            {
                "network": _copy(network),
                "optimizer": optimizer.state_dict(),
                "rate": rate.state_dict(),
                "progress": progress,
            }
        )
    network.load_state_dict(progress["best"])
    network.eval()


def _copy(network: GCN) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


def _loss(network: GCN, examples: Examples, chosen: Tensor, device: torch.device) -> Tensor:
    logits = network(*(tensor.to(device) for tensor in take_batch(examples, chosen)))
    weight = examples.size[chosen].sqrt().to(device)
    loss = nn.functional.binary_cross_entropy_with_logits(
        logits, examples.iou[chosen].to(device), reduction="none"
    )
    return (loss * weight).sum() / weight.sum()


def _mean_loss(network: GCN, examples: Examples, device: torch.device) -> float:
    network.eval()
    with torch.inference_mode():
        losses = [
            float(_loss(network, examples, chosen, device)) * float(examples.size[chosen].sqrt().sum())
            for chosen in torch.arange(len(examples)).split(PROPOSALS_A_BATCH)
        ]
    return sum(losses) / float(examples.size.sqrt().sum())
