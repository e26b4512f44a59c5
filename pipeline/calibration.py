"""Similarity measured against the data's own impostor pairs, so that one setting serves any network.

How similar two different people look depends on the network (a mean cosine of 0.83 for one, 0.02 for
another), and so does the spread. In units of that spread above that mean, similarities of different
networks are comparable.
"""

from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError

import numpy as np

from pipeline.rows import Rows, blocks, order_by_content, products

# On lfw/train in both networks of benchmarks/, 20,000 to a million pairs, 200 to 1,600 bins and a MIN_KERNEL
# of 0.2 to 0.4 move the middle by at most 0.03 standard deviations.
RANDOM_PAIRS = 200_000
BINS = 400
# Width of the kernel in standard deviations, times n ** -0.2 for n pairs, and at least. Silverman's rule of
# thumb has 1.06; with that, the middle of random sets of 30 people is off by up to 0.45 standard deviations
# in MobileFaceNet, with 1.5 by 0.31.
KERNEL, MIN_KERNEL = 1.5, 0.3
MIN_PEAK = 0.1  # of the highest density: a lower bump is noise; 0.02 to 0.3 give the same on lfw/train
NORMAL_QUARTILE = 0.6745  # median distance from a normal distribution's mean, in standard deviations
NORMAL_NINE_TENTHS = 1.2816  # what nine tenths of a normal distribution lie below
UPPER = 0.5, 2.0  # bounds of `upper`: beyond them the upper half holds genuine pairs as well
# Least error of the middle on random small sets of lfw/train, with a prior from other people of it, in both
# networks of benchmarks/.
PRIOR_FACES = 30
MIN_SPREAD = 1e-4  # of cosines; below it rows are equal but for rounding


@dataclass(frozen=True)
class Calibration:
    """The distribution of the cosines of impostor pairs: `middle`, its mode; `spread`, the standard deviation
    below the mode; `upper`, the deviation above the mode in units of `spread` (1 for a normal one)."""

    middle: float
    spread: float
    upper: float = 1.0

    def calibrate(self, cosines: np.ndarray) -> np.ndarray:
        """Cosines as standard deviations above impostor pairs, same shape and dtype."""
        return (cosines - np.float32(self.middle)) * np.float32(1 / self.spread)

    def nearest_stranger(self, count: int) -> float:
        """The calibrated similarity that the highest of `count` impostor pairs is expected to have."""
        from scipy.special import ndtri  # not where a calibration is only read

        return float(self.upper * ndtri(1 - 1 / (count + 1)))


def calibrate_to_impostors(unit: Rows, prior: Calibration | None = None) -> Calibration:
    """Estimate the impostor distribution from random pairs of `unit`, float32 (N, D), rows of length one.

    With many people most pairs are impostor pairs, but with two people, or one person in most of the
    images, half of the pairs or more are genuine. In either case impostor pairs form the lowest peak of the
    density, and practically all pairs below it are impostor pairs: the middle is that peak, and the spread
    comes from the pairs below it. All pairs are used, or a sample drawn by the content of the rows, so the
    order of the rows does not matter.

    `prior` is the calibration of a larger set of the same network. It counts as much as PRIOR_FACES faces.
    """
    if len(unit) < 2:
        return prior or Calibration(0.0, 1.0)
    a, b = some_pairs(len(unit))
    by_content = order_by_content(unit)
    cosines = products(unit, by_content[a], by_content[b])
    middle = lowest_peak(cosines)
    below = middle - cosines[cosines < middle]
    spread = max(float(np.median(below)) / NORMAL_QUARTILE if len(below) else 0.0, MIN_SPREAD)
    upper = (float(np.quantile(cosines, 0.9)) - middle) / (spread * NORMAL_NINE_TENTHS)
    own = Calibration(middle, spread, float(np.clip(upper, *UPPER)))
    return own if prior is None else shrunk(own, prior, len(unit))


def some_pairs(count: int) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of `count` rows, or RANDOM_PAIRS of them where there are more; int64 (P,) both."""
    if count * (count - 1) // 2 <= RANDOM_PAIRS:
        return np.triu_indices(count, 1)
    rng = np.random.default_rng(0)
    a = rng.integers(0, count, RANDOM_PAIRS)
    return a, (a + rng.integers(1, count, RANDOM_PAIRS)) % count


def shrunk(own: Calibration, prior: Calibration, faces: int) -> Calibration:
    """The estimate from so many faces, shrunk towards the prior of their network."""
    weight = faces / (faces + PRIOR_FACES)

    def between(mine: float, known: float) -> float:
        return weight * mine + (1 - weight) * known

    return Calibration(
        between(own.middle, prior.middle),
        float(np.exp(between(np.log(own.spread), np.log(prior.spread)))),
        between(own.upper, prior.upper),
    )


def lowest_peak(values: np.ndarray) -> float:
    """The lowest peak of the density of `values`.

    The density is a histogram smoothed by a normal kernel, wider where there are fewer values.
    """
    from scipy.ndimage import gaussian_filter1d  # not where a calibration is only read

    lower, upper = np.quantile(values, [0.16, 0.84])  # one standard deviation on either side
    # In float64, for values so near to one another that float32 has fewer than BINS between them.
    counts, edges = np.histogram(values.astype(np.float64), BINS)
    share = max(MIN_KERNEL, KERNEL * len(values) ** -0.2)
    width = (upper - lower) / 2 * share / (edges[1] - edges[0])
    density = gaussian_filter1d(counts.astype(float), max(width, 1), mode="constant")
    padded = np.concatenate([[0], density, [0]])
    peaks = (density >= padded[:-2]) & (density > padded[2:]) & (density >= MIN_PEAK * density.max())
    first = int(np.flatnonzero(peaks)[0])
    # The bins of equal values extend beyond them.
    return float(np.clip((edges[first] + edges[first + 1]) / 2, values.min(), values.max()))


def refuse_equal_rows(unit: Rows, path: Path) -> None:
    """Raise `InputError` where all rows of the feature file `path` are equal: nobody could be told apart."""
    first = unit[:1]
    if len(unit) > 1 and all((block == first).all() for _, block in blocks(unit)):
        raise InputError(
            f"{path}: every row is the same, so nobody can be told from anybody: "
            "check the images and the network's weights"
        )
