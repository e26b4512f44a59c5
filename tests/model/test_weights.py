"""Weight files: what fits is read, what does not is one line, and no pickle runs code."""

import pickle

from common.errors import InputError

import pytest
from conftest import LazyModule

torch, safetensors = LazyModule("torch"), LazyModule("safetensors.torch")
weights = LazyModule("model.weights")


@pytest.fixture
def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
def test_a_state_dict_comes_back(tmp_path, network, suffix):
    path = tmp_path / f"weights{suffix}"
    save = safetensors.save_file if suffix == ".safetensors" else torch.save
    save(network.state_dict(), path)
    other = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    weights.load_strictly(other, weights.read_state_dict(path), path)
    torch.testing.assert_close(other.state_dict(), network.state_dict())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_truncated_file_is_one_line(tmp_path, network, suffix):
    path = tmp_path / f"weights{suffix}"
    save = safetensors.save_file if suffix == ".safetensors" else torch.save
    save(network.state_dict(), path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="weights.*(whole|damaged)"):
        weights.read_state_dict(path)


def test_the_first_key_that_does_not_fit_is_named(tmp_path, network):
    state = network.state_dict()
    with pytest.raises(InputError, match=r"0\.bias is missing"):
        weights.load_strictly(network, {k: v for k, v in state.items() if k != "0.bias"}, tmp_path)
    with pytest.raises(InputError, match=r"0\.weight has shape \(5, 3\), not \(2, 3\)"):
        weights.load_strictly(network, state | {"0.weight": torch.zeros(5, 3)}, tmp_path)
    with pytest.raises(InputError, match="extra is not in this network"):
        weights.load_strictly(network, state | {"extra": torch.zeros(1)}, tmp_path)


class Malicious:
    """Unpickling this would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
@pytest.mark.parametrize(
    "save",
    [
        lambda value, path: torch.save(value, path),
        lambda value, path: path.write_bytes(pickle.dumps(value)),
    ],
)
def test_no_pickle_runs_code(tmp_path, suffix, save):
    mark, path = tmp_path / "ran", tmp_path / f"weights{suffix}"
    save({"0.weight": Malicious(mark)}, path)
    with pytest.raises(InputError, match="weights"):
        weights.read_state_dict(path)
    assert not mark.exists()


def test_other_places_are_refused(tmp_path):
    with pytest.raises(InputError, match="not found"):
        weights.read_state_dict(tmp_path / "none.pth")
    (tmp_path / "weights.bin").write_bytes(b"x")
    with pytest.raises(InputError, match=r"is not \.safetensors, \.pth or \.pt"):
        weights.read_state_dict(tmp_path / "weights.bin")
