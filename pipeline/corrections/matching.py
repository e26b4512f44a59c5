"""Faces of a corrections file found again among the rows of a feature file.

Images are recognized by a sketch of their features and by name, so that a list may grow or change its
order.
"""

from typing import Any

import numpy as np
from scipy.fft import dct
from scipy.spatial import cKDTree

from pipeline.files.corrections import SKETCH, SavedCorrections
from pipeline.files.features import Features
from pipeline.rows import unit_blocks, unit_rows

STEPS = 32  # of a sketch's numbers in one standard deviation of them among random rows
SAME_SKETCH = 3  # largest difference of two sketches of one image whose feature was computed twice
# As a share of the usual distance between the sketches of two images: below it, images of the same name are
# one image that was saved again. Faces of LFW saved as JPEG of quality 40, shrunk by a third, turned by 3
# degrees or shifted by 2 pixels move by at most a third of that distance (99 of 100).
SAVED_ANEW = 0.5
NETWORK = ("model", "weights_sha256", "crop")


def sketch_rows(rows: np.ndarray) -> np.ndarray:
    """Sketches of features, float32 (M, D), none of them zeros; int8 (M, SKETCH).

    The first terms of the cosine transform of the row scaled to length one. When the feature of
    an image is computed on another machine they move by a step or two; those of two images differ far more.
    """
    unit = unit_rows(rows, np.ones(len(rows), bool))
    terms = dct(unit, norm="ortho")[:, :SKETCH] * (STEPS * np.sqrt(unit.shape[1]))
    sketches = np.zeros((len(rows), SKETCH), np.int8)
    sketches[:, : terms.shape[1]] = np.clip(np.rint(terms), -127, 127)
    return sketches


def network_of(features: Features) -> dict[str, Any]:
    """What distinguishes features of one network from those of another."""
    return {name: features.meta.get(name) for name in NETWORK} | {"dim": features.rows.shape[1]}


def find_faces(saved: SavedCorrections, features: Features, names: list[str] | None) -> np.ndarray:
    """The row of each face of the file, int64 (F,), -1 where its image is not among the rows.

    `names` are those of the file list, where it is known. With features of the same network the
    sketch decides: the row of the same name whose feature is plausibly that of the same image, perhaps saved
    again; else any row with the same sketch. With features of another network only names can tell.
    """
    row_of_name = {name: row for row, name in reversed(list(enumerate(names or [])))}
    same_place = saved.rows < len(features.rows)
    if names is not None:
        same_place &= [
            row < len(names) and name == names[row]
            for row, name in zip(saved.rows.tolist(), saved.names, strict=True)
        ]
    named = np.array([row_of_name.get(name or "", -1) for name in saved.names], np.int64)
    likely = np.where(same_place, saved.rows, named)
    if saved.network != network_of(features):
        return np.where([name is not None for name in saved.names] & features.usable[likely], likely, -1)
    likely = np.where((likely < 0) & (saved.rows < len(features.rows)), saved.rows, likely)
    found = np.where((likely >= 0) & features.usable[likely], likely, -1)
    there = np.flatnonzero(found >= 0)
    order = there[np.argsort(found[there])]
    apart = sketch_rows(features.rows[found[order]]).astype(np.float64) - saved.sketches[order]
    moved = np.abs(apart).max(axis=1) > SAME_SKETCH
    saved_anew = same_place[order] | (named[order] >= 0) if names is not None else np.zeros(len(order), bool)
    moved &= ~saved_anew | (np.linalg.norm(apart, axis=1) > SAVED_ANEW * usual_distance(features))
    found[order[moved]] = -1
    missing = np.flatnonzero(found < 0)
    if len(missing):
        found[missing] = find_sketches(saved.sketches[missing], features)
    return found


def usual_distance(features: Features) -> float:
    """The median distance between the sketches of two images, from a sample of pairs."""
    rows = features.numbering.row_of
    pairs = np.random.default_rng(0).integers(0, len(rows), (2, 1000))
    some, others = (sketch_rows(features.rows[rows[np.sort(ends)]]).astype(np.float64) for ends in pairs)
    return float(np.median(np.linalg.norm(some - others[::-1], axis=1)))


def find_sketches(sketches: np.ndarray, features: Features) -> np.ndarray:
    """The row most like each sketch, int64, -1 where none is within SAME_SKETCH."""
    tree = cKDTree(sketches.astype(np.float64))
    best, found = np.full(len(sketches), np.inf), np.full(len(sketches), -1)
    row_of = np.flatnonzero(features.usable)
    done = 0
    for block in unit_blocks(features.rows, features.usable):
        distance, place = tree.query(sketch_rows(block), p=np.inf, distance_upper_bound=SAME_SKETCH + 0.5)
        for near in np.flatnonzero(np.isfinite(distance)):
            equal = (sketches == sketches[place[near]]).all(axis=1)
            if distance[near] < best[place[near]]:
                best[equal], found[equal] = distance[near], row_of[done + near]
        done += len(block)
    return found
