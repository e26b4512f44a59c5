"""Finding the faces of a photo with a detector: at several sizes, in tiles, and again upright.

A detector is a function from pictures, uint8 RGB (B, H, W, 3), to what it finds in each, float32 (n, 15):
left, top, right, bottom, score, and x, y of both eyes, the nose and both corners of the mouth. Here and
in the results lengths are pixels, counted from the corner of the first pixel.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image

Detect = Callable[[np.ndarray], list[np.ndarray]]

# Measured with CenterFace on WIDER FACE and LFW photos (benchmarks/photos.py).
MIN_SCORE = 0.2  # at first sight: the second look tells faces from others
MIN_HEIGHT = 16  # height of the smallest wanted face in the largest copy of a photo, in pixels
MAX_SCALE = 2.0  # of a photo's largest copy
SIDE = 1024  # longest side of a picture in pixels; larger copies are cut into tiles
OVERLAP = 160  # of tiles, in pixels: more than MAX_IN_TILE, so that each such face is whole in one
MAX_IN_TILE = 128  # height of a face that must lie whole in one tile; larger ones are seen in the next copy
MAX_IN_PICTURE = 400  # boxes of faces above some 550 pixels are wrong
STEP = 3  # ratio of the sizes of one copy and the next
BORDER = 4  # pixels: a box that comes so near the cut of a tile may be a part of a face
SAME_FACE = 0.3  # IoU of two boxes above which they are of one face
INSIDE = 0.7  # share of a box inside another one above which it is a part of that face
CHIP = 192  # pixels of the square in which a face is seen again
FACE_IN_CHIP = 112  # its height there, where landmarks err least
MAX_ROLL = 10.0  # degrees by which a face may be turned in its chip
SURELY_SMALLER = 0.8  # of a height: the second look changes heights by less
LOOKS = 2  # at a face at most: the first landmarks of a face far from upright give only a rough roll
AT_ONCE = 8  # faces seen again in one call of the detector


def find_faces(
    photo: Image.Image, detect: Detect, min_height: float, turns: Sequence[int] = (0,)
) -> np.ndarray:
    """The faces of an RGB photo, each once, highest scores first; float32 (n, 15).

    Those that may have `min_height` pixels are seen twice, at their best size and upright, which decides
    box and landmarks and half of the score; smaller ones, if any, are as first detected.
    `turns` are quarters by which the photo is turned to find faces that lie on their side.
    """
    seen = []
    for quarters in turns:
        turned, turn, corner = quarter_turns(photo, quarters)
        seen += [
            moved(detect_in_copy(turned, detect, scale, is_last), turn, corner)
            for scale, is_last in copies(turned, min_height)
        ]
    faces = without_repeats(np.concatenate(seen))
    is_small = heights(faces) < SURELY_SMALLER * min_height
    again = look_again(photo, detect, faces[~is_small])
    return without_repeats(np.concatenate([again, faces[is_small]]))


def quarter_turns(photo: Image.Image, quarters: int) -> tuple[Image.Image, complex, complex]:
    """A photo turned counterclockwise, and the similarity from there back to the photo."""
    width, height = photo.size
    if quarters == 0:
        return photo, 1, 0
    method = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)[quarters - 1]
    corner = (complex(width, 0), complex(width, height), complex(0, height))[quarters - 1]
    return photo.transpose(method), 1j**quarters, corner


def copies(photo: Image.Image, min_face: float) -> Iterator[tuple[float, bool]]:
    """The scales of the copies of a photo to look at, and whether one is the last, for the largest faces."""
    longest = max(photo.size)
    scale = max(min(MAX_SCALE, MIN_HEIGHT / min_face), min(1.0, SIDE / longest))
    while longest * scale > MAX_IN_PICTURE:
        yield scale, False
        scale /= STEP
    yield scale, True


def detect_in_copy(photo: Image.Image, detect: Detect, scale: float, is_last: bool) -> np.ndarray:
    """What is found in a copy of a photo, in pixels of the photo; float32 (n, 15)."""
    width, height = (max(1, round(side * scale)) for side in photo.size)
    lefts, tile_width = tile_starts(width)
    tops, tile_height = tile_starts(height)
    corners = [(left, top) for top in tops for left in lefts]
    most = MAX_IN_TILE if len(corners) > 1 else np.inf if is_last else MAX_IN_PICTURE
    copy = photo if (width, height) == photo.size else photo.resize((width, height), resample(scale))
    found = [np.zeros((0, 15), np.float32)]
    for left, top in corners:
        tile = np.asarray(copy.crop((left, top, left + tile_width, top + tile_height)))
        rows = detect(tile[None])[0]
        is_whole = (rows[:, 4] >= MIN_SCORE) & (heights(rows) <= most)
        is_whole &= (rows[:, 0] > BORDER) | (left == 0)
        is_whole &= (rows[:, 1] > BORDER) | (top == 0)
        is_whole &= (rows[:, 2] < tile_width - BORDER) | (left + tile_width == width)
        is_whole &= (rows[:, 3] < tile_height - BORDER) | (top + tile_height == height)
        found.append(moved(rows[is_whole], 1 / scale, complex(left, top) / scale))
    return np.concatenate(found)


def resample(scale: float) -> Image.Resampling:
    """How a copy is made: Pillow's filters take in all pixels of a smaller one."""
    return Image.Resampling.BILINEAR if scale < 1 else Image.Resampling.BICUBIC


