"""Where a stage computes: in its own process, or on a Ray cluster; two engines with the same methods.

Ray is imported only where `--engine ray` asks for it, so that nobody else needs it.
"""

import argparse
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import EnvironmentFault, UsageError
from common.processes import in_processes
from common.threads import in_threads

if TYPE_CHECKING:
    import numpy as np
    import ray
    import torch

    from pipeline.calibration import Calibration
    from pipeline.judging.cluster import Predict, Scorer
    from pipeline.judging.measures import Graph
    from pipeline.proposals.merging import Linking
    from pipeline.rows import Numbering
    from pipeline.search.knn import Search
    from stages.extraction import Compute, Piece

Make = Callable[[], "Compute"]
ENGINES = ("local", "ray")
SECONDS_TO_ANSWER = 10  # for the cluster's head to take a connection
REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements-ray.txt"


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """The options of a stage that can compute on a cluster."""
    parser.add_argument(
        "--engine", choices=ENGINES, default="local", help="compute here, or on a Ray cluster"
    )
    parser.add_argument(
        "--ray-address",
        metavar="HOST:PORT",
        help="the cluster's head (default: $RAY_ADDRESS; where that is not set, Ray starts on this machine)",
    )


def check_engine(args: argparse.Namespace) -> None:
    """Refuse options that contradict each other, and Ray where it is not installed."""
    if args.engine == "local":
        for name in ("ray_address", "shards"):
            if getattr(args, name, None) is not None:
                raise UsageError(f"--{name.replace('_', '-')} is for a cluster: add --engine ray")
    elif find_spec("ray") is None or find_spec("pyarrow") is None:
        raise EnvironmentFault(
            f"--engine ray needs Ray: run `{sys.executable} -m pip install -r '{REQUIREMENTS}'`"
        )


@dataclass(frozen=True)
class LocalEngine:
    """Computes on this machine; `workers` processes or threads extract features, one per core by default.

    What a GPU has a part in goes by threads: a copy of this process could not use the GPU.
    """

    workers: int | None = None

    def device(self, name: str) -> "torch.device":
        """Where the face network runs, by the value of --device."""
        from model.device import choose_device

        return choose_device(name)

    def features(self, make: Make, batches: list[list[Path]], device: "torch.device") -> Iterator["Piece"]:
        """What the function that `make` makes gives for batches of image files, in order."""
        at_once = in_processes if device.type == "cpu" else in_threads
        return at_once(make(), batches, self.workers)

    def search(
        self, method: str, rows: "np.ndarray", numbering: "Numbering", k: int, calibration: "Calibration"
    ) -> "Search":
        """A search by `method` for k neighbors among some rows of the memory map `rows`."""
        from pipeline.search.knn import make_search

        return make_search(method, rows, numbering.usable, k, calibration)

    def edges(self, *_graph: object) -> None:
        """The edges that link faces, for `propose`: None, as it makes them itself."""

    def scores(self, _graph: "Graph", _predict_iou: "Predict", device: "torch.device") -> "Scorer":
        """A way to score proposals, by a network on `device`."""
        from pipeline.judging.cluster import score_here

        return partial(score_here, at_once=in_processes if device.type == "cpu" else in_threads)


@dataclass(frozen=True)
class RayEngine:
    """Computes on the cluster that this process has joined, its rows cut into `shards`.

    The methods do what those of `LocalEngine` do.
    """

    shards: int | None = None

    def device(self, name: str) -> "torch.device":
        from distributed.extract import choose_cluster_device

        return choose_cluster_device(name)

    def features(self, make: Make, batches: list[list[Path]], device: "torch.device") -> Iterator["Piece"]:
        from distributed.extract import in_actors

        return in_actors(make, batches, device)

    def search(
        self, method: str, rows: "np.ndarray", numbering: "Numbering", k: int, calibration: "Calibration"
    ) -> "Search":
        from distributed.cells import search_cells_in_shards
        from distributed.search import search_in_shards
        from pipeline.search.knn import make_search

        exactly = partial(search_in_shards, self.shards)
        by_cells = partial(search_cells_in_shards, self.shards)
        return make_search(method, rows, numbering.usable, k, calibration, exactly, by_cells)

    def edges(
        self,
        numbering: "Numbering",
        neighbors: "np.ndarray",
        similarities: "np.ndarray",
        calibration: "Calibration",
    ) -> "Linking":
        from distributed.merge import linking_in_parts

        return linking_in_parts(numbering, neighbors, similarities, calibration, self.shards)

    def scores(self, graph: "Graph", predict_iou: "Predict", _device: "torch.device") -> "Scorer":
        from distributed.score import score_on_cluster

        return score_on_cluster(graph, predict_iou)


@contextmanager
def engine(args: argparse.Namespace) -> Iterator[LocalEngine | RayEngine]:
    """The engine that the options ask for, connected to its cluster while the body runs.

    What a task raises there is raised here, and what Ray raises itself is a fault.
    """
    if args.engine == "local":
        yield LocalEngine(getattr(args, "workers", None))
        return
    address = args.ray_address or os.environ.get("RAY_ADDRESS") or "local"
    if "://" in address:
        raise UsageError(f"{address}: run this on a machine of the cluster and give its head as HOST:6379")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not args.debug:
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    terminate = signal.getsignal(signal.SIGTERM)
    try:
        connect(address)
        signal.signal(signal.SIGTERM, terminate)  # Ray has replaced it
        yield RayEngine(getattr(args, "shards", None))
    except ray.exceptions.RayError as error:
        raise cause_of(error) from error
    finally:
        ray.shutdown()


def connect(address: str) -> None:
    """Join the cluster at `address`, or start Ray on this machine where that is `local`."""
    import numpy as np
    import ray

    from distributed.maps import by_path, open_again

    host, _, port = address.rpartition(":")
    try:
        if host and port.isdigit():  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), SECONDS_TO_ANSWER).close()
        with quiet_stderr():
            ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, include_dashboard=False)
    except Exception as error:  # Ray raises many kinds, by what it was doing
        raise EnvironmentFault(
            f"no Ray cluster could be joined at {address} ({first_line(error)}): start one with "
            "`ray start --head`, of the same versions of Ray and Python as here"
        ) from error
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    ray._private.worker._worker_logs_enabled = False  # it would tell of lost workers on stdout
    ray.util.register_serializer(np.memmap, serializer=by_path, deserializer=open_again)
    if not machines():
        raise EnvironmentFault(f"the Ray cluster at {address} has no CPU to compute on: add a node to it")


def machines() -> list[dict[str, Any]]:
    """What Ray says of the cluster's nodes that are up and have a CPU."""
    import ray

    return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Drop what Ray's own processes and C++ code write to stderr."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def cause_of(error: "ray.exceptions.RayError") -> BaseException:
    """What a task on the cluster raised, or a fault that says what Ray could not do."""
    import ray

    if isinstance(error, ray.exceptions.RayTaskError) and isinstance(error.cause, Exception):
        return error.cause
    # Errors of `open_again` arrive as text after these words.
    said = first_line(error).removeprefix("System error: ")
    return EnvironmentFault(f"the Ray cluster could not finish: {said}; run the same command again")


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, or its kind."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def in_order(pieces: "Iterator[ray.ObjectRef]", ahead: int) -> Iterator:
    """The results of tasks in their order, `ahead` of them started before the first is asked for."""
    import ray

    started: list[ray.ObjectRef] = []
    for piece in pieces:
        started.append(piece)
        if len(started) >= ahead:
            yield ray.get(started.pop(0))
    while started:
        yield ray.get(started.pop(0))
