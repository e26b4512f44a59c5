"""Images of every kind a list may name: decoded, or refused with a reason."""

import os

from common.errors import InputError

import numpy as np
import pytest
from PIL import Image

from pipeline.images import MAX_PIXELS, WHOLE, frame_box, read_face, read_image


@pytest.fixture
def picture():
    """Red on the left, blue on the right."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :30, 0], pixels[:, 30:, 2] = 200, 200
    return Image.fromarray(pixels)


def colors(image):
    """The color of the left and of the right end, in the middle."""
    return [tuple(np.asarray(image)[image.height // 2, x].tolist()) for x in (2, image.width - 3)]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "LA", "L", "1"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_every_mode_becomes_rgb(tmp_path, picture, mode, suffix):
    if (mode, suffix) == ("CMYK", ".png"):
        suffix = ".jpg"
    path = tmp_path / f"image{suffix}"
    picture.convert("L" if mode == "LA" else "RGB").convert(mode).save(path)
    image = read_image(path)
    assert (image.mode, image.size) == ("RGB", picture.size)
    if mode in ("RGB", "RGBA", "P"):  # a palette holds the nearest colors
        np.testing.assert_allclose(colors(image), [(200, 0, 0), (0, 0, 200)], atol=5)


def test_sixteen_bits_are_scaled_to_eight(tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((20, 20), 40_000, np.uint16)).save(path)
    assert colors(read_image(path))[0] == (155, 155, 155)


def test_transparency_lies_on_white(tmp_path):
    path = tmp_path / "clear.png"
    palette = Image.new("P", (20, 20), 0)
    palette.putpalette([10, 20, 30] * 256)
    palette.save(path, transparency=0)
    assert colors(read_image(path))[0] == (255, 255, 255)


def test_exif_rotation_is_applied(tmp_path, picture):
    path, exif = tmp_path / "turned.jpg", Image.Exif()
    exif[0x0112] = 3
    picture.save(path, exif=exif, quality=95)
    left, right = colors(read_image(path))
    assert left[2] > 150 > left[0] and right[0] > 150 > right[2]


def test_of_an_animation_the_first_frame_counts(tmp_path, picture):
    path = tmp_path / "moving.gif"
    picture.save(path, save_all=True, append_images=[Image.new("RGB", picture.size, "green")])
    assert colors(read_image(path)) == [(200, 0, 0), (0, 0, 200)]


def refused(path):
    with pytest.raises(InputError) as caught:
        read_image(path)
    return str(caught.value)


def test_what_is_no_image_is_refused_with_a_reason(tmp_path, picture):
    assert refused(tmp_path / "none.jpg") == "not found"
    (tmp_path / "empty.jpg").write_bytes(b"")
    assert "no image" in refused(tmp_path / "empty.jpg")
    (tmp_path / "text.jpg").write_text("not an image")
    assert "no image" in refused(tmp_path / "text.jpg")
    picture.resize((300, 200)).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:900])
    assert "damaged" in refused(tmp_path / "cut.jpg")
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    assert refused(tmp_path / "dot.png") == "has 1 x 1 pixels, too few for a face"
    assert "not a regular file" in refused(tmp_path)


def test_nothing_is_handed_to_an_interpreter(tmp_path, picture):
    picture.save(tmp_path / "face.eps")
    (tmp_path / "face.jpg").write_bytes((tmp_path / "face.eps").read_bytes())
    assert "a kind that is not read" in refused(tmp_path / "face.jpg")


def test_a_path_that_leads_nowhere_says_how(tmp_path):
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    assert "symbolic links" in refused(tmp_path / "loop.jpg")
    assert "too long" in refused(tmp_path / ("a" * 300))


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path):
    side = int(MAX_PIXELS**0.5) + 100
    Image.new("1", (side, side)).save(tmp_path / "bomb.png")
    assert "too many" in refused(tmp_path / "bomb.png")


def test_fifos_and_devices_do_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "not a regular file" in refused(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    assert "not a regular file" in refused(tmp_path / "zero.jpg")


def test_frames_are_inverse_of_each_other():
    to_dlib, to_arcface = frame_box("arcface", "dlib"), frame_box("dlib", "arcface")
    width, height = to_dlib[2] - to_dlib[0], to_dlib[3] - to_dlib[1]
    corners = [to_dlib[0] + to_arcface[0] * width, to_dlib[1] + to_arcface[1] * height]
    corners += [to_dlib[0] + to_arcface[2] * width, to_dlib[1] + to_arcface[3] * height]
    np.testing.assert_allclose(corners, WHOLE, atol=1e-12)
    assert frame_box("none", "dlib") == frame_box("arcface", "arcface") == WHOLE


def test_a_box_beyond_the_image_is_black_there(tmp_path):
    Image.new("RGB", (112, 112), "white").save(tmp_path / "white.png")
    face = read_face(tmp_path / "white.png", 150, frame_box("arcface", "dlib"))
    assert face.shape == (150, 150, 3) and face.dtype == np.uint8
    assert (face[:130] == 255).all() and (face[-10:] == 0).all()
    smaller = read_face(tmp_path / "white.png", 112, WHOLE)
    assert smaller.shape == (112, 112, 3)


@pytest.mark.parametrize("largest", [255, 1023, 4095, 16383, 65535])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_of_any_depth_is_read_alike(tmp_path, largest, suffix):
    ramp = np.tile(np.linspace(0, 1, 64), (64, 1))
    Image.fromarray(np.rint(ramp * largest).astype(np.uint16)).save(tmp_path / f"deep.{suffix}")
    found = np.asarray(read_image(tmp_path / f"deep.{suffix}"))[..., 0]
    np.testing.assert_allclose(found, 255 * ramp, atol=1.3)


def test_a_tiff_that_says_its_depth_is_scaled_by_it(tmp_path):
    dark = np.tile(np.rint(np.linspace(0, 200, 64)), (64, 1)).astype(np.uint16)
    Image.fromarray(dark).save(tmp_path / "deep.tif", tiffinfo={281: 1023})
    np.testing.assert_allclose(
        np.asarray(read_image(tmp_path / "deep.tif"))[..., 0], dark / 1023 * 255, atol=1.01
    )


@pytest.mark.parametrize("largest", [1.0, 1.02, 255.0, 65535.0])
def test_floats_are_read_by_their_range(tmp_path, largest):
    ramp = np.tile(np.linspace(0, 1, 64), (64, 1))
    values = (ramp * largest).astype(np.float32)
    values[0, :4] = [np.nan, np.inf, -np.inf, -1]
    Image.fromarray(values).save(tmp_path / "float.tif")
    found = np.asarray(read_image(tmp_path / "float.tif"))[..., 0]
    np.testing.assert_allclose(found[1:], 255 * ramp[1:], atol=6 if largest == 1.02 else 1.01)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True, "quality": 95}])
def test_a_jpeg_that_lacks_its_end_marker_alone_is_whole(tmp_path, options):
    rng = np.random.default_rng(0)
    for size in ((64, 48), (112, 112), (261, 199)):
        noise = Image.fromarray(rng.integers(0, 255, (20, 24, 3), np.uint8)).resize(size)
        noise.save(tmp_path / "whole.jpg", **options)
        data = (tmp_path / "whole.jpg").read_bytes()
        whole = read_image(tmp_path / "whole.jpg").tobytes()
        for missing in (1, 2):
            (tmp_path / "cut.jpg").write_bytes(data[:-missing])
            assert read_image(tmp_path / "cut.jpg").tobytes() == whole
        for missing in (8, 100, 400):
            (tmp_path / "cut.jpg").write_bytes(data[:-missing])
            assert "damaged" in refused(tmp_path / "cut.jpg")
