"""Face networks that turn an aligned crop into a feature.

`dlib`: the ResNet of dlib's face recognition (King, "High quality face recognition with deep metric
learning", 2017), its weights read from dlib's own file. `iresnet*`: the ResNets of ArcFace (Deng et
al., CVPR 2019), with the key names of InsightFace's arcface_torch. `resnet50`: torchvision's, pooled.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.errors import EnvironmentFault, InputError, UsageError
from common.inputs import require_file

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.weights import find_dlib_weights, load_strictly, read_dlib_layers, read_state_dict

IRESNET_BLOCKS = {
    "iresnet18": (2, 2, 2, 2),
    "iresnet34": (3, 4, 6, 3),
    "iresnet50": (3, 4, 14, 3),
    "iresnet100": (3, 13, 30, 3),
}


@dataclass(frozen=True)
class Preprocessing:
    """What a network takes: RGB of `size` x `size`, (value of 0..255 - mean) / scale.

    `frame` is the alignment it was trained on: `arcface`, `dlib`, or `none` for the whole image.
    """

    size: int
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]
    frame: str


DLIB_INPUT = Preprocessing(150, (122.782, 117.001, 104.298), (256.0, 256.0, 256.0), "dlib")
ARCFACE_INPUT = Preprocessing(112, (127.5, 127.5, 127.5), (127.5, 127.5, 127.5), "arcface")
IMAGENET_INPUT = Preprocessing(224, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "none")


@dataclass(frozen=True)
class Backbone:
    """A network in evaluation mode, float (B, 3, size, size) to (B, dim), and what it takes."""

    network: nn.Module
    dim: int
    preprocessing: Preprocessing
    weights: Path


class DlibBlock(nn.Module):
    """Two 3x3 convolutions and a skip; a down block halves the picture and average-pools its skip."""

    def __init__(self, inputs: int, outputs: int, down: bool) -> None:
        super().__init__()
        self.down = down
        self.first = nn.Conv2d(inputs, outputs, 3, stride=2 if down else 1, padding=0 if down else 1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        skip = F.avg_pool2d(x, 2) if self.down else x
        x = self.second(F.relu(self.first(x), inplace=True))
        # The smaller one counts as padded with zeros, in space and in channels, as in dlib's add_prev.
        height, width = (max(0, want - got) for want, got in zip(skip.shape[2:], x.shape[2:], strict=True))
        x = F.pad(x, (0, width, 0, height)) if height or width else x
        x[:, : skip.shape[1], : skip.shape[2], : skip.shape[3]] += skip
        return F.relu(x, inplace=True)


class DlibResNet(nn.Module):
    """dlib's face ResNet, each affine layer folded into its convolution; (B, 3, 150, 150) to (B, 128)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 7, stride=2)
        blocks, inputs = [], 32
        for outputs, down, same in ((32, 0, 3), (64, 1, 3), (128, 1, 2), (256, 1, 2), (256, 1, 0)):
            for number in range(down + same):
                blocks.append(DlibBlock(inputs, outputs, down=number < down))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(256, 128, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.max_pool2d(self.stem(x), 3, 2), inplace=True)  # in this order on a quarter of the values
        return self.fc(self.blocks(x).mean((2, 3)))


