"""What each stage cannot be faster than: its search, its networks alone, on data already in memory.

    python benchmarks/floors.py search synthetic.bin super_vertex
    python benchmarks/floors.py graph-networks synthetic.bin super_vertex
    python benchmarks/floors.py network faces.txt

Each prints JSON. `search` is the nearest neighbors as proposals in super_vertex/ found them, `faiss-ivf` by
faiss's IVF where that was approximate, at the same recall of possible neighbors;
`graph-networks` the forward passes of GCN-D over every proposal; `network` the default face network's
forward, float32 matrix multiplication, and dlib's own descriptor where the package dlib is installed.
"""

import argparse
import json
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import cli
from common.threads import usable_cores

from pipeline.calibration import Calibration
from pipeline.files.features import Features, read_features
from pipeline.files.filelist import read_filelist
from pipeline.files.proposals import read_super_vertex
from pipeline.groups import take_groups
from pipeline.images import frame_box, read_face
from pipeline.rows import unit_blocks, unit_rows, unit_sample
from pipeline.search.ivf import TRAINING_ROWS_A_CELL, Reach, learn_centroids, make_cells, sample_exactly

BATCH = 32
RUNS = 3  # of floors that take as long as a stage
REPEATS = 5
GIVEN_CELLS = 1_000_000  # rows from which on faiss is given cells: to learn its own takes it hours
QUERIES = 20_000  # of faiss's IVF, from which its time for all is reckoned
MATRIX = 4096
EXAMPLES = "  python benchmarks/floors.py search synthetic.bin super_vertex"


def search(features_path: Path, proposals: Path) -> dict[str, Any]:
    """Wall and processor seconds of the search alone, with an index made for it where it is approximate."""
    features = read_features(features_path)
    found = json.loads((proposals / "manifest.json").read_text())
    k = found["k"]
    method, effort = found["search"]["method"], found["search"]["effort"]
    unit = unit_rows(features.rows, features.usable) if method == "exact" else None
    started, processor = time.perf_counter(), time.process_time()
    if unit is not None:
        faiss.knn(unit, unit, k + 1, metric=faiss.METRIC_INNER_PRODUCT)
    else:
        centroids = learn_centroids(features.rows, features.usable)
        deque(make_cells(features.rows, features.usable, centroids, Reach(effort)).neighbors(k + 1), maxlen=0)
    return {
        "seconds": time.perf_counter() - started,
        "processor": time.process_time() - processor,
        **found["search"],
    }


def faiss_ivf(features_path: Path, proposals: Path) -> dict[str, Any]:
    """Seconds of faiss's own IVF, that finds of a sample what the proposals' search says it finds of possible
    neighbors: its cells made, and QUERIES of all rows searched for, as if all were."""
    features = read_features(features_path)
    told = json.loads((proposals / "manifest.json").read_text())
    k, calibration = told["k"], Calibration(**told["calibration"])
    sample, cosines, nearest = sample_exactly(features.rows, features.usable, k + 1)
    count = len(features.numbering)
    possible = calibration.calibrate(cosines) >= calibration.nearest_stranger(count)
    queries = unit_sample(features.rows, features.usable, QUERIES)
    given = count >= GIVEN_CELLS
    index, made = faiss_index_of_cells(features, queries) if given else faiss_index(features)
    index.nprobe, recall = 1, 0.0
    while recall < told["search"]["recall_possible"] and index.nprobe < index.nlist:
        index.nprobe *= 2
        found = index.search(sample, k + 1)[1]
        here = np.stack([np.isin(*pair) for pair in zip(nearest, found, strict=True)])
        recall = float(here[possible].mean())
    started = time.perf_counter()
    index.search(queries, k + 1)
    searched = (time.perf_counter() - started) * count / len(queries)
    return {"seconds": made + searched, "made": made, "probes": index.nprobe, "recall_possible": recall}


def faiss_index(features: Features) -> tuple[faiss.IndexIVF, float]:
    """An index of as many cells as faiss's guide to choosing one has (wiki, "Guidelines to choose an index"),
    and the seconds that took."""
    started = time.perf_counter()
    name = f"IVF{int(8 * len(features.numbering) ** 0.5)},Flat"
    index = faiss.index_factory(features.rows.shape[1], name, faiss.METRIC_INNER_PRODUCT)
    index.train(unit_sample(features.rows, features.usable, TRAINING_ROWS_A_CELL * index.nlist))
    for block in unit_blocks(features.rows, features.usable):
        index.add(block)
    return index, time.perf_counter() - started


