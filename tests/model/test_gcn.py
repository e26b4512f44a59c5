"""The graph networks: their files, and what they may depend on."""

import json

from common.errors import InputError

import numpy as np
import pytest
from conftest import LazyModule
from safetensors import safe_open

torch, safetensors = LazyModule("torch"), LazyModule("safetensors.torch")
gcn = LazyModule("model.gcn")
NODES, PROPOSALS = ("a", "b", "c"), ("d", "e")


class Inputs:
    """Two proposals of three and two faces."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.inputs = (
            rng.standard_normal((5, 3)).astype(np.float32),
            rng.standard_normal((2, 2)).astype(np.float32),
            np.array([0, 0, 0, 1, 1]),
            np.array([[2, 0, 1, 3], [0, 1, 2, 4]]),
            rng.standard_normal(4).astype(np.float32),
        )


@pytest.fixture(params=["GCND", "GCNS"])
def network_class(request):
    return getattr(gcn, request.param)


def networks_of(network_class, count=2):
    torch.manual_seed(0)
    return [network_class(gcn.GCNConfig(NODES, PROPOSALS)).eval() for _ in range(count)]


def load(folder, network_class):
    return gcn.load_networks(folder, network_class, NODES, PROPOSALS, torch.device("cpu"))


def test_networks_come_back_and_their_mean_is_the_prediction(tmp_path, network_class):
    networks = networks_of(network_class)
    gcn.save_networks(tmp_path / network_class.file_name, networks)
    found = gcn.predictor(load(tmp_path, network_class))(Inputs())
    assert found.shape == ((5,) if network_class.per_node else (2,))
    alone = [gcn.predictor([network])(Inputs()) for network in networks]
    assert not np.allclose(*alone)
    np.testing.assert_allclose(found, np.mean(alone, axis=0), rtol=1e-5)


def test_the_same_networks_are_the_same_bytes_each_time(tmp_path, network_class):
    path, written = tmp_path / network_class.file_name, set()
    for _ in range(30):  # the library draws an order each time
        gcn.save_networks(path, networks_of(network_class))
        written.add(path.read_bytes())
    assert len(written) == 1
    assert safetensors.load_file(path)["1.head.0.bias"].equal(
        networks_of(network_class)[1].state_dict()["head.0.bias"]
    )


def test_proposals_do_not_see_one_another(network_class):
    predict = gcn.predictor(networks_of(network_class))
    both = Inputs()
    nodes, proposals, _, edges, weight = both.inputs
    first = Inputs()
    first.inputs = (nodes[:3], proposals[:1], np.zeros(3, int), edges[:, :3], weight[:3])
    np.testing.assert_allclose(predict(first), predict(both)[: len(predict(first))], rtol=1e-5)


def test_the_order_of_the_faces_does_not_matter():
    predict = gcn.predictor(networks_of(gcn.GCND))
    nodes, proposals, owner, edges, weight = Inputs().inputs
    turned = Inputs()
    place = np.array([2, 0, 1, 4, 3])  # where each face went
    order = np.argsort(place)
    by_target = np.argsort(place[edges[1]])
    turned.inputs = (nodes[order], proposals, owner[order], place[edges][:, by_target], weight[by_target])
    np.testing.assert_allclose(predict(turned), predict(Inputs()), rtol=1e-5)


def test_messages_are_the_weighted_sums_over_neighbors():
    """The layers beside the formula of Morris et al. with dense matrices, forward and backward."""
    torch.manual_seed(0)
    layers = gcn.GCND(gcn.GCNConfig(NODES, PROPOSALS)).layers
    target = torch.sort(torch.randint(0, 50, (200,)))[0]
    target = target[target != 7]  # a node that nothing points to
    source, similarity = torch.randint(0, 50, (len(target),)), torch.randn(len(target))
    owner = torch.zeros(50, dtype=torch.long)
    adjacency = torch.zeros(50, 50).index_put_((target, source), similarity.sigmoid(), accumulate=True)
    adjacency /= adjacency.sum(1, keepdim=True).clamp(min=1e-6)

    def by_formula(nodes, proposals):
        x = layers.embed(torch.cat([nodes, proposals[owner]], 1)).relu()
        for convolution in layers.convolutions:
            messages = convolution.lin_rel(adjacency @ x) + convolution.lin_root(x)
            x = x + messages.relu()
        return x

    results = []
    shares = gcn.message_shares(torch.stack([source, target]), similarity, 50)
    for compute in (
        lambda *inputs: layers(*inputs, owner, shares)[0],
        by_formula,
    ):
        nodes, proposals = torch.arange(150.0).reshape(50, 3).sin().requires_grad_(), torch.ones(1, 2)
        states = compute(nodes, proposals)
        states.square().sum().backward()
        results.append((states.detach(), nodes.grad))
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected)


def damage_truncate(path):
    path.write_bytes(path.read_bytes()[:-50])


def damage_key(path):
    tensors = safetensors.load_file(path)
    tensors["1.head.0.weight"] = tensors["1.head.0.weight"][:, :-1].contiguous()
    rewrite(path, tensors)


def damage_missing(path):
    tensors = safetensors.load_file(path)
    del tensors["0.head.0.bias"]
    rewrite(path, tensors)


def damage_kind(path):
    rewrite(path, safetensors.load_file(path), kind="another")


def rewrite(path, tensors, **changes):
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    safetensors.save_file(tensors, path, metadata | changes)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_truncate, "is no whole safetensors file"),
        (damage_key, "1.head.0.weight has shape"),
        (damage_missing, "0.head.0.bias is missing"),
        (damage_kind, "is not the network it should be"),
        (lambda path: path.write_bytes(b"\x80\x04cposix\nsystem\n"), "is no whole safetensors file"),
        (lambda path: path.unlink(), "not found"),
        (
            lambda path: rewrite(path, safetensors.load_file(path), config="{}"),
            "is not the network it should be",
        ),
        (
            lambda path: rewrite(
                path,
                safetensors.load_file(path),
                config=json.dumps({"node_measures": ["x"], "proposal_measures": ["y"]}),
            ),
            "was trained on other measures",
        ),
    ],
)
def test_a_file_that_does_not_serve_is_one_line(tmp_path, network_class, damage, words):
    path = tmp_path / network_class.file_name
    gcn.save_networks(path, networks_of(network_class))
    damage(path)
    with pytest.raises(InputError, match=words) as caught:
        load(tmp_path, network_class)
    assert str(path) in str(caught.value)
