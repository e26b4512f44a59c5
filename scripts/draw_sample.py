"""Draw the sample: a few dozen face-like portraits of a dozen people who do not exist.

Reads nothing; writes in --output a folder faces/, the file list faces.txt and labels.txt with the
person of each line (0 to 11). The drawings are laid out as crops aligned to the ArcFace template: 112 x 112,
eye centres near (38.3, 51.7) and (73.5, 51.5). The same seed draws the same pixels.

    python scripts/draw_sample.py --output demo
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # which PYTHONSAFEPATH leaves out

from common import cli
from common.progress import log, track

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy.interpolate import CubicSpline

from pipeline.files.atomic import whole_file, whole_folder

SIZE = 112
MARGIN = 20  # drawn around the crop, so that turning and shifting it uncovers no edge
SCALE = 2  # drawn this much larger, then reduced
MIDDLE = 55.9  # x of the face's axis
EYES = ((38.3, 51.7), (73.5, 51.5))
IMAGES = (6, 3, 4, 5, 2, 4, 6, 3, 4, 5, 2, 4)  # of each person
SKINS = ((247, 216, 196), (236, 190, 160), (214, 160, 122), (178, 122, 84), (132, 86, 58), (88, 56, 40))
HAIRS = ((28, 22, 20), (60, 40, 28), (112, 72, 40), (186, 146, 86), (150, 66, 36), (172, 170, 168))
IRISES = ((58, 36, 22), (96, 64, 32), (92, 116, 72), (82, 124, 158), (112, 126, 134), (40, 28, 22))

Colour = tuple[int, int, int]
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Person:
    """What stays the same from picture to picture; lengths in pixels of the crop."""

    skin: Colour
    hair: Colour
    iris: Colour
    cheek_width: float
    jaw_width: float
    chin: float
    hairline: float
    hair_style: str
    eye_width: float
    eye_height: float
    eye_slant: float
    brow_height: float
    brow_thickness: float
    brow_slant: float
    nose_length: float
    nose_width: float
    mouth_width: float
    lip: float
    lip_red: float
    age: float
    beard: str
    glasses: str
    freckles: bool


@dataclass(frozen=True)
class Shot:
    """What changes from picture to picture."""

    smile: float
    mouth_open: float
    brow_raise: float
    squint: float
    gaze: float
    light_from: float
    light_depth: float
    gain: float
    warmth: float
    turn: float
    zoom: float
    shift: tuple[float, float]
    noise: float
    blur: float
    backdrop: Colour
    quality: int


def draw_people(rng: np.random.Generator) -> list[Person]:
    """A dozen people, spread evenly over the range of every trait (a Latin hypercube)."""
    count = len(IMAGES)

    def spread(low: float, high: float) -> list[float]:
        return (low + (high - low) * rng.permutation(count) / (count - 1)).tolist()

    def deal(kinds: tuple) -> list:
        return [kinds[i % len(kinds)] for i in rng.permutation(count)]

    traits = {
        "skin": deal(SKINS),
        "hair": deal(HAIRS),
        "iris": deal(IRISES),
        "cheek_width": spread(38, 49),
        "jaw_width": spread(24, 41),
        "chin": spread(108, 124),
        "hairline": spread(4, 27),
        "hair_style": deal(("short", "long", "bald", "parted", "curly", "fringe")),
        "eye_width": spread(8, 12.5),
        "eye_height": spread(2.8, 5.6),
        "eye_slant": spread(-1.8, 1.8),
        "brow_height": spread(8, 14),
        "brow_thickness": spread(1.2, 4.6),
        "brow_slant": spread(-3, 3),
        "nose_length": spread(17, 26),
        "nose_width": spread(6, 12.5),
        "mouth_width": spread(11, 19),
        "lip": spread(1.8, 6),
        "lip_red": spread(0, 1),
        "age": spread(0, 1),
        "beard": deal(("none", "none", "none", "stubble", "full", "moustache")),
        "glasses": deal(("none", "none", "none", "round", "square", "none")),
        "freckles": deal((False, False, True)),
    }
    return [Person(**{name: values[i] for name, values in traits.items()}) for i in range(count)]


def draw_shot(rng: np.random.Generator) -> Shot:
    """One moment and one camera."""
    return Shot(
        smile=rng.uniform(-0.3, 1),
        mouth_open=max(0.0, rng.uniform(-1.5, 1)),
        brow_raise=rng.uniform(-0.6, 1),
        squint=rng.uniform(0.8, 1.1),
        gaze=rng.uniform(-1, 1),
        light_from=rng.uniform(-np.pi, 0),
        light_depth=rng.uniform(0.05, 0.3),
        gain=rng.uniform(0.8, 1.15),
        warmth=rng.uniform(-0.06, 0.06),
        turn=rng.uniform(-4, 4),
        zoom=rng.uniform(0.97, 1.04),
        shift=(rng.uniform(-1.5, 1.5), rng.uniform(-1.5, 1.5)),
        noise=rng.uniform(1, 5),
        blur=rng.uniform(0.2, 0.7),
        backdrop=blend(
            shade((128, 128, 128), rng.uniform(0.4, 1.7)), tuple(rng.integers(40, 220, 3).tolist()), 0.4
        ),
        quality=int(rng.integers(75, 96)),
    )


def smooth(points: Points) -> Points:
    """A closed smooth curve through the points."""
    closed = np.array([*points, points[0]])
    curve = CubicSpline(np.arange(len(closed)), closed, bc_type="periodic")
    return [(x, y) for x, y in curve(np.linspace(0, len(points), 24 * len(points)))]


def mirror(points: Points) -> Points:
    """The points and, backwards, their mirror images about the face's axis."""
    return points + [(2 * MIDDLE - x, y) for x, y in reversed(points) if x != MIDDLE]


