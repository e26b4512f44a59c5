"""Features like those of a large face collection, any number of them, made in chunks.

A person is a direction, an image that direction plus noise of its own strength: some images are hard.
Directions and noise have a decaying spectrum, so that cosines of impostor pairs spread as real ones do (0.07
in 256 dimensions; the cosine of genuine pairs is about 0.66). People's sizes follow a log-normal law
with a mean of 68 images, that of MS-Celeb-1M's 584,013 images of 8,573 people.

    python benchmarks/synthetic.py --count 200000 --dim 256 --output /tmp/synthetic.bin
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import cli
from common.progress import bar, log

from pipeline.files.atomic import whole_file
from pipeline.files.features import feature_json_path
from pipeline.files.json_object import write_json

MEAN_IMAGES = 68
SIZE_SPREAD = 1.0  # standard deviation of the logarithm of a person's number of images
NOISE, NOISE_SPREAD = 0.7, 0.25  # median length of an image's noise beside a direction of 1, and log spread
CHUNK_ROWS = 1 << 15
EXAMPLES = "  python benchmarks/synthetic.py --count 200000 --dim 256 --output /tmp/synthetic.bin"


def draw_labels(count: int, mean_images: float, rng: np.random.Generator) -> np.ndarray:
    """The person of each row in random order, int32 (count,), numbered from 0."""
    log_mean = np.log(mean_images) - SIZE_SPREAD**2 / 2
    sizes = np.ceil(rng.lognormal(log_mean, SIZE_SPREAD, 2 * int(count / mean_images) + 20)).astype(np.int64)
    people = int(np.searchsorted(np.cumsum(sizes), count)) + 1
    labels = np.repeat(np.arange(people, dtype=np.int32), sizes[:people])[:count]
    return rng.permutation(labels)


def draw_rows(labels: np.ndarray, dim: int, seed: int) -> Iterator[np.ndarray]:
    """Rows of length one for `labels`, float32 (CHUNK_ROWS or fewer, dim) a chunk."""
    scale = spectrum(dim)
    rng = np.random.default_rng([seed, 1])
    directions = rng.standard_normal((int(labels.max()) + 1, dim), np.float32) * scale
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for number, start in enumerate(range(0, len(labels), CHUNK_ROWS)):
        rng = np.random.default_rng([seed, 2, number])
        person = labels[start : start + CHUNK_ROWS]
        noise = rng.standard_normal((len(person), dim), np.float32) * scale
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
        length = rng.lognormal(np.log(NOISE), NOISE_SPREAD, (len(person), 1)).astype(np.float32)
        rows = directions[person] + noise * length
        yield rows / np.linalg.norm(rows, axis=1, keepdims=True)


def spectrum(dim: int) -> np.ndarray:
    """Standard deviation along each dimension, float32 (dim,)."""
    return ((np.arange(dim) + dim / 4) ** -0.5).astype(np.float32)


def write_features(path: Path, count: int, dim: int, seed: int, mean_images: float = MEAN_IMAGES) -> None:
    """Write FEATURES, its JSON, and the labels beside it (`synthetic_labels.txt` for `synthetic.bin`)."""
    labels = draw_labels(count, mean_images, np.random.default_rng([seed, 0]))
    with whole_file(path) as part, open(part, "wb") as file, bar(count, "drawing features", "rows") as done:
        for rows in draw_rows(labels, dim, seed):
            rows.astype("<f4").tofile(file)
            done.update(len(rows))
    write_json(
        feature_json_path(path),
        {"format": 1, "count": count, "dim": dim, "model": "synthetic", "unreadable": []},
    )
    with whole_file(path.with_name(f"{path.stem}_labels.txt")) as part:
        np.savetxt(part, labels, "%d")


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this tool."""
    parser = cli.make_parser("synthetic.py", "Make features like those of many faces.", EXAMPLES)
    parser.add_argument("--count", type=cli.at_least(1), required=True, help="number of rows")
    parser.add_argument("--dim", type=cli.at_least(1), default=256, help="length of a row")
    parser.add_argument("--mean-images", type=cli.at_least(1e-9), default=MEAN_IMAGES, help="of a person")
    parser.add_argument("--seed", type=cli.at_least(0), default=0, help="seed of every random choice")
    parser.add_argument("--output", type=Path, required=True, help="features to write, labels beside them")
    return parser


def main(args: argparse.Namespace) -> None:
    """Draw and write."""
    write_features(args.output, args.count, args.dim, args.seed, args.mean_images)
    log(f"{args.output}: {args.count} rows of {args.dim}")


if __name__ == "__main__":
    sys.exit(cli.run(main, get_parser()))