def tile_starts(side: int) -> tuple[list[int], int]:
    """Where the tiles of one side start, and how long all of them are."""
    count = max(1, -(-(side - OVERLAP) // (SIDE - OVERLAP)))
    length = -(-(side + (count - 1) * OVERLAP) // count)
    return [round(number * (side - length) / max(1, count - 1)) for number in range(count)], length


def heights(rows: np.ndarray) -> np.ndarray:
    """The heights of boxes, (n,)."""
    return rows[:, 3] - rows[:, 1]


def moved(rows: np.ndarray, turn: complex, corner: complex) -> np.ndarray:
    """Faces under a similarity, points as complex numbers: z to `turn` z + `corner`.

    Sides of boxes stay upright: a box is the one around the ellipse in it.
    """
    points = np.concatenate([rows[:, :2] + rows[:, 2:4], 2 * rows[:, 5:]], axis=1).astype(np.float64) / 2
    there = (points[:, 0::2] + 1j * points[:, 1::2]) * turn + corner
    points = np.stack([there.real, there.imag], axis=-1)
    halves = (rows[:, 2:4] - rows[:, :2]).astype(np.float64) / 2
    sides = np.array([[turn.real, turn.imag], [turn.imag, turn.real]])
    halves = np.sqrt(halves**2 @ sides**2)
    middles = points[:, 0]
    parts = [middles - halves, middles + halves, rows[:, 4:5], points[:, 1:].reshape(-1, 10)]
    return np.concatenate(parts, axis=1, dtype=np.float32)


def without_repeats(rows: np.ndarray) -> np.ndarray:
    """Each face once, its detection of the highest score; highest first (non-maximum suppression)."""
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    areas = (rows[:, 2] - rows[:, 0]) * heights(rows)
    kept: list[int] = []
    for number, row in enumerate(rows):
        others = rows[kept]
        sides = np.minimum(row[2:4], others[:, 2:4]) - np.maximum(row[:2], others[:, :2])
        shared = sides.clip(0).prod(axis=1)
        union = areas[number] + areas[kept] - shared
        is_part = shared > INSIDE * np.minimum(areas[number], areas[kept])
        if not (is_part | (shared > SAME_FACE * union)).any():
            kept.append(number)
    return rows[kept]


def rolls(rows: np.ndarray) -> np.ndarray:
    """How far faces are turned in the picture, by their eyes and mouths, in degrees clockwise; (n,)."""
    points = rows[:, 5:].reshape(-1, 5, 2).astype(np.float64)
    points = points[..., 0] + 1j * points[..., 1]
    across = points[:, 1] - points[:, 0] + points[:, 4] - points[:, 3]
    down = points[:, 3:].sum(axis=1) - points[:, :2].sum(axis=1)
    # Down the face, turned back a quarter, points across it too.
    return np.degrees(np.angle(across - 1j * down))


def look_again(photo: Image.Image, detect: Detect, faces: np.ndarray) -> np.ndarray:
    """See each face again at its best size, upright and mirrored; float32 (n, 15).

    Box and landmarks are the mean of what is seen, the score the mean of the first and of these. Where
    nothing is seen the face keeps its place, and half its score.
    """
    seen, turned = faces.copy(), np.full(len(faces), np.nan)
    seen[:, 4] /= 2
    for _ in range(LOOKS):
        angles = rolls(seen)
        again = np.flatnonzero(~(np.abs((angles - turned + 180) % 360 - 180) <= MAX_ROLL))
        for start in range(0, len(again), AT_ONCE):
            some = again[start : start + AT_ONCE]
            maps = [chip_map(seen[face], angles[face]) for face in some]
            chips = np.stack([np.asarray(cut(photo, *there, CHIP)) for there in maps])
            both = detect(np.concatenate([chips, chips[:, :, ::-1]]))
            for face, there, straight, mirrored in zip(
                some, maps, both[: len(some)], both[len(some) :], strict=True
            ):
                both_views = (nearest_in_chip(straight), nearest_in_chip(mirror(mirrored)))
                views = [view for view in both_views if view is not None]
                if views:
                    back = moved(np.mean(views, axis=0)[None], *there)[0]
                    score = (faces[face, 4] + sum(view[4] for view in views) / 2) / 2
                    seen[face], turned[face] = back, angles[face]
                    seen[face, 4] = score
    return seen


def chip_map(face: np.ndarray, angle: float) -> tuple[complex, complex]:
    """The similarity from a chip that has the face upright in its middle to the photo."""
    turn = complex((face[3] - face[1]) / FACE_IN_CHIP * np.exp(1j * np.radians(angle)))
    middle = complex(face[0] + face[2], face[1] + face[3]) / 2
    return turn, middle - turn * complex(CHIP, CHIP) / 2


def mirror(rows: np.ndarray) -> np.ndarray:
    """What was found in a mirrored chip, as it lies in the chip itself."""
    rows = rows.copy()
    rows[:, [0, 2]] = CHIP - rows[:, [2, 0]]
    points = rows[:, 5:].reshape(-1, 5, 2)[:, [1, 0, 2, 4, 3]]  # left and right change places
    points[..., 0] = CHIP - points[..., 0]
    rows[:, 5:] = points.reshape(-1, 10)
    return rows


def cut(photo: Image.Image, turn: complex, corner: complex, side: int) -> Image.Image:
    """The square of a photo that a similarity maps a picture of this side to; black beyond the photo.

    A point z of the picture, as a complex number, is the photo's `turn` z + `corner`, both counted from
    corners of pixels. Where the photo's pixels are less than half those of the picture, it is reduced
    first, so that none is left out.
    """
    reach = [corner + turn * point for point in (0, side, 1j * side, side + 1j * side)]
    left = max(0, int(np.floor(min(point.real for point in reach))) - 2)
    top = max(0, int(np.floor(min(point.imag for point in reach))) - 2)
    right = min(photo.width, int(np.ceil(max(point.real for point in reach))) + 2)
    bottom = min(photo.height, int(np.ceil(max(point.imag for point in reach))) + 2)
    if right <= left or bottom <= top:
        return Image.new("RGB", (side, side))
    part = photo.crop((left, top, right, bottom))
    corner -= complex(left, top)
    factor = max(1, int(abs(turn)))
    if factor > 1:
        part = part.reduce(factor)
        turn, corner = turn / factor, corner / factor
    matrix = (turn.real, -turn.imag, corner.real, turn.imag, turn.real, corner.imag)
    return part.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def nearest_in_chip(rows: np.ndarray) -> np.ndarray | None:
    """The face nearest to the middle of a chip, None where none is near it and of about its size."""
    middles = (rows[:, :2] + rows[:, 2:4]) / 2
    distances = np.abs(middles - CHIP / 2).max(axis=1)
    ratios = np.abs(np.log2(np.maximum(heights(rows), 1) / FACE_IN_CHIP))
    near = np.flatnonzero((distances < FACE_IN_CHIP / 2) & (ratios < 1))
    return rows[near[np.argmin(distances[near])]] if len(near) else None