def faiss_index_of_cells(features: Features, queries: np.ndarray) -> tuple[faiss.IndexIVF, float]:
    """An index of the cells that the proposals' search learns, and the seconds that faiss would take to find
    those of all rows, by those of the queries.

    Added block by block, 5.2 million rows of 256 dimensions take it more than the 24 GB of a small machine.
    """
    centroids = learn_centroids(features.rows, features.usable)
    cells = make_cells(features.rows, features.usable, centroids, Reach(1))
    name = f"IVF{len(centroids.means)}_HNSW32,Flat"
    index = faiss.index_factory(features.rows.shape[1], name, faiss.METRIC_INNER_PRODUCT)
    index.quantizer.add(centroids.means)
    index.train(centroids.means)  # which leaves a quantizer of as many cells as it is
    for cell, (first, last) in enumerate(zip(cells.bounds, cells.bounds[1:], strict=False)):
        numbers, rows = cells.row_of[first:last], cells.rows[first:last].view(np.uint8)
        index.invlists.add_entries(cell, len(numbers), faiss.swig_ptr(numbers), faiss.swig_ptr(rows))
    index.ntotal = len(cells.rows)
    started = time.perf_counter()
    index.quantizer.assign(queries, 1)
    return index, (time.perf_counter() - started) * index.ntotal / len(queries)


def graph_networks(features_path: Path, proposals: Path) -> dict[str, Any]:
    """Seconds of GCN-D's forward passes alone, were they divided among the cores without loss."""
    import torch

    from pipeline.groups import single_faces
    from pipeline.judging.cluster import graph_of
    from pipeline.judging.measures import NODES_AT_ONCE, bounded_chunks, measure, measured_sizes
    from predict import WEIGHTS
    from stages.judges import load_judges

    torch.set_num_threads(1)
    features = read_features(features_path)
    super_vertex = read_super_vertex(proposals, features)
    graph = graph_of(features, super_vertex, super_vertex.numbering)
    predict = load_judges(WEIGHTS, torch.device("cpu")).predict_iou
    seconds, nodes = 0.0, 0
    for groups in [*(round_.proposals for round_ in super_vertex.rounds), single_faces(len(graph.unit))]:
        for chunk in bounded_chunks(measured_sizes(groups), NODES_AT_ONCE):
            measured = measure(graph, take_groups(groups, chunk))
            started = time.perf_counter()
            predict(measured)
            seconds += time.perf_counter() - started
            nodes += len(measured.nodes)
    return {"seconds": seconds / usable_cores(), "nodes": nodes}


def network(filelist: Path) -> dict[str, Any]:
    """Images per second of the face network on tensors in memory, and what it is measured against."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from model.backbones import load_backbone

    backbone = load_backbone("dlib", None)
    net = backbone.network.to(memory_format=torch.channels_last)
    size, box = backbone.preprocessing.size, frame_box("arcface", backbone.preprocessing.frame)
    paths = read_filelist(filelist).paths
    batches = -(-len(paths) // BATCH)
    faces = np.stack([read_face(path, size, box) for path in paths[:BATCH]])
    pixels = torch.from_numpy(faces).permute(0, 3, 1, 2)
    inputs = ((pixels - 115.0) / 256).to(memory_format=torch.channels_last)
    matrix = torch.rand(MATRIX, MATRIX)
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            net(inputs)
        # As many images as extraction takes: a core is faster in a short burst than for long.
        work = fastest(lambda: [net(inputs) for _ in range(batches)], RUNS)
        forward, forward_processor = work / (batches * len(inputs))
        multiply, multiply_processor = fastest(lambda: matrix @ matrix)
    flops = counter.get_total_flops() / len(inputs)
    dlib, dlib_processor = dlib_call(faces, backbone.weights)
    return {
        "forward": forward,
        "forward_processor": forward_processor,
        "dlib": dlib,
        "dlib_processor": dlib_processor,
        "forward_flops": flops / forward,
        "forward_flops_processor": flops / forward_processor,
        "matrix_flops": 2 * MATRIX**3 / multiply,
        "matrix_flops_processor": 2 * MATRIX**3 / multiply_processor,
    }


def fastest(work: Callable[[], object], runs: int = REPEATS) -> np.ndarray:
    """Wall and processor seconds, the least of several runs, after one to warm up."""
    work()
    seconds = []
    for _ in range(runs):
        before = np.array([time.perf_counter(), time.process_time()])
        work()
        seconds.append(np.array([time.perf_counter(), time.process_time()]) - before)
    return np.min(seconds, axis=0)


def dlib_call(chips: np.ndarray, weights: Path) -> np.ndarray | tuple[None, None]:
    """Wall and processor seconds of dlib's own descriptor call, of one image; None without dlib."""
    try:
        import dlib
    except ImportError:
        return None, None
    describe = dlib.face_recognition_model_v1(str(weights)).compute_face_descriptor
    chips = chips[:8]
    return fastest(lambda: [describe(chip) for chip in chips]) / len(chips)


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this tool."""
    parser = cli.make_parser("floors.py", "Time what a stage cannot be faster than.", EXAMPLES)
    parser.add_argument("floor", choices=("search", "faiss-ivf", "graph-networks", "network"))
    parser.add_argument("paths", type=Path, nargs="+", help="features and proposals, or a file list")
    return parser


def main(args: argparse.Namespace) -> None:
    """Time one floor, print it."""
    floors = {"search": search, "faiss-ivf": faiss_ivf, "graph-networks": graph_networks, "network": network}
    floor = floors[args.floor]
    print(json.dumps(floor(*args.paths)))


if __name__ == "__main__":
    sys.exit(cli.run(main, get_parser()))
