"""What approximate search costs in quality: lfw/val repeated into a set as large as it is meant for.

Each repeat is turned by a rotation of its own, so that its people are like those of lfw/val and nobody
else's. The stages run as users run them, once with each search.

    python benchmarks/approximate.py
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import cli
from common.progress import log

from datasets import NETWORKS, FaceSet, add_shared, load, write_set
from speed import REPOSITORY, run

from pipeline.files.clusters import read_clusters
from pipeline.groups import labels_from_groups
from pipeline.metrics import evaluate, own_clusters

SET = "lfw/val"
MAX_LOST = 0.2  # BCubed F
EXAMPLES = "  python benchmarks/approximate.py --repeats 40 --search ivf"


def repeated(faces: FaceSet, repeats: int, seed: int = 0) -> FaceSet:
    """The set `repeats` times, each time with another rotation and as other people."""
    rng = np.random.default_rng(seed)
    count, dim = faces.rows.shape
    rows = np.empty((repeats * count, dim), np.float32)
    for repeat in range(repeats):
        rotation = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)
        rows[repeat * count : (repeat + 1) * count] = faces.rows @ rotation
    people = int(faces.labels.max()) + 1
    labels = (people * np.arange(repeats)[:, None] + faces.labels).ravel()
    names = np.tile(faces.names, repeats)
    return FaceSet(f"{repeats} x {faces.name}", faces.network, rows, labels, names)


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this benchmark."""
    parser = cli.make_parser("approximate.py", "What approximate search costs in quality.", EXAMPLES)
    parser.add_argument("--repeats", type=cli.at_least(1), default=30, help=f"times {SET}")
    parser.add_argument("--network", choices=NETWORKS, default="mobilefacenet", help="whose features")
    add_shared(parser)
    return parser


def main(args: argparse.Namespace) -> None:
    """Run the stages with exact and with approximate search, print both scores."""
    faces = repeated(load(SET, args.network, args.shared), args.repeats)
    f = {}
    print(f"{faces.name}, {args.network}: {len(faces.rows):,} faces of {faces.labels.max() + 1:,} people\n")
    print("| search | recall | BCubed F | lost | holds |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        cwd = Path(folder)
        write_set(faces, cwd / "feature.bin")
        for search in ("exact", "ivf"):
            run(REPOSITORY / "proposal.py", "--search", search, cwd=cwd)
            run(REPOSITORY / "predict.py", "--restart", cwd=cwd)
            recall = json.loads((cwd / "super_vertex/manifest.json").read_text())["search"]["recall"]
            found = labels_from_groups(read_clusters(cwd / "clusters.txt"), len(faces.labels))
            f[search] = 100 * evaluate(faces.labels, own_clusters(found)).bcubed.f
            lost = f["exact"] - f[search]
            holds = "yes" if lost < MAX_LOST else "NO"
            log(f"| {search} | {recall:.3f} | {f[search]:.2f} | {lost:.2f} | {holds} |")


if __name__ == "__main__":
    sys.exit(cli.run(main, get_parser()))
