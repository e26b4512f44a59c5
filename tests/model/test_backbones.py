"""The face networks against references: dlib's own descriptors, arcface_torch's key names."""

import json

from common.errors import InputError, UsageError

import numpy as np
import pytest
from conftest import REPOSITORY, LazyModule

from model.names import BACKBONE_NAMES

torch = LazyModule("torch")
backbones, weights = LazyModule("model.backbones"), LazyModule("model.weights")


def wavy_chip(seed):
    """A smooth random picture, uint8 (150, 150, 3): waves of random direction, length and colour."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:150, :150] / 150
    picture = np.zeros((150, 150, 3))
    for _ in range(12):
        fx, fy, phase = rng.uniform(-6, 6, 3)
        picture += rng.uniform(-1, 1, 3) * np.cos(2 * np.pi * (fx * x + fy * y) + phase)[..., None]
    return np.clip(128 + 40 * picture, 0, 255).astype(np.uint8)


def test_dlib_port_gives_dlibs_own_descriptors():
    reference = json.loads((REPOSITORY / "tests" / "data" / "dlib_descriptors.json").read_text())
    descriptors = reference["descriptors"]
    chips = np.stack([wavy_chip(int(seed)) for seed in descriptors]).astype(np.float32)
    inputs = (chips - np.float32(backbones.DLIB_INPUT.mean)) / np.float32(backbones.DLIB_INPUT.scale)
    with torch.inference_mode():
        got = backbones.load_backbone("dlib", None).network(torch.from_numpy(inputs).permute(0, 3, 1, 2))
    assert len(descriptors) == 3
    np.testing.assert_allclose(got.numpy(), list(descriptors.values()), atol=2e-6)


def test_a_cut_dlib_file_is_one_clear_line(tmp_path):
    cut = tmp_path / "cut.dat"
    cut.write_bytes(weights.find_dlib_weights().read_bytes()[:1_000_000])
    with pytest.raises(InputError, match=r"cut\.dat: is not? .*dlib's face network"):
        backbones.load_dlib(cut)
    other = tmp_path / "other.dat"
    other.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="is not dlib's face network"):
        backbones.load_dlib(other)


@pytest.mark.parametrize("name", [name for name in BACKBONE_NAMES if name.startswith("iresnet")])
def test_iresnets_have_the_published_keys_and_shapes(name):
    state = backbones.IResNet(backbones.IRESNET_BLOCKS[name]).state_dict()
    shapes = {
        "conv1.weight": (64, 3, 3, 3),
        "bn1.running_var": (64,),
        "prelu.weight": (64,),
        "layer1.0.bn1.weight": (64,),
        "layer1.0.conv1.weight": (64, 64, 3, 3),
        "layer1.0.prelu.weight": (64,),
        "layer1.0.downsample.0.weight": (64, 64, 1, 1),
        "layer1.0.downsample.1.running_mean": (64,),
        "layer2.0.conv1.weight": (128, 64, 3, 3),
        "layer2.0.conv2.weight": (128, 128, 3, 3),
        "layer2.0.downsample.0.weight": (128, 64, 1, 1),
        f"layer3.{backbones.IRESNET_BLOCKS[name][2] - 1}.bn3.weight": (256,),
        f"layer4.{backbones.IRESNET_BLOCKS[name][3] - 1}.conv2.weight": (512, 512, 3, 3),
        "bn2.weight": (512,),
        "fc.weight": (512, 25088),
        "fc.bias": (512,),
        "features.weight": (512,),
    }
    assert {key: tuple(state[key].shape) for key in shapes} == shapes
    assert f"layer3.{backbones.IRESNET_BLOCKS[name][2]}.bn1.weight" not in state
    assert "layer1.1.downsample.0.weight" not in state


@pytest.mark.slow
def test_iresnet_from_a_checkpoint(tmp_path):
    torch.manual_seed(0)
    network = backbones.IResNet(backbones.IRESNET_BLOCKS["iresnet18"]).eval()
    path = tmp_path / "backbone.pth"
    torch.save(network.state_dict(), path)
    backbone = backbones.load_backbone("iresnet18", path)
    images = torch.randn(2, 3, 112, 112)
    with torch.inference_mode():
        got, want = backbone.network(images), network(images)
    assert got.shape == (2, backbone.dim) == (2, 512)
    torch.testing.assert_close(got, want)


def test_iresnet_needs_weights():
    with pytest.raises(UsageError, match="iresnet50 needs --weights"):
        backbones.load_backbone("iresnet50", None)


@pytest.mark.slow
def test_resnet50_pools_2048_features(tmp_path):
    from torchvision.models import resnet50

    torch.manual_seed(0)
    path = tmp_path / "resnet50.pth"
    torch.save(resnet50().state_dict(), path)
    backbone = backbones.load_backbone("resnet50", path)
    with torch.inference_mode():
        assert backbone.network(torch.zeros(1, 3, 224, 224)).shape == (1, 2048)


def test_the_names_that_may_be_chosen_are_those_of_the_networks():
    assert tuple(backbones.BACKBONES) == BACKBONE_NAMES
