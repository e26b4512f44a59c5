"""The value of answering the report's questions: wrong pairs of faces before and after.

Somebody who knows the people answers the page's questions, in Chromium, with only what the page
offers: Same where most faces of both sides are of one person, else Different. Then the corrections are
saved, kept by the next run of the predict stage, and its people are scored.

    python benchmarks/corrections.py
    python benchmarks/corrections.py --answers 200 --network dlib
    python benchmarks/corrections.py --fit
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import cli
from common.errors import EnvironmentFault
from common.progress import set_quiet

from datasets import NETWORKS, FaceSet, add_shared, load, write_set

import predict
import proposal
import report
from model.device import choose_device
from pipeline.files.clusters import read_clusters
from pipeline.files.features import read_features
from pipeline.files.proposals import read_super_vertex
from pipeline.groups import groups_from_labels, labels_from_groups
from pipeline.judging.cluster import graph_of
from pipeline.judging.doubts import cut_clusters, judge_cuts, judge_pairs, near_pairs
from pipeline.metrics import evaluate, majority, own_clusters
from stages.judges import load_judges

OF_LFW = 1500  # faces of lfw/val in the mix, so that glint8's eight people are two thirds of it
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
EXAMPLES = """  python benchmarks/corrections.py
  python benchmarks/corrections.py --answers 200 --network dlib
  python benchmarks/corrections.py --fit"""


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this benchmark."""
    parser = cli.make_parser(
        "corrections.py", "Answer the report's questions, score before and after.", EXAMPLES
    )
    parser.add_argument("--network", choices=NETWORKS, action="append", help="default: both")
    parser.add_argument("--answers", type=cli.at_least(1), default=50, help="questions to answer")
    parser.add_argument(
        "--fit", action="store_true", help="fit the chance that two sides are one person, instead"
    )
    add_shared(parser)
    return parser


def main(args: argparse.Namespace) -> None:
    """A row of the table for each network, or the constants of `pipeline/judging/doubts.py`."""
    networks = args.network or NETWORKS
    if args.fit:
        fit([load("lfw/train", network, args.shared) for network in networks])
        return
    print("| network | answers (same) | wrong pairs | after | pairwise F | after | BCubed F | after |")
    print("|---|---|---|---|---|---|---|---|")
    for network in networks:
        faces = mix(load("lfw/val", network, args.shared), load("glint8", network, args.shared))
        with working_folder():
            print(row_of(faces, args.answers), flush=True)