def load_dlib(path: Path) -> DlibResNet:
    """Read dlib's weights; raises `InputError` where the file is not of this network."""
    network = DlibResNet()
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    # Modules are listed stem first, then block by block: the order of the file.
    expected = [name for _ in convolutions for name in ("con_4", "affine_")] + ["fc_2"]
    layers = list(read_dlib_layers(path))
    if [name for name, _ in layers] != expected:
        raise InputError(f"{path}: is not dlib's face network, or is cut short: install it again")
    with torch.no_grad():
        for convolution, (_, parameters), (_, affine) in zip(
            convolutions, layers[:-1:2], layers[1:-1:2], strict=True
        ):
            outputs, size = convolution.out_channels, convolution.weight.numel()
            if len(parameters) != size + outputs or len(affine) != 2 * outputs:
                raise InputError(f"{path}: a layer's size is not that of dlib's face network")
            gain, shift = affine[:outputs], affine[outputs:]
            weight = parameters[:size].reshape(convolution.weight.shape) * gain[:, None, None, None]
            convolution.weight.copy_(torch.from_numpy(weight))
            bias = convolution.bias
            assert bias is not None
            bias.copy_(torch.from_numpy(parameters[size:] * gain + shift))
        network.fc.weight.copy_(torch.from_numpy(np.ascontiguousarray(layers[-1][1].reshape(256, 128).T)))
    return network


class IBasicBlock(nn.Module):
    """A block of the ArcFace ResNets: BN, conv, BN, PReLU, conv, BN, and the skip."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.downsample is None else self.downsample(x)
        x = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(x)) + skip


class IResNet(nn.Module):
    """An ArcFace ResNet; (B, 3, 112, 112) to (B, 512)."""

    def __init__(self, blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU(64)
        inputs = 64
        for number, (outputs, count) in enumerate(zip((64, 128, 256, 512), blocks, strict=True), 1):
            strides = [2] + [1] * (count - 1)
            layer = nn.Sequential(*(IBasicBlock(inputs if s == 2 else outputs, outputs, s) for s in strides))
            self.add_module(f"layer{number}", layer)
            inputs = outputs
        self.bn2 = nn.BatchNorm2d(512)
        self.fc = nn.Linear(512 * 7 * 7, 512)
        self.features = nn.BatchNorm1d(512)

    def forward(self, x: Tensor) -> Tensor:
        x = self.prelu(self.bn1(self.conv1(x)))
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
        return self.features(self.fc(self.bn2(x).flatten(1)))


def load_backbone(name: str, weights: Path | None) -> Backbone:
    """The named network with its weights: `weights`, or for some names an installed file or a download.

    Raises `UsageError` where weights must be given, `InputError` where they do not fit,
    `EnvironmentFault` where none are available.
    """
    return BACKBONES[name](name, weights)


def _dlib(name: str, weights: Path | None) -> Backbone:
    path = weights or find_dlib_weights()
    require_file(path, "give --weights the path of dlib's .dat file, or leave it out")
    network = load_dlib(path)
    return Backbone(network.eval(), 128, DLIB_INPUT, path)


def _iresnet(name: str, weights: Path | None) -> Backbone:
    if weights is None:
        raise UsageError(f"--model {name} needs --weights FILE: a state dict as arcface_torch publishes them")
    network = IResNet(IRESNET_BLOCKS[name])
    load_strictly(network, read_state_dict(weights), weights)
    return Backbone(network.eval(), 512, ARCFACE_INPUT, weights)


def _resnet50(name: str, weights: Path | None) -> Backbone:
    from torchvision.models import ResNet50_Weights, resnet50  # takes seconds, and only this network needs it

    network = resnet50()
    if weights is None:
        source = ResNet50_Weights.DEFAULT
        try:
            state = source.get_state_dict(progress=False, check_hash=True)
        except (OSError, RuntimeError) as error:
            raise EnvironmentFault(
                f"torchvision's ResNet-50 weights cannot be downloaded ({error}): give --weights FILE"
            ) from None
        weights = Path(torch.hub.get_dir(), "checkpoints", Path(source.url).name)
    else:
        state = read_state_dict(weights)
    load_strictly(network, state, weights)
    network.fc = nn.Identity()
    return Backbone(network.eval(), 2048, IMAGENET_INPUT, weights)


BACKBONES: dict[str, Callable[[str, Path | None], Backbone]] = {
    "dlib": _dlib,
    "resnet50": _resnet50,
    **dict.fromkeys(IRESNET_BLOCKS, _iresnet),
}
