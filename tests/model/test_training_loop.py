"""Training on a task with a known answer, stopped and resumed."""

import io

import numpy as np
import pytest
from conftest import LazyModule

torch = LazyModule("torch")
gcn, training = LazyModule("model.gcn"), LazyModule("model.training")


def part(seed, per_node, count=60):
    """Proposals of four faces whose first measure is the logit of the answer."""
    rng = np.random.default_rng(seed)
    nodes = rng.standard_normal((4 * count, 3)).astype(np.float32)
    proposals = rng.standard_normal((count, 2)).astype(np.float32)
    target = np.arange(4 * count)
    edges = np.stack([target - target % 4 + (target + 1) % 4, target])
    logit = nodes[:, 0] if per_node else proposals[:, 0]
    return {
        "nodes": nodes,
        "proposals": proposals,
        "owner": np.repeat(np.arange(count), 4),
        "edges": edges,
        "edge_similarity": rng.standard_normal(4 * count).astype(np.float32),
        "target": 1 / (1 + np.exp(-3 * logit)),
        "weight": np.ones(len(logit)),
    }


def examples(seeds, per_node):
    return training.join_examples([part(seed, per_node) for seed in seeds])


def new_network(network_class):
    torch.manual_seed(0)
    return network_class(gcn.GCNConfig(("a", "b", "c"), ("d", "e"), width=8, head_width=8))


def saved(state):
    """A checkpoint as a file, from its start."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return file


def train(network, epochs=6, state=None, states=None):
    losses = []
    training.train_network(
        network,
        examples(range(6), network.per_node),
        examples([90], network.per_node),
        training.Schedule(epochs, 4, 0.01),
        0,
        torch.device("cpu"),
        lambda epoch, loss, unseen: losses.append((epoch, unseen)),
        state,
        lambda state: states.append(saved(state)) if states is not None else None,
    )
    return losses


@pytest.mark.parametrize("name", ["GCND", "GCNS"])
def test_the_loss_on_unseen_proposals_falls(name, monkeypatch):
    monkeypatch.setattr("model.training.NODES_A_BATCH", 100)
    losses = train(new_network(getattr(gcn, name)))
    assert losses[-1][1] < 0.9 * losses[0][1]


@pytest.mark.parametrize("epochs", [1, 9, 10, 11, 21])
def test_any_number_of_epochs_trains_small_data(epochs):
    assert [epoch for epoch, _ in train(new_network(gcn.GCND), epochs)][:1] == [0]


def test_a_resumed_training_ends_in_the_same_weights(monkeypatch):
    monkeypatch.setattr("model.training.NODES_A_BATCH", 100)
    whole, states = new_network(gcn.GCND), []
    train(whole, states=states)
    again = new_network(gcn.GCND)
    losses = train(again, state=torch.load(states[2], weights_only=True))
    assert losses[0][0] == 3
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, msg=name)


def test_a_batch_holds_the_chosen_proposals_with_their_own_edges():
    joined = examples([1, 2], per_node=False)
    chosen = torch.tensor([70, 3])
    (nodes, proposals, owner, edges, weight), target, _ = training.take_batch(joined, chosen, per_node=False)
    second, first = part(2, False), part(1, False)
    np.testing.assert_array_equal(nodes[:4], second["nodes"][40:44])
    np.testing.assert_array_equal(nodes[4:], first["nodes"][12:16])
    np.testing.assert_array_equal(proposals[1], first["proposals"][3])
    assert owner.tolist() == [0] * 4 + [1] * 4
    assert edges.tolist() == [[1, 2, 3, 0, 5, 6, 7, 4], [0, 1, 2, 3, 4, 5, 6, 7]]
    np.testing.assert_array_equal(weight[4:], first["edge_similarity"][12:16])
    np.testing.assert_allclose(target, [second["target"][10], first["target"][3]], rtol=1e-6)


def test_batches_hold_every_proposal_once_and_are_bounded(monkeypatch):
    monkeypatch.setattr("model.training.NODES_A_BATCH", 50)
    joined = examples([1, 2], per_node=False)
    order = torch.randperm(len(joined), generator=torch.Generator().manual_seed(0))
    parts = list(training.batches(joined, order))
    assert torch.cat(parts).tolist() == order.tolist()
    assert max(map(len, parts)) * 4 <= 50 + 4