@contextmanager
def working_folder() -> Iterator[None]:
    """A new folder as working directory, removed in the end."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def mix(first: FaceSet, second: FaceSet) -> FaceSet:
    """Some faces of the first set, drawn at random, and all of the second."""
    kept = np.sort(np.random.default_rng(0).permutation(len(first.rows))[:OF_LFW])
    names = np.concatenate([first.names[kept], second.names])
    rows = np.concatenate([first.rows[kept], second.rows])
    return FaceSet("mix", first.network, rows, np.unique(names, return_inverse=True)[1], names)


def row_of(faces: FaceSet, answers: int) -> str:
    """Find the people, answer, find them again; a row of the table."""
    write_set(faces, Path("feature.bin"))
    run(proposal)
    run(predict)
    before = people_now(len(faces.rows))
    run(report)
    given, same = answer(faces.labels, answers)
    run(predict, "--corrections", "corrections.json")
    after = people_now(len(faces.rows))
    scores = [evaluate(faces.labels, labels) for labels in (before, after)]
    cells = [f"{wrong_pairs(faces.labels, labels):,}" for labels in (before, after)]
    cells += [f"{100 * score.pairwise.f:.2f}" for score in scores]
    cells += [f"{100 * score.bcubed.f:.2f}" for score in scores]
    return f"| {faces.network} | {given} ({same}) | {' | '.join(cells)} |"


def run(stage: Any, *options: str) -> None:
    """Run a stage as its script does."""
    if cli.run(stage.main, stage.get_parser(), ["--quiet", *options]):
        raise EnvironmentFault(f"{stage.__name__}.py did not end well")
    set_quiet(False)


def people_now(count: int) -> np.ndarray:
    """The person of each row, int64 (count,)."""
    return own_clusters(labels_from_groups(read_clusters(Path("clusters.txt")), count))


def wrong_pairs(labels_true: np.ndarray, labels_pred: np.ndarray) -> int:
    """Pairs of faces that are together and should not be, or should be and are not."""

    def pairs(counts: np.ndarray) -> int:
        return int((counts * (counts - 1) // 2).sum())

    together = pairs(np.unique(np.stack([labels_true, labels_pred]), axis=1, return_counts=True)[1])
    return pairs(np.bincount(labels_true)) + pairs(np.bincount(labels_pred)) - 2 * together


def answer(labels: np.ndarray, answers: int) -> tuple[int, int]:
    """Answer the page's questions and save corrections.json: how many, and how many with Same."""
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise EnvironmentFault("chromium is not installed: the page is answered in it")
    given = same = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(accept_downloads=True)
        page.goto(f"{Path('report/index.html').resolve().as_uri()}#review")
        page.wait_for_selector("html[data-ready]")
        while given < answers and page.locator("[data-key='answer y']").count():
            sides = page.evaluate(
                "sidesOf(review[0]).then((sides) => sides.map(({ faces }) => faces.map(({ row }) => row)))"
            )
            one, other = (np.bincount(labels[side]).argmax() for side in sides)
            page.evaluate("(key) => answerQuestion(key)", "y" if one == other else "n")
            given, same = given + 1, same + int(one == other)
        with page.expect_download() as download:
            page.locator("#pending [data-do=save]").click()
        download.value.save_as("corrections.json")
        browser.close()
    return given, same


def fit(sets: list[FaceSet]) -> None:
    """Fit the chance that two sides are one person, and print its constants."""
    from sklearn.linear_model import LogisticRegression

    columns, same = [], []
    for faces in sets:
        with working_folder():
            write_set(faces, Path("feature.bin"))
            run(proposal)
            run(predict)
            evidence, labels = evidence_of(faces.labels)
            columns.append(evidence)
            same.append(labels)
    model = LogisticRegression(C=10, max_iter=1000).fit(np.concatenate(columns), np.concatenate(same))
    print(
        "OF_BEST, OF_GAIN, OF_TOGETHER, OF_NOTHING =",
        *np.round([*model.coef_[0], *model.intercept_], 2),
    )


def evidence_of(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Evidence for the pairs and cuts of clusters.txt, (P, 3), and whether they are one person, (P,)."""
    features = read_features(Path("feature.bin"))
    graph = graph_of(features, read_super_vertex(Path("super_vertex"), features), features.numbering)
    groups = groups_from_labels(labels_from_groups(read_clusters(Path("clusters.txt")), len(labels)))
    predict_iou = load_judges(report.WEIGHTS, choose_device("cpu")).predict_iou
    person = majority(labels_from_groups(groups, len(labels)), labels)
    pairs = near_pairs(graph, groups)
    alike, cuts = cut_clusters(graph, np.split(groups.members.astype(np.int64), groups.offsets[1:-1]))
    sides = [(alike[c][start:middle], alike[c][middle:end]) for c, start, middle, end in cuts.tolist()]
    same = [np.bincount(labels[one]).argmax() == np.bincount(labels[other]).argmax() for one, other in sides]
    return (
        np.concatenate(
            [
                np.pad(judge_pairs(graph, groups, pairs, predict_iou), ((0, 0), (0, 1))),
                np.pad(
                    judge_cuts(graph, groups, alike, cuts, predict_iou), ((0, 0), (0, 1)), constant_values=1
                ),
            ]
        ),
        np.concatenate([person[pairs[:, 0]] == person[pairs[:, 1]], same]),
    )


if __name__ == "__main__":
    sys.exit(cli.run(main, get_parser()))
