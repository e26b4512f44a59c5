"""Alignment beside the general formula, to a fraction of a pixel, and what landmarks tell."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from pipeline.photos.alignment import TEMPLATE, align, roll, sharpness, similarity, yaw
from pipeline.photos.detection import cut


def umeyama(here, there):
    """The similarity from points to points by singular values, with no reflection, as Umeyama gives it."""
    around_here, around_there = here - here.mean(0), there - there.mean(0)
    u, values, vt = np.linalg.svd(around_there.T @ around_here / len(here))
    signs = np.array([1, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ np.diag(signs) @ vt
    scale = (values * signs).sum() / around_here.var(0).sum()
    return scale * rotation, there.mean(0) - scale * rotation @ here.mean(0)


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_similarity_is_umeyamas_without_reflection(mirrored):
    rng = np.random.default_rng(0)
    landmarks = rng.normal(TEMPLATE * [-1 if mirrored else 1, 1] * 3.7 + 400, 8)
    matrix, shift = umeyama(landmarks, TEMPLATE + 0.5)
    turn, corner = similarity(landmarks)
    for point in rng.uniform(0, 112, (5, 2)):
        z = turn * complex(*point) + corner
        np.testing.assert_allclose(matrix @ [z.real, z.imag] + shift, point, atol=1e-8)


def photo_of_dots(turn, corner, size):
    """White dots where a similarity puts the template's points; and these places, from pixels' corners."""
    places = turn * ((TEMPLATE + 0.5) @ [1, 1j]) + corner
    y, x = np.mgrid[: size[1], : size[0]] + 0.5
    width = 2.5 * abs(turn)
    light = sum(np.exp(-((x - z.real) ** 2 + (y - z.imag) ** 2) / 2 / width**2) for z in places)
    return Image.fromarray((255 * np.minimum(light, 1)).astype(np.uint8)).convert("RGB"), places


@pytest.mark.parametrize("scale", [0.4, 1.0, 1.7, 3.2, 7.9])
@pytest.mark.parametrize("angle", [0, 25, -140])
def test_landmarks_come_to_the_template_within_a_tenth_of_a_pixel(scale, angle):
    turn = scale * np.exp(1j * np.radians(angle))
    middle = complex(620, 560)
    photo, places = photo_of_dots(turn, middle - turn * (56 + 56j), (1240, 1120))
    pixels = np.asarray(align(photo, np.stack([places.real, places.imag], 1)).convert("L"), float)
    for x, y in TEMPLATE:
        left, top = round(x) - 6, round(y) - 6
        part = pixels[top : top + 13, left : left + 13]
        rows, columns = np.mgrid[top : top + 13, left : left + 13]
        centre = [(part * columns).sum() / part.sum(), (part * rows).sum() / part.sum()]
        np.testing.assert_allclose(centre, [x, y], atol=0.15)


def test_what_lies_beyond_the_photo_is_black():
    white = Image.new("RGB", (60, 60), "white")
    pixels = np.asarray(cut(white, 1, complex(-20, -30), 112))
    assert (pixels[:29] == 0).all() and (pixels[:, :19] == 0).all() and (pixels[91:] == 0).all()
    assert (pixels[31:89, 21:79] == 255).all()
    assert (np.asarray(cut(white, 1, complex(500, 0), 112)) == 0).all()


def test_a_part_of_a_photo_comes_back_to_the_pixel():
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (200, 200, 3)).astype(np.uint8))
    assert np.array_equal(np.asarray(cut(photo, 1, complex(40, 30), 112)), np.asarray(photo)[30:142, 40:152])


def test_where_the_photo_is_finer_no_pixel_is_left_out():
    checks = np.indices((900, 900)).sum(0) % 2 * 255
    pixels = np.asarray(cut(Image.fromarray(checks.astype(np.uint8)).convert("RGB"), 8, 0, 112))
    assert np.abs(pixels[1:-1, 1:-1].astype(float) - 127.5).max() < 2


def test_roll_and_yaw_have_their_signs():
    assert roll(TEMPLATE) == pytest.approx(0, abs=0.5)
    assert yaw(TEMPLATE) == pytest.approx(0, abs=2)
    angle = np.radians(30)
    turned = TEMPLATE @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    assert roll(turned) == pytest.approx(30, abs=0.5)  # clockwise, as y points down
    aside = TEMPLATE + [[0, 0], [0, 0], [12, 0], [0, 0], [0, 0]]
    assert 20 < yaw(aside) < 45
    mirrored = ([112, 0] + aside * [-1, 1])[[1, 0, 2, 4, 3]]
    assert yaw(mirrored) == pytest.approx(-yaw(aside), abs=3)


def test_blur_is_less_sharp(portraits):
    assert sharpness(portraits[0].filter(ImageFilter.GaussianBlur(3))) < sharpness(portraits[0]) / 4
