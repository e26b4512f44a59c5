"""Score clusters against known identities.

Reads clusters.txt (one cluster per line) and labels (one identity per row, a number or a name), prints
pairwise and BCubed precision, recall and F, and NMI. A row in no cluster counts as a person of
its own; a row with the label -1, an unknown person, is left out.

    sh run_evaluate.sh clusters.txt labels.txt
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # which PYTHONSAFEPATH leaves out

from common import cli
from common.errors import InputError
from common.progress import count


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this script."""
    parser = cli.make_parser(
        "run_evaluate.sh",
        "Score clusters against known identities: pairwise and BCubed precision, recall and F, and NMI.",
        "  sh run_evaluate.sh clusters.txt labels.txt",
    )
    parser.add_argument("clusters", type=Path, metavar="CLUSTERS", help="clusters.txt: one cluster per line")
    parser.add_argument(
        "labels",
        type=Path,
        metavar="LABELS",
        help="identities, one per line in the order of rows; -1: unknown",
    )
    return parser


def main(args: argparse.Namespace) -> None:
    """Read both, score, print the table."""
    import numpy as np

    from pipeline.files.clusters import found_clusters, read_clusters
    from pipeline.files.labels import UNKNOWN, read_labels
    from pipeline.groups import labels_from_groups, people_in_words

    labels_true = read_labels(args.labels)
    clusters = read_clusters(args.clusters, len(labels_true), args.labels)

    hidden = found_clusters(args.clusters).get("hidden", [])
    from pipeline import metrics

    labels_pred = metrics.own_clusters(labels_from_groups(clusters, len(labels_true)))
    known = labels_true != UNKNOWN
    if not known.any():
        raise InputError(f"{args.labels}: every person is unknown (-1): give labels to score against")
    scores = metrics.evaluate(labels_true[known], labels_pred[known])
    people = len(np.unique(labels_true[known]))
    print(f"{args.clusters}: {people_in_words(clusters, hidden, len(labels_true))}")
    print(f"{args.labels}: {count(people, 'person', 'people')} in {count(np.count_nonzero(known), 'row')}")
    if unknown := np.count_nonzero(~known):
        print(f"{count(unknown, 'row')} of unknown people not scored")
    if unplaced := len(labels_true) - len(clusters.members):
        print(f"{count(unplaced, 'row')} in no cluster, scored as people of their own")
    print(f"{'':8} precision  recall       F")
    for name, score in (("pairwise", scores.pairwise), ("BCubed", scores.bcubed)):
        print(f"{name:8} {100 * score.precision:9.2f} {100 * score.recall:7.2f} {100 * score.f:7.2f}")
    print(f"{'NMI':8} {'':9} {'':7} {100 * scores.nmi:7.2f}")


if __name__ == "__main__":
    sys.exit(cli.run(main, get_parser()))
