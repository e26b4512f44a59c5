"""Faces found in photos of every size, each once, and upright."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.photos.detection import (
    MAX_IN_TILE,
    OVERLAP,
    SIDE,
    cut,
    find_faces,
    heights,
    moved,
    quarter_turns,
    rolls,
    tile_starts,
    without_repeats,
)

MIN_SCORE = 0.3


def likely(faces):
    return faces[faces[:, 4] >= MIN_SCORE]


def middles(faces):
    return (faces[:, :2] + faces[:, 2:4]) / 2


def photo_of(faces, size):
    """A photo with faces, each (portrait, side, left, top)."""
    photo = Image.new("RGB", size, (96, 110, 124))
    for portrait, side, left, top in faces:
        photo.paste(portrait.resize((side, side), Image.Resampling.BICUBIC), (round(left), round(top)))
    return photo


@pytest.fixture(scope="module")
def good(portraits, detect):
    """Portraits that the detector is sure of, and where it sees the face in each."""
    seen = [(portrait, likely(find_faces(portrait, detect, 32))) for portrait in portraits]
    seen = [(portrait, faces[0]) for portrait, faces in seen if len(faces) == 1 and faces[0, 4] > 0.5]
    assert len(seen) >= 8
    return seen


def found_at(faces, side, left, top):
    """The faces whose middle lies near that of a portrait pasted there."""
    distances = np.abs(middles(faces) - [left + side / 2, top + side / 2]).max(axis=1)
    return np.flatnonzero(distances < side / 3)


def test_small_faces_of_a_mosaic_are_found_each_once(good, detect):
    places = [(side, x, y) for side, y0 in ((32, 10), (40, 250)) for y in range(y0, y0 + 220, 60)
              for x in range(10, 590, 60)]  # fmt: skip
    pasted = [(good[number % len(good)][0], *place) for number, place in enumerate(places)]
    faces = likely(find_faces(photo_of(pasted, (640, 512)), detect, 24))
    found = [found_at(faces, *place) for place in places]
    assert max(map(len, found)) == 1
    assert sum(map(len, found)) >= 0.95 * len(places)
    assert len(faces) <= sum(map(len, found)) + 1


@pytest.mark.parametrize(
    ("longest", "share"), [(1000, 0.2), (1000, 0.55), (1000, 0.9), (2400, 0.35), (6000, 0.9)]
)
def test_a_face_of_any_size_is_found_once_with_its_box(good, detect, longest, share):
    for portrait, there in good[: 1 if longest > 1000 else 2]:
        side = round(longest * share * 112 / (there[3] - there[1]))
        left, top = (np.array([0.8 * longest, longest]) - side) / 2
        photo = photo_of([(portrait, side, left, top)], (round(0.8 * longest), longest))
        faces = likely(find_faces(photo, detect, max(32, 0.05 * longest)))
        assert len(faces) == 1
        expected = there[:4] * side / 112 + np.array([left, top, left, top])
        assert np.abs(faces[0, :4] - expected).max() < 0.15 * (there[3] - there[1]) * side / 112


def test_faces_on_the_cuts_between_tiles_are_found_once(good, detect):
    size = (1900, 900)
    starts, length = tile_starts(size[0])
    assert len(starts) > 1
    cuts = [starts[1], starts[0] + length, (starts[1] + starts[0] + length) / 2]
    places = [
        (side, x - side / 2, y) for x, y in zip(cuts, (100, 350, 600), strict=True) for side in (60, 200)
    ]
    places = [(side, x, y if side == 60 else y + 60) for side, x, y in places]
    pasted = [(good[number][0], *place) for number, place in enumerate(places)]
    faces = likely(find_faces(photo_of(pasted, size), detect, 16))
    assert [len(found_at(faces, *place)) for place in places if place[0] == 200] == [1, 1, 1]
    assert max(len(found_at(faces, *place)) for place in places) == 1


@pytest.mark.parametrize("angle", [-60, -35, -12, 12, 35, 60])
def test_eyes_of_rolled_faces_are_where_they_are_upright(good, detect, angle):
    errors = []
    for portrait, there in good[:3]:
        photo = photo_of([(portrait, 168, 116, 116)], (400, 400))
        upright = likely(find_faces(photo, detect, 32))[0]
        turn = np.exp(-1j * np.radians(angle))
        rolled = cut(photo, turn, 200 + 200j - turn * (200 + 200j), 400)
        faces = likely(find_faces(rolled, detect, 32))
        assert len(faces) == 1
        expected = moved(upright[None], 1 / turn, 200 + 200j - (200 + 200j) / turn)[0]
        eyes = np.hypot(*(faces[0, 5:9] - expected[5:9]).reshape(2, 2).T)
        errors.append(eyes.mean() / np.hypot(*(there[7:9] - there[5:7])) / 1.5)
        assert rolls(faces)[0] == pytest.approx(rolls(upright[None])[0] + angle, abs=4)
    assert np.mean(errors) < 0.06


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_photos_on_their_side_show_their_faces_where_turns_are_tried(good, detect, quarters):
    photo = photo_of(
        [(portrait, 80, 40 + 100 * k, 60) for k, (portrait, _) in enumerate(good[:3])], (360, 240)
    )
    turned, turn, corner = quarter_turns(photo, quarters)
    upright = likely(find_faces(photo, detect, 32))
    faces = likely(find_faces(turned, detect, 32, turns=(0, 1, 2, 3)))
    assert len(faces) == len(upright) == 3
    back = moved(faces, turn, corner)
    for face in upright:
        nearest = back[np.abs(middles(back) - middles(face[None])).max(axis=1).argmin()]
        assert np.abs(nearest[5:] - face[5:]).max() < 5


def test_a_photo_without_a_face_has_none(detect):
    photo = Image.effect_noise((700, 500), 60).convert("RGB")
    assert len(likely(find_faces(photo, detect, 32))) == 0


@given(st.integers(1, 40_000))
def test_tiles_cover_a_side_and_overlap(side):
    starts, length = tile_starts(side)
    assert starts[0] == 0 and starts[-1] + length == side and length <= SIDE
    assert all(
        0 < after - before <= length - OVERLAP for before, after in zip(starts, starts[1:], strict=False)
    )
    assert OVERLAP > MAX_IN_TILE


def test_moving_there_and_back_changes_nothing():
    rng = np.random.default_rng(0)
    faces = rng.uniform(0, 100, (7, 15)).astype(np.float32)
    faces[:, 2:4] = faces[:, :2] + 30
    turn, corner = 2 - 0.7j, 13 + 5j
    back = moved(moved(faces, turn, corner), 1 / turn, -corner / turn)
    np.testing.assert_allclose(back[:, 5:], faces[:, 5:], atol=1e-3)
    np.testing.assert_allclose(middles(back), middles(faces), atol=1e-3)
    np.testing.assert_allclose(moved(faces, 3, 1j)[:, :4], faces[:, :4] * 3 + [0, 1, 0, 1], atol=1e-3)


def test_of_boxes_of_one_face_the_most_likely_stays():
    boxes = [(0, 0, 100, 100, 0.5), (10, 5, 105, 100, 0.9), (20, 20, 50, 50, 0.7), (300, 0, 400, 100, 0.3)]
    faces = np.zeros((4, 15), np.float32)
    faces[:, :5] = boxes
    kept = without_repeats(faces)
    assert kept[:, 4].tolist() == pytest.approx([0.9, 0.3])
    assert len(without_repeats(faces[:0])) == 0
    assert heights(kept).tolist() == [95, 100]
