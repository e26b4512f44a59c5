"""The report's charts, as SVG files; the one place that imports matplotlib."""

from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.files.labels import UNKNOWN
from pipeline.groups import Groups
from pipeline.judging.measures import NONE
from pipeline.metrics import best_iou, ranked_pairs
from pipeline.report.checks import Inspection

BINS = 40
MANY = 5000  # dots from which on they are drawn as pixels: more would make the SVG slow to show
INK, FIRST, SECOND = "#3a3f47", "#2f6fde", "#d9822b"


class Chart(NamedTuple):
    """A chart with the words that go with it; `alt` says in numbers what it shows."""

    file: str
    title: str
    caption: str
    alt: str


def draw_charts(
    folder: Path,
    groups: Groups,
    inspection: Inspection,
    predicted_iou: list[float] | None,
    labels: np.ndarray | None,
) -> list[Chart]:
    """Draw what there are data for: `predicted_iou` is each cluster's, (C,), `labels` each row's identity."""
    charts = [draw_sizes(folder, groups), draw_similarities(folder, groups, inspection)]
    if predicted_iou is not None:
        predicted = np.array(predicted_iou)
        charts.append(draw_predicted(folder, groups, predicted))
        if labels is not None and (labels[groups.members] != UNKNOWN).any():
            groups, predicted = of_known_people(groups, predicted, labels)
            charts.append(draw_predicted_against_true(folder, groups, predicted, labels))
            charts.append(draw_ranking(folder, groups, predicted, labels))
    return charts


def of_known_people(groups: Groups, predicted: np.ndarray, labels: np.ndarray) -> tuple[Groups, np.ndarray]:
    """The groups without the faces of unknown people, and the predicted IoU of the remaining groups."""
    known = labels[groups.members] != UNKNOWN
    sizes = np.add.reduceat(known.astype(np.int64), groups.offsets[:-1])
    kept = sizes > 0
    offsets = np.concatenate([[0], np.cumsum(sizes[kept])])
    return Groups(groups.members[known], offsets), predicted[kept]


def draw_sizes(folder: Path, groups: Groups) -> Chart:
    """How many people have how many faces, in bins that double."""
    edges = [2**power for power in range(int(np.log2(groups.sizes.max())) + 2)]
    counts = np.histogram(groups.sizes, edges)[0]
    names = ["1", *(f"{low:,}–{2 * low - 1:,}" for low in edges[1:-1])]
    figure, axes = new_chart("faces", "people")
    bars = axes.bar(names, counts, color=FIRST)
    axes.bar_label(bars, [f"{count:,}" if count else "" for count in counts], fontsize=9, color=INK)
    axes.tick_params(axis="x", rotation=30 if len(names) > 8 else 0)
    save_chart(figure, folder / "sizes.svg")
    return Chart(
        "sizes.svg",
        "Faces of a person",
        "How many people have how many faces.",
        f"{len(groups):,} people; the largest has {groups.sizes.max():,} faces, "
        f"the median {np.median(groups.sizes):.0f}.",
    )


def draw_similarities(folder: Path, groups: Groups, inspection: Inspection) -> Chart:
    """Similarity inside clusters against that to the nearest other cluster."""
    inside = inspection.inside[groups.sizes > 1]
    outside = inspection.outside[inspection.outside > NONE]
    figure, axes = new_chart("similarity, in standard deviations above pairs of different people", "clusters")
    if len(inside) + len(outside):
        edges = np.histogram_bin_edges(np.concatenate([inside, outside]), BINS).tolist()
        axes.hist(inside, edges, color=FIRST, alpha=0.75, label="inside a cluster")
        axes.hist(outside, edges, color=SECOND, alpha=0.75, label="to the nearest other cluster")
        axes.legend(frameon=False, labelcolor=INK)
    save_chart(figure, folder / "similarities.svg")
    return Chart(
        "similarities.svg",
        "Similarity inside and outside",
        "Mean similarity of the pairs inside each cluster, and of the pairs between it and the cluster most "
        "like it. Where both overlap, look for people split in two or put together.",
        f"Inside clusters the median is {median(inside)}, to the nearest other cluster {median(outside)}.",
    )


def draw_predicted(folder: Path, groups: Groups, predicted: np.ndarray) -> Chart:
    """How confident the graph network is."""
    figure, axes = new_chart("predicted IoU", "clusters")
    edges = np.linspace(0, 1, BINS + 1).tolist()
    several = groups.sizes > 1
    axes.hist(
        [predicted[several], predicted[~several]],
        edges,
        stacked=True,
        color=[FIRST, SECOND],
        label=["two faces or more", "a face alone"],
    )
    axes.legend(frameon=False, labelcolor=INK, loc="upper left")
    save_chart(figure, folder / "predicted_iou.svg")
    return Chart(
        "predicted_iou.svg",
        "Predicted IoU",
        "How much of a cluster and of one true person the graph network expects to be the same.",
        f"Of clusters of two faces or more the median is {median(predicted[several])}, "
        f"of faces alone {median(predicted[~several])}.",
    )


def draw_predicted_against_true(
    folder: Path, groups: Groups, predicted: np.ndarray, labels: np.ndarray
) -> Chart:
    """Is the network as confident as it should be? Needs identities."""
    true = best_iou(groups, labels)
    figure, axes = new_chart("predicted IoU", "true IoU", counts=False)
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle="--")
    sizes = 4 + 6 * np.log2(groups.sizes)
    dots = axes.scatter(predicted, true, s=sizes, color=FIRST, alpha=0.35, linewidths=0)
    dots.set_rasterized(len(groups) > MANY)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    save_chart(figure, folder / "true_iou.svg")
    error = np.average(np.abs(predicted - true), weights=groups.sizes)
    return Chart(
        "true_iou.svg",
        "Predicted against true IoU",
        "One dot per cluster, larger with more faces; on the dashed line the network is right.",
        f"Weighted by faces, the prediction is {error:.3f} off in the mean.",
    )


def draw_ranking(folder: Path, groups: Groups, predicted: np.ndarray, labels: np.ndarray) -> Chart:
    """Precision and recall when only the most confident clusters are kept. Needs identities."""
    precision, recall = ranked_pairs(groups, predicted, labels)
    figure, axes = new_chart("pairwise recall", "pairwise precision", counts=False)
    axes.plot(recall, precision, color=FIRST, linewidth=2)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(min(0.9, float(precision.min(initial=1))) - 0.02, 1.01)
    save_chart(figure, folder / "ranking.svg")
    last = f"precision {precision[-1]:.4f} at recall {recall[-1]:.4f}" if len(precision) else "no pair"
    return Chart(
        "ranking.svg",
        "Precision and recall of the ranking",
        "Pairs put together right, from the clusters of the highest predicted IoU (left) to all (right).",
        f"With all clusters: {last}.",
    )


def new_chart(across: str, up: str, counts: bool = True) -> tuple[Figure, Axes]:
    """An empty chart, upwards of counts or of shares, whose background lets the page shine through."""
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.subplots()
    axes.patch.set_alpha(0)
    axes.set_xlabel(across, color=INK)
    axes.set_ylabel(up, color=INK)
    axes.tick_params(colors=INK)
    axes.yaxis.set_major_locator(MaxNLocator(integer=counts))
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    return figure, axes


def save_chart(figure: Figure, path: Path) -> None:
    """Write the chart as SVG with text as text; the same data give the same bytes."""
    with matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": path.name, "font.family": "sans-serif"}
    ):
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def median(values: np.ndarray) -> str:
    """The median as text, or that there is none."""
    return f"{np.median(values):.2f}" if len(values) else "of nothing"