def ring(x: float, y: float, rx: float, ry: float) -> Points:
    """An ellipse as points."""
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    return [(x + rx * np.cos(a), y + ry * np.sin(a)) for a in angles]


def shade(colour: Colour, factor: float) -> Colour:
    """The colour, darker (below 1) or lighter (above)."""
    red, green, blue = (min(255, round(part * factor)) for part in colour)
    return red, green, blue


def blend(one: Colour, other: Colour, share: float) -> Colour:
    """A colour between the two, `share` of the way to the other."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


class Canvas:
    """A picture painted shape by shape, in pixels of the crop."""

    def __init__(self, colour: Colour, rng: np.random.Generator) -> None:
        self.side = (SIZE + 2 * MARGIN) * SCALE
        self.image = Image.new("RGB", (self.side, self.side), colour)
        self.rng = rng

    def mask(self, points: Points, soft: float = 0.3) -> Image.Image:
        """The inside of a closed curve, its edge blurred over `soft` pixels of the crop."""
        mask = Image.new("L", self.image.size)
        ImageDraw.Draw(mask).polygon([self._place(point) for point in points], fill=255)
        return mask.filter(ImageFilter.GaussianBlur(soft * SCALE))

    def fill(
        self,
        points: Points,
        colour: Colour,
        soft: float = 0.3,
        share: float = 1,
        within: Image.Image | None = None,
    ) -> Image.Image:
        """Paint the inside of a closed curve; `share` is its opacity, `within` a mask to stay inside."""
        mask = self.mask(points, soft)
        self.paint(mask, colour, share, within)
        return mask

    def paint(
        self, mask: Image.Image, colour: Colour, share: float = 1, within: Image.Image | None = None
    ) -> None:
        """Paint through a mask."""
        weight = np.asarray(mask, np.float32) * share
        if within is not None:
            weight *= np.asarray(within, np.float32) / 255
        self.image.paste(colour, mask=Image.fromarray(weight.astype(np.uint8)))

    def stroke(
        self, points: Points, colour: Colour, width: float, soft: float = 0.3, share: float = 1
    ) -> None:
        """Paint an open line."""
        mask = Image.new("L", self.image.size)
        line = [self._place(point) for point in points]
        ImageDraw.Draw(mask).line(line, fill=255, width=max(1, round(width * SCALE)), joint="curve")
        self.paint(mask.filter(ImageFilter.GaussianBlur(soft * SCALE)), colour, share)

    def grain(self, mask: Image.Image, colour: Colour, share: float, across: float, along: float) -> None:
        """Paint streaks, as of hair, through a mask."""
        noise = self.rng.standard_normal((self.side, self.side)).astype(np.float32)
        noise = np.asarray(
            Image.fromarray(noise).resize((int(self.side / across), int(self.side / along))).resize(mask.size)
        )
        weight = np.asarray(mask, np.float32) * np.clip(noise * share, 0, 1)
        self.image.paste(colour, mask=Image.fromarray(weight.astype(np.uint8)))

    def _place(self, point: tuple[float, float]) -> tuple[float, float]:
        return (point[0] + MARGIN) * SCALE, (point[1] + MARGIN) * SCALE


def draw_face(person: Person, shot: Shot, rng: np.random.Generator) -> Image.Image:
    """One picture of a person: 112 x 112 RGB."""
    canvas = Canvas(shot.backdrop, rng)
    draw_backdrop(canvas, shot)
    draw_back_hair(canvas, person)
    head = draw_head(canvas, person)
    draw_nose(canvas, person)
    for side, eye in zip((-1, 1), EYES, strict=True):
        draw_eye(canvas, person, shot, side, eye)
    draw_mouth(canvas, person, shot)
    draw_beard(canvas, person, head)
    draw_skin_marks(canvas, person, head)
    draw_front_hair(canvas, person)
    draw_glasses(canvas, person)
    return photograph(canvas.image, shot, rng)


def draw_backdrop(canvas: Canvas, shot: Shot) -> None:
    for _ in range(4):
        x, y = canvas.rng.uniform(-20, 132, 2)
        radius = canvas.rng.uniform(10, 45)
        colour = shade(shot.backdrop, canvas.rng.uniform(0.6, 1.4))
        canvas.fill(ring(x, y, radius, radius), colour, soft=6)


def draw_back_hair(canvas: Canvas, person: Person) -> None:
    width = person.cheek_width
    below = {"long": 140, "curly": 96, "fringe": 104, "parted": 78}.get(person.hair_style)
    if below:
        puff = 12 if person.hair_style == "curly" else 7
        left = MIDDLE - width
        curve = smooth(mirror([(MIDDLE, -14), (left, 4), (left - puff, 50), (left - 2, below)]))
        hair = canvas.fill(curve, shade(person.hair, 0.75), soft=0.8)
        canvas.grain(hair, shade(person.hair, 1.2), 0.5, across=1.5 * SCALE, along=12 * SCALE)


def draw_head(canvas: Canvas, person: Person) -> Image.Image:
    skin, cheek, jaw = person.skin, person.cheek_width, person.jaw_width
    dark = shade(skin, 0.7)
    canvas.fill(mirror([(MIDDLE - jaw * 0.75, 90), (MIDDLE - jaw * 0.8, 140)]), shade(skin, 0.62), soft=1.5)
    for side in (-1, 1):
        canvas.fill(ring(MIDDLE + side * (cheek + 1), 60, 5, 10), shade(skin, 0.85), soft=0.6)
        canvas.fill(ring(MIDDLE + side * (cheek + 1.5), 60, 2, 6), dark, soft=1, share=0.7)
    outline = smooth(
        mirror(
            [
                (MIDDLE, -8),
                (MIDDLE - cheek * 0.72, 2),
                (MIDDLE - cheek * 0.97, 28),
                (MIDDLE - cheek, 58),
                (MIDDLE - (cheek + jaw) / 2, 84),
                (MIDDLE - jaw * 0.72, person.chin - 9),
                (MIDDLE - jaw * 0.3, person.chin - 0.5),
                (MIDDLE, person.chin),
            ]
        )
    )
    head = canvas.fill(outline, dark, soft=0.5)
    # Round: lighter towards the middle, with cheeks, a forehead and a chin that catch the light.
    inner = [(MIDDLE + (x - MIDDLE) * 0.84, 52 + (y - 52) * 0.86) for x, y in outline]
    canvas.fill(inner, skin, soft=6, within=head)
    light, red = shade(skin, 1.13), blend(skin, (214, 92, 84), 0.3)
    canvas.fill(ring(MIDDLE, 22, 20, 9), light, soft=6, share=0.7)
    canvas.fill(ring(MIDDLE, person.chin - 8, 8, 5), light, soft=3, share=0.5)
    for side in (-1, 1):
        canvas.fill(ring(MIDDLE + side * cheek * 0.55, 74, 9, 7), red, soft=5, share=0.7)
        canvas.fill(ring(MIDDLE + side * cheek * 0.55, 67, 7, 4), light, soft=4, share=0.5)
        fold = [(MIDDLE + side * (person.nose_width - 1), 74), (MIDDLE + side * (person.mouth_width + 2), 90)]
        canvas.stroke(fold, dark, 1.2, soft=1, share=0.15 + 0.7 * person.age)
    for y in (18, 24, 30):
        canvas.stroke(
            [(MIDDLE - 20, y + 1), (MIDDLE, y), (MIDDLE + 20, y + 1)], dark, 0.8, 0.6, 0.6 * person.age**2
        )
    return head


def draw_nose(canvas: Canvas, person: Person) -> None:
    skin, width = person.skin, person.nose_width
    dark, tip = shade(skin, 0.6), 50 + person.nose_length
    for side in (-1, 1):
        flank = [(MIDDLE + side * 5, 48), (MIDDLE + side * 4.5, 58), (MIDDLE + side * width * 0.9, tip - 2)]
        canvas.stroke(flank, dark, 2.5, soft=1.8, share=0.5)
        canvas.fill(ring(MIDDLE + side * width * 0.75, tip, width * 0.34, 3), shade(skin, 0.9), soft=0.8)
        wing = [(width, tip - 3), (width * 1.08, tip), (width * 0.8, tip + 3)]
        canvas.stroke([(MIDDLE + side * x, y) for x, y in wing], dark, 1, soft=0.6, share=0.7)
    canvas.fill(ring(MIDDLE, tip + 3, width * 0.9, 2), dark, soft=1.2, share=0.6)
    canvas.fill(ring(MIDDLE, 60, 2.4, 13), shade(skin, 1.14), soft=1.6, share=0.7)
    canvas.fill(ring(MIDDLE, tip - 1.5, width * 0.5, 3.6), shade(skin, 1.12), soft=1.6, share=0.8)
    for side in (-1, 1):
        canvas.fill(
            ring(MIDDLE + side * width * 0.45, tip + 2.2, width * 0.22, 1.2), shade(skin, 0.28), soft=0.5
        )


def draw_eye(canvas: Canvas, person: Person, shot: Shot, side: int, place: tuple[float, float]) -> None:
    (x, y), skin = place, person.skin
    width, height, slant = person.eye_width, person.eye_height * shot.squint, person.eye_slant
    dark = shade(skin, 0.5)
    canvas.fill(ring(x, y - 3, width * 1.25, height + 4.5), shade(skin, 0.72), soft=2.5, share=0.75)
    canvas.fill(ring(x, y + height + 3, width * 0.9, 2.4), dark, soft=1.8, share=0.15 + 0.5 * person.age)

    def arc(up: float, stretch: float = 1) -> Points:
        across = np.linspace(-1, 1, 25)
        return [(x + side * width * stretch * t, y - slant * t - up * (1 - t * t) ** 0.8) for t in across]

    white = canvas.fill(arc(height) + arc(-height * 0.75)[::-1], (236, 230, 226), soft=0.3)
    pupil_x, iris = x + 1.5 * shot.gaze, min(person.eye_height * 0.95, 4.6)
    canvas.fill(ring(pupil_x, y, iris + 0.4, iris + 0.4), shade(person.iris, 0.4), within=white)
    canvas.fill(ring(pupil_x, y, iris - 0.4, iris - 0.4), person.iris, soft=0.5, within=white)
    canvas.fill(ring(pupil_x, y, iris * 0.45, iris * 0.45), (12, 10, 10), within=white)
    canvas.fill(ring(pupil_x - 1.2, y - 1.4, 0.8, 0.8), (255, 255, 255), within=white)
    canvas.fill(arc(height) + arc(height * 0.45)[::-1], (30, 20, 20), soft=0.8, share=0.5, within=white)
    canvas.stroke(arc(height, 1.05), shade(blend(person.hair, (20, 14, 14), 0.7), 0.8), 1.3, soft=0.4)
    canvas.stroke(arc(height + 2.4, 1.1), dark, 0.9, soft=0.7, share=0.7)
    canvas.stroke(arc(-height * 0.75), dark, 0.7, soft=0.5, share=0.6)

    rise = y - person.brow_height - 1.5 * shot.brow_raise
    thick, tilt = person.brow_thickness, person.brow_slant
    ends = [(-1.15, 0.8), (-0.5, 1), (0.2, 0.9), (0.8, 0.6), (1.35, 0.15)]
    upper = [(x + side * width * t, rise - tilt * t - 2.2 * (1 - t * t / 2) - thick * h / 2) for t, h in ends]
    lower = [(x + side * width * t, rise - tilt * t - 2.2 * (1 - t * t / 2) + thick * h / 2) for t, h in ends]
    colour = shade(blend(person.hair, (40, 28, 24), 0.35), 0.85)
    brow = canvas.fill(upper + lower[::-1], colour, soft=0.6, share=0.85)
    canvas.grain(brow, shade(colour, 0.5), 0.5, across=1 * SCALE, along=2 * SCALE)


def draw_mouth(canvas: Canvas, person: Person, shot: Shot) -> None:
    lips = blend(shade(person.skin, 0.8), (176, 40, 56), 0.25 + 0.5 * person.lip_red)
    width, y = person.mouth_width + 2 * max(shot.smile, 0), 92.0
    gap, lift = 3.5 * shot.mouth_open, 2.5 * shot.smile

    def line(offset: float, dip: float = 0) -> Points:
        across = np.linspace(-1, 1, 31)
        return [
            (MIDDLE + width * t, y - lift * t * t + offset * (1 - t * t) + dip * np.exp(-30 * t * t))
            for t in across
        ]

    canvas.fill(
        ring(MIDDLE, y + person.lip + gap + 3.5, width * 0.7, 2),
        shade(person.skin, 0.62),
        soft=1.6,
        share=0.6,
    )
    if gap:
        inside = canvas.fill(line(-gap / 2) + line(gap / 2)[::-1], (60, 18, 20), soft=0.3)
        canvas.fill(line(-gap) + line(gap * 0.2)[::-1], (238, 232, 222), soft=0.4, within=inside)
    canvas.fill(line(-person.lip * 0.8 - gap / 2, 1.2) + line(-gap / 2)[::-1], shade(lips, 0.86), soft=0.5)
    canvas.fill(line(gap / 2) + line(person.lip * 1.15 + gap / 2)[::-1], lips, soft=0.5)
    canvas.fill(
        ring(MIDDLE, y + gap / 2 + person.lip * 0.6, width * 0.35, person.lip * 0.22),
        shade(lips, 1.3),
        0.8,
        0.6,
    )
    canvas.stroke(line(gap / 2 if gap else 0), (70, 24, 26), 0.9, soft=0.35, share=0.85)
    for side in (-1, 1):
        canvas.fill(
            ring(MIDDLE + side * width, y - lift, 1.6, 1.4), shade(person.skin, 0.5), soft=0.8, share=0.6
        )


def draw_beard(canvas: Canvas, person: Person, head: Image.Image) -> None:
    hair = shade(person.hair, 0.8)
    if person.beard in ("stubble", "full"):
        share, jaw = {"stubble": (0.35, 0.1), "full": (0.92, 0.4)}[person.beard]
        half = [(MIDDLE, 104), (36, 98), (30, 84), (12, 70), (8, 104), (MIDDLE, 136)]
        beard = smooth(mirror(half))
        mask = canvas.fill(beard, hair, soft=2.5, share=share, within=head)
        canvas.grain(
            Image.fromarray(np.minimum(np.asarray(mask), np.asarray(head))), shade(hair, 0.4), jaw, 2, 4
        )
    if person.beard in ("full", "moustache"):
        curve = smooth(mirror([(MIDDLE, 81), (47, 81.5), (38, 91), (47, 87.5), (MIDDLE, 86.5)]))
        mask = canvas.fill(curve, hair, soft=0.9, share=0.92)
        canvas.grain(mask, shade(hair, 0.5), 0.5, 2, 5)


def draw_skin_marks(canvas: Canvas, person: Person, head: Image.Image) -> None:
    own = np.random.default_rng(round(1e4 * person.cheek_width))  # the same marks in every picture
    if person.freckles:
        for x, y in own.normal((MIDDLE, 67), (19, 6), (70, 2)):
            canvas.fill(ring(x, y, 0.7, 0.6), shade(person.skin, 0.66), soft=0.3, share=0.6, within=head)
    x, y = own.uniform((22, 62), (90, 106))
    canvas.fill(ring(x, y, 1.1, 1.1), (58, 36, 30), soft=0.3, share=0.8, within=head)


def draw_front_hair(canvas: Canvas, person: Person) -> None:
    width, line, style = person.cheek_width, person.hairline, person.hair_style
    left = MIDDLE - width
    top = [(MIDDLE, -22), (MIDDLE - width * 0.8, -18), (left - 5, 14)]
    fronts = {
        "short": [(left, 44), (left + 6, 30), (left + 17, line + 2), (MIDDLE, line)],
        "long": [(left - 5, 130), (left + 5, 60), (left + 16, line + 8), (MIDDLE, line - 6)],
        "parted": [(left - 2, 60), (left + 7, 36), (left + 30, line), (MIDDLE, line - 14)],
        "curly": [(left - 9, 66), (left + 4, 40), (left + 15, line + 6), (MIDDLE, line + 2)],
        "fringe": [(left - 3, 96), (left + 6, 46), (left + 17, 34), (MIDDLE, 34)],
    }
    if style not in fronts:
        return
    hair = canvas.fill(smooth(mirror(top + fronts[style])), person.hair, soft=1)
    across, along = (4, 4) if style == "curly" else (1.2, 10)
    canvas.grain(hair, shade(person.hair, 0.45), 0.6, across * SCALE, along * SCALE)
    canvas.grain(hair, shade(person.hair, 1.5), 0.4, across * SCALE, along * SCALE)


def draw_glasses(canvas: Canvas, person: Person) -> None:
    if person.glasses == "none":
        return
    frame = (26, 24, 28)
    for x, y in EYES:
        lens = ring(x, y + 1, 13.5, 12)
        if person.glasses == "square":
            lens = [(x - 14, y - 8), (x + 14, y - 8), (x + 13, y + 10), (x - 13, y + 10)]
        canvas.fill(lens, (210, 220, 235), soft=1, share=0.12)
        canvas.stroke([*lens, lens[0]], frame, 1.8, soft=0.3)
    canvas.stroke([(EYES[0][0] + 13.5, 50), (MIDDLE, 48.5), (EYES[1][0] - 13.5, 50)], frame, 1.8)
    for side in (-1, 1):
        canvas.stroke([(MIDDLE + side * 31, 50), (MIDDLE + side * (person.cheek_width + 2), 52)], frame, 1.8)


def photograph(image: Image.Image, shot: Shot, rng: np.random.Generator) -> Image.Image:
    """Light the drawing, frame it, and take it with a small camera."""
    angle, half = np.deg2rad(shot.turn), SIZE / 2
    cos, sin = np.cos(angle) * SCALE / shot.zoom, np.sin(angle) * SCALE / shot.zoom
    centre = [(MARGIN + half + move) * SCALE for move in shot.shift]
    around = (cos, -sin, centre[0] - half * cos + half * sin, sin, cos, centre[1] - half * sin - half * cos)
    image = image.filter(ImageFilter.GaussianBlur(SCALE / 2.5 + shot.blur * SCALE / 2))
    framed = image.transform((SIZE, SIZE), Image.Transform.AFFINE, around, Image.Resampling.BICUBIC)
    pixels = np.asarray(framed, np.float32) / 255

    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    light = shot.gain * (1 + shot.light_depth * (np.cos(shot.light_from) * x + np.sin(shot.light_from) * y))
    pixels = pixels * light[..., None] * (1 + shot.warmth * np.array([1, 0, -1]))
    pixels = 255 * pixels + shot.noise * rng.standard_normal(pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def get_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "draw_sample.py",
        "Draw face-like portraits of a dozen people who do not exist, with a file list and labels.",
        "  PYTHONPATH=. python scripts/draw_sample.py --output demo",
    )
    parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write in")
    parser.add_argument("--seed", type=cli.at_least(0), default=7, help="draws other people")
    return parser


def main(args: argparse.Namespace) -> None:
    rng = np.random.default_rng(args.seed)
    people = draw_people(rng)
    labels = rng.permutation(np.repeat(np.arange(len(IMAGES)), IMAGES))
    args.output.mkdir(parents=True, exist_ok=True)
    names = [f"faces/{row:02d}.jpg" for row in range(len(labels))]
    with whole_folder(args.output / "faces", holds=("[0-9][0-9].jpg",)) as folder:
        for name, label in zip(track(names, "drawing", "face"), labels, strict=True):
            shot = draw_shot(rng)
            face = draw_face(people[label], shot, rng)
            face.save(folder / Path(name).name, quality=shot.quality)
    for path, lines in ((args.output / "faces.txt", names), (args.output / "labels.txt", labels)):
        with whole_file(path) as part:
            part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    log(f"drew {len(labels)} faces of {len(people)} people: {args.output / 'faces.txt'}")


if __name__ == "__main__":
    sys.exit(cli.run(main, get_parser()))
