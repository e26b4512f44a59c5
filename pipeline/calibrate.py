"""Similarity measured against the data's own strangers, so that one setting serves any network.

Two random faces are almost always strangers. How similar strangers look differs by network (a
mean cosine of 0.83 for one, 0.02 for another) and so does the spread; in units of that spread,
above that mean, people look alike across networks.
"""

from dataclasses import dataclass

import numpy as np

RANDOM_PAIRS = 200_000
BELOW_ONE_SIGMA = 0.15866  # a normal distribution's share under its mean less one standard deviation


@dataclass(frozen=True)
class Calibration:
    """Where strangers stand: the middle of their cosines, and one standard deviation of them."""

    middle: float
    spread: float

    def calibrate(self, cosines: np.ndarray) -> np.ndarray:
        """Cosines as standard deviations above strangers, same shape and dtype."""
        return (cosines - np.float32(self.middle)) * np.float32(1 / self.spread)


def calibrate_to_strangers(unit: np.ndarray, seed: int = 0) -> Calibration:
    """Measure random pairs of `unit`, float32 (N, D), rows of length one.

    The median and the distance from it down to the 16th percentile are used: pairs of one person
    stand at the upper end, so neither moves much where many pairs are of one person. Pairs are
    drawn by the rows' content, so the order of the rows does not matter.
    """
    if len(unit) < 2:
        return Calibration(0.0, 1.0)
    rng = np.random.default_rng(seed)
    by_content = np.lexsort((unit[:, -1], unit[:, 0]))
    a = rng.integers(0, len(unit), RANDOM_PAIRS)
    b = (a + rng.integers(1, len(unit), RANDOM_PAIRS)) % len(unit)
    cosines = np.concatenate(
        [
            np.einsum("nd,nd->n", unit[by_content[a[part]]], unit[by_content[b[part]]])
            for part in np.array_split(np.arange(RANDOM_PAIRS), 20)
        ]
    )
    lower, middle = np.quantile(cosines, [BELOW_ONE_SIGMA, 0.5])
    return Calibration(float(middle), float(max(middle - lower, 1e-4)))
