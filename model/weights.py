"""Readers of weight files: dlib's serialized face network, safetensors, and PyTorch's checkpoints.

Nothing but tensors is ever unpickled (`weights_only=True`).
"""

import importlib.util
import pickle
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from common.errors import EnvironmentFault, InputError
from common.inputs import require_file

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

DLIB_PACKAGE = "face_recognition_models"
DLIB_FILE = "dlib_face_recognition_resnet_model_v1.dat"
# The names of dlib's layers that hold weights, each behind its packed length.
DLIB_LAYERS = re.compile(rb"\x01\x05con_4|\x01\x07affine_|\x01\x04fc_2")


def find_in_package(package: str, name: str) -> Path | None:
    """A file inside an installed package, which is not imported; None where it is not there."""
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0], name) if folders else None
    return path if path is not None and path.is_file() else None


def find_dlib_weights() -> Path:
    """The file inside the installed package, whose import would need setuptools."""
    path = find_in_package(DLIB_PACKAGE, f"models/{DLIB_FILE}")
    if path is None:
        raise EnvironmentFault(f"{DLIB_FILE}: not found: install the package face-recognition-models")
    return path


def read_dlib_layers(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (layer name, parameters as float32 (n,)) of dlib's face network, input to output.

    The stream is as dlib's serialize() writes it: an integer is a byte with its length (and sign in
    the highest bit) and that many little-endian bytes; a tensor is its version, 2, four dimensions
    and raw float32. Raises `InputError` where the file ends early or holds something else.
    """
    data = path.read_bytes()
    position = 0
    while found := DLIB_LAYERS.search(data, position):
        name, position = found[0], found.end()
        try:
            if name.endswith(b"fc_2"):  # outputs and inputs stand before its parameters
                _, position = _dlib_integer(data, position)
                _, position = _dlib_integer(data, position)
            values, position = _dlib_tensor(data, position)
        except (IndexError, ValueError):
            raise InputError(f"{path}: is no whole file of dlib's face network: install it again") from None
        yield name[2:].decode(), values


def _dlib_integer(data: bytes, position: int) -> tuple[int, int]:
    length, negative = data[position] & 0x0F, data[position] & 0x80
    end = position + 1 + length
    if not 1 <= length <= 8 or negative or end > len(data):
        raise ValueError
    return int.from_bytes(data[position + 1 : end], "little"), end


def _dlib_tensor(data: bytes, position: int) -> tuple[np.ndarray, int]:
    version, position = _dlib_integer(data, position)
    shape = []
    for _ in range(4):
        size, position = _dlib_integer(data, position)
        shape.append(size)
    count = int(np.prod(shape))
    end = position + 4 * count
    if version != 2 or end > len(data):
        raise ValueError
    return np.frombuffer(data, "<f4", count, position), end


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a state dict from .safetensors, .pth or .pt; raises `InputError` naming the file."""
    require_file(path, "give --weights the path of a weights file")
    if path.suffix not in (".safetensors", ".pth", ".pt"):
        raise InputError(f"{path}: is not .safetensors, .pth or .pt: give --weights one of these")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a damaged file is reported below
            if path.suffix == ".safetensors":
                state = load_file(path)
            else:
                state = torch.load(path, "cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(
            f"{path}: is damaged, or holds more than tensors and is not opened: save its state_dict() alone"
        ) from None
    except OSError:
        raise
    except Exception:  # torch's readers of damaged files raise whatever Python does
        raise InputError(f"{path}: is no whole weights file: fetch it again") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path}: holds no state dict of tensors: save the network's state_dict()")
    return state


def load_strictly(network: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Give the network its weights; the first key that does not fit is an `InputError`."""
    expected = network.state_dict()
    for name, tensor in expected.items():
        if name not in state:
            if name.endswith("num_batches_tracked"):
                state[name] = tensor
                continue
            raise InputError(f"{path}: {name} is missing: the weights are of another network")
        if state[name].shape != tensor.shape:
            got, want = tuple(state[name].shape), tuple(tensor.shape)
            raise InputError(
                f"{path}: {name} has shape {got}, not {want}: the weights are of another network"
            )
    for name in state:
        if name not in expected:
            raise InputError(f"{path}: {name} is not in this network: the weights are of another one")
    network.load_state_dict(state)
