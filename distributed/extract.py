"""Features from a cluster: Ray Data over the file list, the network held by a pool of actors."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from common.errors import EnvironmentFault, UsageError
from common.threads import in_threads

import numpy as np
import ray
import ray.data
import torch

from distributed.engine import machines
from stages.extraction import Compute, Piece

MAX_IMAGES = 1024  # in a piece of work: what a lost machine must compute again
PIECES_AN_ACTOR = 4  # at least, so that no actor waits long for the last one
# Less than an actor's one thread, so that the actors of a lost machine fit on the others.
SHARE_OF_CPU = 0.5


def choose_cluster_device(name: str) -> torch.device:
    """`auto` is a GPU for each actor where the cluster has any, else the CPU.

    Raises `UsageError` for a numbered GPU, `EnvironmentFault` where there is none.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {name}: with --engine ray it is auto, cpu or cuda")
    gpus = ray.cluster_resources().get("GPU", 0)
    if name == "cuda" and not gpus:
        raise EnvironmentFault("--device cuda: the Ray cluster has no GPU: use --device cpu or auto")
    return torch.device("cuda" if gpus and name != "cpu" else "cpu")


def in_actors(
    make: Callable[[], Compute], batches: list[list[Path]], device: torch.device
) -> Iterator[Piece]:
    """What the function that `make` makes gives for batches in order; several are sent together.

    Each actor has a function of its own, and a GPU, or one thread where the device is the CPU.
    """
    if not batches:
        return
    gpus = int(device.type == "cuda")
    nodes = [node["Resources"] for node in machines() if not gpus or node["Resources"].get("GPU")]
    actors = int(sum(node["GPU" if gpus else "CPU"] for node in nodes))
    threads = int(min(node["CPU"] // node["GPU"] for node in nodes)) if gpus else 1
    most = max(1, min(len(batches) // (PIECES_AN_ACTOR * actors), MAX_IMAGES // len(batches[0])))
    pieces = [
        {"batches": [[str(path) for path in batch] for batch in batches[start : start + most]]}
        for start in range(0, len(batches), most)
    ]
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    context.raise_original_map_exception = True
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    features = ray.data.from_items(pieces, override_num_blocks=len(pieces)).map(
        FeatureActor,  # type: ignore[arg-type]
        fn_constructor_args=(ray.put(make), max(1, threads)),
        compute=ray.data.ActorPoolStrategy(size=min(actors, len(pieces))),
        num_cpus=0 if gpus else SHARE_OF_CPU,
        num_gpus=gpus,
    )
    sizes = iter(map(len, batches))
    for piece in features.iter_rows():
        reasons = json.loads(piece["reasons"])
        found = np.frombuffer(piece["features"], np.float32).reshape(len(reasons), -1).copy()
        seen = np.frombuffer(piece["seen"], np.uint64).reshape(len(reasons), -1)
        start = 0
        while start < len(reasons):
            batch = slice(start, start + next(sizes))
            yield found[batch], reasons[batch], seen[batch]
            start = batch.stop


class FeatureActor:
    """Holds what `make` makes, the network with it, and calls it for pieces of the list."""

    def __init__(self, make: ray.ObjectRef, threads: int) -> None:
        self.compute, self.threads = ray.get(make)(), threads

    def __call__(self, piece: dict[str, Any]) -> dict[str, Any]:
        """A piece's batches of paths to their features as bytes, and why one could not be read as JSON."""
        return features_of_piece(self.compute, piece["batches"], self.threads)


def features_of_piece(compute: Compute, batches: list[list[str]], threads: int) -> dict[str, Any]:
    """The features of all batches, float32 (n, dim), and what was seen of the images, uint64 (n, 3),
    as bytes, and the reasons as JSON."""
    results = in_threads(compute, ([Path(path) for path in batch] for batch in batches), threads)
    features, reasons, seen = zip(*results, strict=True)
    return {
        "features": np.concatenate(features).tobytes(),
        "reasons": json.dumps(sum(reasons, [])),
        "seen": np.concatenate(seen).tobytes(),
    }
