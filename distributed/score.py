"""Scoring proposals on a cluster, in chunks of bounded size."""

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
import ray
import torch

from distributed.engine import in_order, machines
from pipeline.groups import Groups
from pipeline.judging.cluster import Predict, Scorer
from pipeline.judging.measures import Graph, measure

CHUNKS_A_CPU = 2  # started before the first is asked for


def score_on_cluster(graph: Graph, predict_iou: Predict) -> Scorer:
    """A way to score that sends chunks to the cluster, where the graph and the network are once a machine."""
    shared = [ray.put((graph, predict_iou))]  # in a list, where Ray leaves it to the task to open it

    def score(_graph: Graph, chunks: Iterable[Groups], _predict: Predict) -> Iterator[np.ndarray]:
        task = ray.remote(score_chunk)
        cpus = int(sum(node["Resources"]["CPU"] for node in machines()))
        return in_order((task.remote(shared, chunk) for chunk in chunks), CHUNKS_A_CPU * cpus)

    return score


def score_chunk(shared: list[ray.ObjectRef], chunk: Groups) -> np.ndarray:
    """Predicted IoU of the groups of a chunk, float32, on one thread."""
    torch.set_num_threads(1)
    graph, predict_iou = opened(shared[0])
    return predict_iou(measure(graph, chunk))


@lru_cache(maxsize=1)
def opened(shared: ray.ObjectRef) -> tuple[Graph, Predict]:
    """The graph and the network, opened once a process: that takes longer than to score a chunk."""
    return ray.get(shared)
