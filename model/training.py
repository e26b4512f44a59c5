"""Training of the graph network: examples in memory, batches of proposals, early stopping."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model.gcn import Network, message_shares, quiet_sparse_products

NODES_A_BATCH = 4000  # bounds a batch of proposals, which differ in size
WARM_UP = 0.1  # share of all steps in which the learning rate rises
MIN_STEPS = 20  # of the learning rate's schedule, which divides by zero at 1 / WARM_UP steps


@dataclass(frozen=True)
class Schedule:
    """Most epochs, epochs without improvement before training stops, and the highest learning rate."""

    epochs: int
    patience: int
    learning_rate: float


@dataclass(frozen=True)
class Examples:
    """Measured proposals with the truth.

    Inputs as the networks take them; `target` and `weight` float, one per proposal for GCN-D, one per
    node for GCN-S. Proposal p has nodes `node_offsets[p]` up to `node_offsets[p + 1]`, and so for
    edges.
    """

    nodes: Tensor
    proposals: Tensor
    edges: Tensor
    edge_similarity: Tensor
    node_offsets: Tensor
    edge_offsets: Tensor
    target: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return len(self.proposals)


def join_examples(parts: list[dict[str, np.ndarray]]) -> Examples:
    """Join measured parts: dictionaries with the networks' inputs, `target`, `weight`."""
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
        target=joined("target"),
        weight=joined("weight"),
    )


def take_batch(
    examples: Examples, chosen: Tensor, per_node: bool
) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
    """The networks' inputs for the chosen proposals, int64 (B,), with their targets and weights."""
    nodes, node_counts = _ranges(examples.node_offsets, chosen)
    edges, edge_counts = _ranges(examples.edge_offsets, chosen)
    first = torch.cumsum(node_counts, 0) - node_counts
    shift = torch.repeat_interleave(first - examples.node_offsets[chosen], edge_counts)
    owner = torch.repeat_interleave(torch.arange(len(chosen)), node_counts)
    inputs = (
        examples.nodes[nodes],
        examples.proposals[chosen],
        owner,
        examples.edges[:, edges] + shift,
        examples.edge_similarity[edges],
    )
    judged = nodes if per_node else chosen
    return inputs, examples.target[judged], examples.weight[judged]


def batches(examples: Examples, order: Tensor) -> Iterator[Tensor]:
    """Split proposals, int64 (P,) in any order, into batches of about NODES_A_BATCH nodes."""
    counts = (examples.node_offsets[1:] - examples.node_offsets[:-1])[order]
    number = torch.cumsum(counts, 0) // NODES_A_BATCH
    _, sizes = torch.unique_consecutive(number, return_counts=True)
    yield from order.split(sizes.tolist())


def _ranges(offsets: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    counts = offsets[chosen + 1] - offsets[chosen]
    start = offsets[chosen] - (torch.cumsum(counts, 0) - counts)
    return torch.arange(int(counts.sum())) + torch.repeat_interleave(start, counts), counts


def predicted(network: Network, examples: Examples) -> np.ndarray:
    """The network's probability for each proposal or node, in order, float32."""
    device = next(network.parameters()).device
    with torch.inference_mode():
        parts = [
            torch.sigmoid(_logits(network, examples, chosen, device)[0])
            for chosen in batches(examples, torch.arange(len(examples)))
        ]
    return torch.cat(parts).cpu().numpy()


def train_network(
    network: Network,
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

    The loss is the weighted cross-entropy with the targets. `report` gets each epoch's number,
    training loss and validation loss; `checkpoint` gets a state to resume from, which is given as `state`
    later.
    """
    quiet_sparse_products()
    network.layers.node_scale.fit(train.nodes)
    network.layers.proposal_scale.fit(train.proposals)
    network.to(device)
    optimizer = torch.optim.AdamW(network.parameters(), schedule.learning_rate, weight_decay=1e-3)
    most_batches = schedule.epochs * (len(train.nodes) // NODES_A_BATCH + 1)
    most_batches = max(most_batches, MIN_STEPS)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, schedule.learning_rate, total_steps=most_batches, pct_start=WARM_UP
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
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(1000 * seed + epoch))
        train_loss = _one_epoch(network, train, order, device, optimizer, rate)
        validation_loss = _mean_loss(network, validation, device)
        report(epoch, train_loss, validation_loss)
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


def _one_epoch(
    network: Network,
    examples: Examples,
    order: Tensor,
    device: torch.device,
    optimizer: torch.optim.Optimizer,
    rate: torch.optim.lr_scheduler.LRScheduler,
) -> float:
    network.train()
    losses = []
    for chosen in batches(examples, order):
        loss, weight = _loss(network, examples, chosen, device)
        optimizer.zero_grad()
        (loss / weight).backward()
        optimizer.step()
        rate.step()
        losses.append(float(loss.detach() / weight))
    return float(np.mean(losses))


def _mean_loss(network: Network, examples: Examples, device: torch.device) -> float:
    network.eval()
    with torch.inference_mode():
        parts = [
            _loss(network, examples, chosen, device)
            for chosen in batches(examples, torch.arange(len(examples)))
        ]
    return float(sum(loss for loss, _ in parts) / sum(weight for _, weight in parts))


def _loss(
    network: Network, examples: Examples, chosen: Tensor, device: torch.device
) -> tuple[Tensor, Tensor]:
    logits, target, weight = _logits(network, examples, chosen, device)
    loss = nn.functional.binary_cross_entropy_with_logits(logits, target, weight, reduction="sum")
    return loss, weight.sum()


def _logits(
    network: Network, examples: Examples, chosen: Tensor, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """The network's logits for the chosen proposals, with targets and weights."""
    inputs, target, weight = take_batch(examples, chosen, network.per_node)
    nodes, proposals, owner, edges, similarity = (tensor.to(device) for tensor in inputs)
    logits = network(nodes, proposals, owner, message_shares(edges, similarity, len(nodes)))
    return logits, target.to(device), weight.to(device)


def _copy(network: Network) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
