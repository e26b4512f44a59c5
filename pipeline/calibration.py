"""Similarity measured against the data's own strangers, so that one setting serves any network.

How similar two strangers look differs by network (a mean cosine of 0.83 for one, 0.02 for another)
and so does the spread; in units of that spread, above that mean, people look alike across networks.
"""

from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError

import numpy as np
from scipy.ndimage import gaussian_filter1d

from pipeline.rows import Rows, blocks, products

RANDOM_PAIRS = 200_000
BINS = 400
MIN_PEAK = 0.1  # of the highest density: a lower bump is noise
NORMAL_QUARTILE = 0.6745  # median distance from a normal distribution's mean, in standard deviations
MIN_SPREAD = 1e-4  # of cosines; below it rows are equal but for rounding


@dataclass(frozen=True)
class Calibration:
    """Where strangers stand: the middle of their cosines, and one standard deviation of them."""

    middle: float
    spread: float

    def calibrate(self, cosines: np.ndarray) -> np.ndarray:
        """Cosines as standard deviations above strangers, same shape and dtype."""
        return (cosines - np.float32(self.middle)) * np.float32(1 / self.spread)


def calibrate_to_impostors(unit: Rows, seed: int = 0) -> Calibration:
    """Find the strangers among random pairs of `unit`, float32 (N, D), rows of length one.

    Most pairs are of strangers where there are many people, but half of them or more are of one
    person where there are two, or where one person has most faces. Strangers are the lowest peak of
    the pairs' density all the same, and below that peak there are only strangers: the middle is the
    peak, the spread is taken from the pairs below it. Pairs are drawn by the rows' content, so the
    order of the rows does not matter.
    """
    if len(unit) < 2:
        return Calibration(0.0, 1.0)
    rng = np.random.default_rng(seed)
    ends = np.concatenate([block[:, [0, -1]] for _, block in blocks(unit)])
    by_content = np.lexsort((ends[:, 1], ends[:, 0]))
    a = rng.integers(0, len(unit), RANDOM_PAIRS)
    b = (a + rng.integers(1, len(unit), RANDOM_PAIRS)) % len(unit)
    cosines = products(unit, by_content[a], by_content[b])
    middle = lowest_peak(cosines, min(RANDOM_PAIRS, len(unit) * (len(unit) - 1) // 2))
    below = middle - cosines[cosines < middle]
    spread = float(np.median(below)) / NORMAL_QUARTILE if len(below) else 0.0
    return Calibration(middle, max(spread, MIN_SPREAD))


def lowest_peak(values: np.ndarray, distinct: int) -> float:
    """The lowest peak of the density of `values`, of which about `distinct` are not repeats.

    The density is a histogram smoothed by a normal kernel, wider where there are fewer values.
    """
    lower, upper = np.quantile(values, [0.16, 0.84])
    # In float64, for values so near to one another that float32 has fewer than BINS between them.
    counts, edges = np.histogram(values.astype(np.float64), BINS)
    width = (upper - lower) / 2 * max(0.3, 1.5 * distinct**-0.2) / (edges[1] - edges[0])
    density = gaussian_filter1d(counts.astype(float), max(width, 1), mode="constant")
    padded = np.concatenate([[0], density, [0]])
    peaks = (density >= padded[:-2]) & (density > padded[2:]) & (density >= MIN_PEAK * density.max())
    first = int(np.flatnonzero(peaks)[0])
    # Of values that are all equal, the bins reach beyond.
    return float(np.clip((edges[first] + edges[first + 1]) / 2, values.min(), values.max()))


def refuse_equal_rows(unit: Rows, path: Path) -> None:
    """Raise `InputError` where all rows, of the feature file `path`, are one: nobody could be told apart."""
    first = unit[:1]
    if len(unit) > 1 and all((block == first).all() for _, block in blocks(unit)):
        raise InputError(
            f"{path}: every row is the same, so nobody can be told from anybody: "
            "check the images and the network's weights"
        )
