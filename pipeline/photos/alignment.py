"""Aligning a face: the similarity that lays its landmarks on the ArcFace template, and what they tell."""

import numpy as np
from PIL import Image

from pipeline.photos.detection import cut

SIDE = 112
MAX_DISTANCE = 12.0  # pixels of a crop; at most 4 in aligned crops of LFW, 15 and more in its photos
NOSE = 0.6  # how far a nose's tip stands out, in distances between the eyes: a rough average
# Eyes, nose and corners of the mouth in a crop of 112 x 112, counted from the middle of the first pixel
# (Deng et al., "ArcFace", CVPR 2019; their published alignment).
TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)


def similarity(landmarks: np.ndarray) -> tuple[complex, complex]:
    """The similarity without reflection that lays a crop on the photo with the least squared error.

    `landmarks` are float (5, 2), counted from corners of pixels. A point z of the crop, as a complex
    number, is turn z + corner in the photo; returns (turn, corner). Umeyama, "Least-squares estimation
    of transformation parameters between two point patterns", 1991; in two dimensions it has this form
    (a fit from photo to crop, as there, inverted).
    """
    here = as_complex(landmarks)
    there = as_complex(TEMPLATE + 0.5)
    around = here - here.mean()
    factor = np.vdot(around, there - there.mean()) / np.vdot(around, around).real
    return complex(1 / factor), complex(here.mean() - there.mean() / factor)


def as_complex(points: np.ndarray) -> np.ndarray:
    """Points (..., 2) as complex numbers (...)."""
    return points[..., 0].astype(np.float64) + 1j * points[..., 1]


def align(photo: Image.Image, landmarks: np.ndarray) -> Image.Image:
    """The aligned crop of a face, RGB 112 x 112; black beyond the photo."""
    turn, corner = similarity(landmarks)
    return cut(photo, turn, corner, SIDE)


def is_in_place(landmarks: np.ndarray) -> bool:
    """Whether landmarks seen in a crop lie near the template's; float (5, 2)."""
    return bool(np.hypot(*(landmarks - TEMPLATE - 0.5).T).mean() < MAX_DISTANCE)


def sharpness(crop: Image.Image) -> float:
    """The variance of the Laplacian of a crop's luma (Pech-Pacheco et al., ICPR 2000); blurred faces
    have low values, and so do faces that were small in their photo."""
    luma = np.asarray(crop.convert("L"), np.float64)
    middle = luma[1:-1, 1:-1]
    sums = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
    return float((sums - 4 * middle).var())


def roll(landmarks: np.ndarray) -> float:
    """How far a face is turned in the photo, in degrees clockwise, by its alignment."""
    return float(np.degrees(np.angle(similarity(landmarks)[0])))


def yaw(landmarks: np.ndarray) -> float:
    """How far a face looks aside, in degrees, positive where its nose points to the photo's right.

    From where the nose lies between the eyes, seen along them; a rough measure. A nose's tip stands out
    by some `NOSE` of the distance between the eyes.
    """
    left, right, nose = as_complex(landmarks)[:3]
    aside = ((nose - (left + right) / 2) / (right - left)).real
    return float(np.degrees(np.arctan(aside / NOSE)))
