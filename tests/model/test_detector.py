"""The detector beside onnxruntime, which runs the same file, and its weights where they are damaged."""

from common.errors import EnvironmentFault, InputError

import numpy as np
import pytest
from conftest import LazyModule
from PIL import Image

torch, onnx, onnxruntime = LazyModule("torch"), LazyModule("onnx"), LazyModule("onnxruntime")
detector = LazyModule("model.detector")


@pytest.fixture(scope="module")
def network():
    return detector.load_detector(detector.find_detector_weights())


@pytest.fixture(scope="module")
def reference():
    """The file run by onnxruntime, for pictures of any size."""
    model = onnx.load(detector.find_detector_weights())
    for value in (model.graph.input[0], *model.graph.output):
        for place, name in ((0, "B"), (2, f"H{value.name}"), (3, f"W{value.name}")):
            value.type.tensor_type.shape.dim[place].dim_param = name
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda pixels: np.concatenate(session.run(None, {model.graph.input[0].name: pixels}), axis=1)


@pytest.fixture(scope="module")
def picture(portraits):
    """Three faces of different sizes; uint8 RGB (160, 288, 3), sides that 32 divides."""
    image = Image.new("RGB", (288, 160), (90, 120, 150))
    for face, side, place in zip(portraits, (112, 64, 40), ((10, 20), (140, 30), (225, 90)), strict=False):
        image.paste(face.resize((side, side)), place)
    return np.asarray(image)


def test_the_network_gives_what_onnxruntime_gives(network, reference, picture):
    pixels = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)
    with torch.inference_mode():
        ours = network(torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose(ours, reference(pixels), atol=1e-4)
    assert ours[0, 0].max() > 0.5


def test_faces_are_decoded_as_the_outputs_say(network, reference, picture):
    """By the definition, cell by cell, from onnxruntime's outputs on RGB."""
    outputs = reference(np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32))[0]
    found = detector.detect(network, picture[None], 0.3)[0]
    assert len(found) >= 3
    for face in found:
        row, column = divmod(np.abs(outputs[0] - face[4]).argmin(), outputs.shape[2])
        heat, log_height, log_width, down, right, *landmarks = outputs[:, row, column]
        height, width = np.exp(log_height) * 4, np.exp(log_width) * 4
        x, y = (column + right + 0.5) * 4, (row + down + 0.5) * 4
        box = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        points = [
            (box[0] + landmarks[2 * point + 1] * width, box[1] + landmarks[2 * point] * height)
            for point in range(5)
        ]
        np.testing.assert_allclose(face, [*box, heat, *np.ravel(points)], rtol=1e-3, atol=1e-2)


def test_any_size_is_padded_right_and_below(network, picture):
    whole = detector.detect(network, picture[None], 0.3)[0]
    cut = detector.detect(network, picture[None, :157, :281], 0.3)[0]
    assert np.abs(cut - whole).max() < 2.0


def test_small_faces_need_red_first(network, portraits):
    image = Image.new("RGB", (256, 256), (110, 120, 130))
    for number in range(25):
        image.paste(portraits[number % 12].resize((28, 28)), (8 + number % 5 * 50, 8 + number // 5 * 50))
    pixels = np.asarray(image)
    scores = [
        np.sort(detector.detect(network, picture[None], 0.05)[0][:, 4])[-25:].sum()
        for picture in (pixels, pixels[..., ::-1])
    ]
    assert scores[0] > scores[1] + 0.5


def test_the_number_of_threads_changes_no_bit(network, picture):
    before = torch.get_num_threads()
    results = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        results.append(detector.detect(network, picture[None], 0.1)[0])
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert np.array_equal(*results)


def test_weights_that_are_damaged_or_of_another_network_are_refused(tmp_path):
    whole = detector.find_detector_weights().read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cut.onnx: is no whole ONNX file"):
        detector.load_detector(path)
    model = onnx.load_from_string(whole)
    del model.graph.node[10:]
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(InputError, match="not that of CenterFace"):
        detector.load_detector(tmp_path / "other.onnx")


def test_without_its_package_the_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr("model.detector.PACKAGE", "no_such_package")
    with pytest.raises(EnvironmentFault, match=r"requirements-detector\.txt"):
        detector.find_detector_weights()
